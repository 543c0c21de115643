package shape

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/ledger"
)

// The severities of CEF, 0 to 10.
const (
	cefPlain  = "3"
	cefFailed = "5"
	cefDenied = "7"
)

// appendCEF appends e in the Common Event Format: a header of seven fields and an extension of key=value. Keys are those of
// the CEF dictionary; what has no place there stands in custom strings and numbers with labels.
func appendCEF(b []byte, e *ledger.Entry) []byte {
	severity := cefPlain
	switch {
	case e.Kind == ledger.Denied:
		severity = cefDenied
	case failed(e):
		severity = cefFailed
	}
	class := e.Kind.String()
	if e.Action != "" {
		class += ":" + string(e.Action)
	}
	b = append(b, "CEF:0|Tollgate|Tollgate|1|"...)
	for _, field := range [...]string{class, title(e), severity} {
		b = append(escapeCEF(b, field, '|'), '|')
	}
	x := extension{b, true}
	x.text("externalId", e.ID.String())
	x.number("rt", e.Time.UnixMilli())
	x.text("act", string(e.Action))
	x.text("outcome", outcome(e))
	x.text("reason", e.Detail)
	x.text("suser", e.Who.Key)
	x.text("suid", e.Who.KeyID)
	if _, err := netip.ParseAddr(e.Source); err == nil {
		x.text("src", e.Source)
	} else {
		x.text("shost", e.Source)
	}
	x.text("requestClientApplication", e.Who.Client)
	x.text("dhost", e.Upstream)
	x.text("destinationServiceName", e.Target)
	x.text("duser", e.OnBehalf)
	x.text("deviceExternalId", e.Writer)
	if !e.Call().IsZero() {
		x.labelled("cs1", "call", e.Call().String())
	}
	x.labelled("cs2", "team", e.Who.Team)
	x.labelled("cs3", "customer", e.Who.Customer)
	x.labelled("cs4", "user", e.Who.User)
	x.labelled("cs5", "rules", strings.Join(e.Rules, ","))
	x.labelled("cs6", "policyRevision", e.Revision)
	x.labelled("cn1", "costNanoUSD", strconv.FormatInt(int64(e.Cost), 10))
	x.labelled("cn2", "tokens", strconv.FormatInt(e.Quantities.Tokens(), 10))
	if e.Kind == ledger.Denied && e.Quantities.Calls > 0 {
		x.number("cnt", e.Quantities.Calls)
	}
	if e.Code != 0 {
		x.labelled("cn3", "code", strconv.Itoa(e.Code))
	}
	if e.Latency > 0 {
		x.number("end", e.Time.UnixMilli())
		x.number("start", e.Time.Add(-e.Latency).UnixMilli())
	}
	return x.b
}

// outcome is the one word that CEF's outcome and OCSF's status carry.
func outcome(e *ledger.Entry) string {
	switch {
	case failed(e):
		return "Failure"
	case e.Kind == ledger.Reserved:
		return "Pending"
	}
	return "Success"
}

// extension is the last part of a line of CEF.
type extension struct {
	b     []byte
	first bool
}

func (x *extension) text(key, value string) {
	if value == "" {
		return
	}
	if !x.first {
		x.b = append(x.b, ' ')
	}
	x.first = false
	x.b = append(append(x.b, key...), '=')
	x.b = escapeCEF(x.b, value, '=')
}

func (x *extension) number(key string, n int64) { x.text(key, strconv.FormatInt(n, 10)) }

func (x *extension) labelled(key, label, value string) {
	if value != "" {
		x.text(key, value)
		x.text(key+"Label", label)
	}
}

// escapeCEF appends text with the backslash and special escaped. Line breaks are \n and \r in the extension, whose special
// is '=', and a space in the header, which knows none; other control characters are spaces everywhere.
func escapeCEF(b []byte, text string, special byte) []byte {
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case r == '\\' || r == rune(special):
			b = append(b, '\\', byte(r))
		case r == '\n' && special == '=':
			b = append(b, `\n`...)
		case r == '\r' && special == '=':
			b = append(b, `\r`...)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			b = append(b, ' ')
		default:
			b = append(b, string(r)...)
		}
	}
	return b
}
