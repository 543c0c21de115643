package strictjson

import "fmt"

// Limits bound one document. Zero fields take the defaults.
type Limits struct {
	Depth  int // of nesting; default 64
	Tokens int // values and names together; default 200,000

	// LoneSurrogates lets a \uD800 without its other half pass in values: for answers, which no rule reads and which are
	// forwarded as they came. In a request it is refused: some readers keep it, some replace it, some fail.
	LoneSurrogates bool
}

const (
	depthDefault  = 64      // deeper than any API nests; keeps the scanner's recursion and everybody else's small
	tokensDefault = 200_000 // a body of 4 MiB that is worth reading has fewer
	nameTextMax   = 64      // bytes of a refused name shown in an error
)

// Value is where a watched member stands in the scanned bytes. The zero Value means absent.
type Value struct {
	Name  int  // offset of the opening quote of the member's name
	Start int  // offset of the value's first byte
	End   int  // offset behind its last byte
	Kind  byte // '{', '[', '"', '0' (a number), 't', 'f' or 'n'
}

// Present reports whether the member was there.
func (v Value) Present() bool { return v.Kind != 0 }

// In returns the value's bytes.
func (v Value) In(doc []byte) []byte { return doc[v.Start:v.End] }

// Error says what is wrong with a document and where. Its text is made for the caller: it quotes no value.
type Error struct {
	Offset int
	Reason string // "duplicate name \"model\"", "invalid UTF-8", "nested deeper than 64"
	Syntax bool   // not JSON at all (as against JSON that is refused)
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// Scan checks doc, which must be one JSON object with nothing but white space around it, and fills out, one Value per
// path in Compile's order. The error is an *Error. It does not allocate when doc is well formed and its objects have few
// members.
func (p *Paths) Scan(doc []byte, lim Limits, out []Value) error {
	out = out[:p.count]
	clear(out)
	s := scanner{doc: doc}
	s.limit(lim)
	i := s.space(0)
	err := s.document(i, &p.root, out)
	if err == nil && doc[i] != '{' {
		return &Error{Offset: i, Reason: "not a JSON object"}
	}
	return err
}

// Check scans any JSON value for the same faults, watching nothing.
func Check(doc []byte, lim Limits) error {
	s := scanner{doc: doc}
	s.limit(lim)
	return s.document(s.space(0), nil, nil)
}
