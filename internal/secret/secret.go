// Package secret holds the type every credential lives in while it is in memory: it cannot be printed by accident.
package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// String is a credential. Every way of printing it prints "[redacted]"; Reveal is the one way to the text and is easy to
// search for. The zero String is empty. Two of them are compared by reflect.DeepEqual or by what they reveal, not by ==.
type String struct {
	// A pointer, because fmt shows the inside of a value without asking its methods when the verb is wrong (%w, %p).
	text *string
}

// New wraps text.
func New(text string) String { return String{&text} }

// Reveal returns the credential itself. Only code that puts it on a wire or hashes it may call it.
func (s String) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no credential.
func (s String) Empty() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (s String) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (s String) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb reaches the text.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler (JSON and YAML use it).
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }
