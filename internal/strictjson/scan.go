package strictjson

import (
	"errors"
	"fmt"
)

// Limits bound one document. Zero fields take the defaults.
type Limits struct {
	Depth  int // of nesting; default 64
	Tokens int // values and names together; default 200,000
}

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

// Paths is a compiled set of members to watch. Immutable, safe for concurrent use.
type Paths struct{}

// Compile watches the members at the given dotted paths of an object document: "model", "stream_options.include_usage",
// "params._meta". Arrays are not entered. At every level that a path passes through, names that equal a watched one but
// for case (Unicode simple folding, so U+017F and U+212A too) are refused. It panics on a malformed path: paths are
// constants.
func Compile(paths ...string) *Paths { return &Paths{} }

// Scan checks doc, which must be one JSON object with nothing but white space around it, and fills out, one Value per
// path in Compile's order. The error is an *Error. It does not allocate when doc is well formed and its objects have few
// members.
func (p *Paths) Scan(doc []byte, lim Limits, out []Value) error {
	return &Error{Reason: "not built yet"}
}

// Check scans any JSON value for the same faults, watching nothing.
func Check(doc []byte, lim Limits) error { return &Error{Reason: "not built yet"} }

// Unquote returns the text of a JSON string literal that Scan has passed.
func Unquote(literal []byte) (string, error) { return "", errors.New("not built yet") }

// Edit replaces doc[Start:End] by With.
type Edit struct {
	Start, End int
	With       []byte
}

// Splice returns a copy of doc with edits done, which must be in order and not overlap.
func Splice(doc []byte, edits ...Edit) []byte { return nil }

// Insert returns the edit that adds a member to the object value obj of doc.
func Insert(doc []byte, obj Value, name string, value []byte) Edit { return Edit{} }
