package redact

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// Handler returns a handler that masks the message and the attributes of each record before next sees them.
func (m *Mask) Handler(next slog.Handler) slog.Handler { return &handler{m, next} }

type handler struct {
	mask *Mask
	next slog.Handler
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.mask.Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.mask.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.mask, h.next.WithAttrs(h.mask.attrs(attrs))}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.mask, h.next.WithGroup(name)}
}

func (m *Mask) attrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = m.attr(a)
	}
	return clean
}

func (m *Mask) attr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindGroup:
		a.Value = slog.GroupValue(m.attrs(a.Value.Group())...)
		return a
	case slog.KindString:
		a.Value = slog.StringValue(m.Text(a.Value.String()))
	case slog.KindAny:
		a.Value = m.opaque(a.Value)
	default:
		return a
	}
	if SecretName(a.Key) {
		a.Value = slog.StringValue(masked)
	}
	return a
}

// opaque masks a value of a type that slog does not know: as it was, if nothing in it needs masking, else as text.
func (m *Mask) opaque(v slog.Value) slog.Value {
	switch x := v.Any().(type) {
	case nil:
		return v
	case error:
		return slog.StringValue(m.Text(x.Error()))
	case []byte:
		return slog.StringValue(m.Text(string(x)))
	case http.Header:
		return m.opaque(slog.AnyValue(m.headers(x)))
	}
	text, err := json.Marshal(v.Any())
	if err != nil {
		return slog.StringValue(m.Text(fmt.Sprint(v.Any())))
	}
	if clean := m.Text(string(text)); clean != string(text) {
		return slog.StringValue(clean)
	}
	if clean := m.Text(v.String()); clean != v.String() {
		return slog.StringValue(clean) // a text handler would print it so
	}
	return v
}

func (m *Mask) headers(h http.Header) map[string][]string {
	clean := map[string][]string{}
	for name, values := range h {
		if SecretName(name) {
			values = []string{masked}
		}
		clean[name] = values
	}
	return clean
}

// SecretName reports whether an attribute or header of this name holds a credential, whatever it looks like.
// The name may be written as_words, as-words or asWords.
func SecretName(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	return slices.Contains(secretNames, name) || strings.HasSuffix(name, "_api_key") || strings.HasSuffix(name, "_token") || strings.HasSuffix(name, "_secret") ||
		strings.HasSuffix(name, "_password")
}

var secretNames = []string{
	"authorization", "proxy_authorization", "cookie", "set_cookie", "password", "passwd", "secret", "token", "api_key", "apikey",
	"credential", "credentials", "private_key", "passphrase", "pwd", "access_key", "secret_key", "x_tollgate_key", "x_bf_vk",
	"apitoken", "accesstoken", "refreshtoken", "clientsecret", "privatekey", "cvv", "cvc",
}
