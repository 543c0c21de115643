package shape

import (
	"encoding/json"
	"fmt"

	"github.com/tollgate/tollgate/internal/strictyaml"
	"github.com/tollgate/tollgate/ledger"
)

// Shape is a form of an entry.
type Shape string

// The shapes.
const (
	Entry Shape = "entry" // the public JSON, as the admin API has it
	OCSF  Shape = "ocsf"  // JSON by OCSF 1.6.0
	CEF   Shape = "cef"   // a line of CEF:0
)

// Parse reads the name of a shape.
func Parse(name string) (Shape, error) {
	switch s := Shape(name); s {
	case Entry, OCSF, CEF:
		return s, nil
	}
	return "", fmt.Errorf("there is no shape %q%s: write entry, ocsf or cef", name, strictyaml.DidYouMean(name, []string{string(Entry), string(OCSF), string(CEF)}))
}

// JSON reports whether a line of s is a JSON object.
func (s Shape) JSON() bool { return s != CEF }

// Append appends e as one line without a line end.
func (s Shape) Append(b []byte, e *ledger.Entry) ([]byte, error) {
	var v any
	switch s {
	case Entry:
		v = e
	case OCSF:
		v = eventOf(e)
	case CEF:
		return appendCEF(b, e), nil
	default:
		return b, fmt.Errorf("there is no shape %q", string(s))
	}
	text, err := json.Marshal(v)
	return appendEscaped(b, text), err
}

// appendEscaped appends JSON with the control characters escaped that JSON lets stand: U+007F to U+009F.
func appendEscaped(b, text []byte) []byte {
	const lead = 0xc2 // of U+0080 to U+00BF, and nothing else in UTF-8
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == 0x7f:
			b = append(b, `\u007f`...)
		case c == lead && i+1 < len(text) && text[i+1] < 0xa0:
			i++
			b = fmt.Appendf(b, `\u%04x`, text[i])
		default:
			b = append(b, c)
		}
	}
	return b
}

// failed reports whether e says that something was refused or went wrong, and what.
func failed(e *ledger.Entry) bool {
	switch e.Kind {
	case ledger.Denied, ledger.Voided:
		return true
	case ledger.Posted, ledger.Admin, ledger.Link, ledger.Approval:
		return e.Status != ledger.OK && e.Status != ""
	}
	return false
}

// title says in few words what e is about.
func title(e *ledger.Entry) string {
	text := string(e.Action)
	if text == "" {
		text = "call"
	}
	if e.Target != "" {
		text += " " + e.Target
	}
	text += " " + e.Kind.String()
	if e.Status != "" {
		text += " " + string(e.Status)
	}
	return text
}
