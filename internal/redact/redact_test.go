package redact

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/secret"
)

// The credentials here are put together from parts, so that scanners of this repository do not take them for real ones.
func TestShapes(t *testing.T) {
	random := "Q7f" + "2kLm9ZpX4vBn8RtW1sYc"
	tests := []struct{ in, want string }{
		{"key tg_sk_" + random + " used", "key tg_sk_[redacted] used"},
		{"Incorrect API key provided: sk-proj-" + random + ".", "Incorrect API key provided: sk-[redacted]"},
		{`{"error":"bad key sk-ant-api03-` + random + `"}`, `{"error":"bad key sk-[redacted]"}`},
		{"gsk_" + random + ",xai-" + random + ",AIza" + random, "gsk_[redacted],xai-[redacted],AIza[redacted]"},
		{"ghp_" + random + " github_pat_" + random + " glpat-" + random, "ghp_[redacted] github_pat_[redacted] glpat-[redacted]"},
		{"Authorization: Bearer " + random, "Authorization: Bearer [redacted]"},
		{"authorization: basic dXNlcjpwYXNz" + "d29yZA==", "authorization: basic [redacted]"},
		{"GET https://host/v1/models?key=" + random + "&alt=sse", "GET https://host/v1/models?key=[redacted]&alt=sse"},
		{"https://host/cb?code=abc&state=x&access_token=y#z", "https://host/cb?code=[redacted]&state=x&access_token=[redacted]#z"},
		{"postgres://user:pa55word@db/x", "postgres://[redacted]@db/x"},
		{"jwt eyJhbGciOiJI" + "UzI1NiJ9.eyJzdWIiOiIx" + "In0.abc-_1 end", "jwt [redacted] end"},
		{"AKIA" + "IOSFODNN7EXAMPLE", "[redacted]"},
		{"-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE\n-----END RSA PRIVATE " + "KEY-----\nrest", "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----\nrest"},
		{"-----BEGIN PRIVATE " + "KEY-----\nMIIE", "-----BEGIN PRIVATE KEY-----[redacted]"},
		{`{"a":"line\ntg_sk_` + random + `\tsk-` + random + `"}`, `{"a":"line\ntg_sk_[redacted]\tsk-[redacted]"}`},
		{"old_tg_sk_" + random, "old_tg_sk_[redacted]"},
		// ordinary text stays
		{"bearer authentication is needed", "bearer authentication is needed"},
		{"task-force-2024 sk-learn risk-assessment", "task-force-2024 sk-learn risk-assessment"},
		{"a=b tokens=5 https://host/path?x=1", "a=b tokens=5 https://host/path?x=1"},
		{"mail to ann@example.org", "mail to ann@example.org"},
		{"", ""},
	}
	var m Mask
	for _, test := range tests {
		if got := m.Text(test.in); got != test.want {
			t.Errorf("%q\n became %q\n want   %q", test.in, got, test.want)
		}
		if again := m.Text(m.Text(test.in)); again != m.Text(test.in) {
			t.Errorf("%q is masked differently the second time: %q", test.in, again)
		}
	}
}

func TestKnownCredentialsHaveNoShape(t *testing.T) {
	var m Mask
	m.Know(secret.New("correct horse battery"), secret.New("short"), secret.New(""))
	if got := m.Text("got correct horse battery, short"); got != "got [redacted], short" {
		t.Error(got)
	}
	m.Know(secret.New("another one of them"))
	if got := m.Text("correct horse battery, another one of them"); got != "correct horse battery, [redacted]" {
		t.Errorf("after the credentials changed: %s", got)
	}
}

// A canary in every place of a record that can hold text.
func TestHandlerMasksEveryPlace(t *testing.T) {
	canary := "tg_sk_" + "0123456789abcdefghijkl"
	known := "unshaped-canary-text"
	for _, secretText := range []string{canary, known} {
		for name, make := range map[string]func(*bytes.Buffer) slog.Handler{
			"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var out bytes.Buffer
			var m Mask
			m.Know(secret.New(known))
			log := slog.New(m.Handler(make(&out)))
			err := fmt.Errorf("upstream: %w", errors.New(secretText))
			log.With("with", secretText).WithGroup("g").With("inner", err).Error("message "+secretText,
				"string", secretText, "error", err, "bytes", []byte(secretText), "list", []string{"a", secretText},
				"struct", struct{ A, b string }{secretText, secretText}, "pointer", &struct{ A string }{secretText},
				"map", map[string]any{"a": secretText}, "valuer", valuer(secretText), "stringer", stringer{secretText},
				slog.Group("group", "deep", secretText), "unmarshalable", func() {}, "nil", nil, "number", 7)
			for i := 0; i+8 <= len(secretText); i++ {
				if part := secretText[i:]; len(part) > 12 && bytes.Contains(out.Bytes(), []byte(part)) {
					t.Errorf("%s: %q stands in\n%s", name, part, out.String())
					break
				}
			}
			if !bytes.Contains(out.Bytes(), []byte("number")) || strings.Count(out.String(), "redacted") < 12 {
				t.Errorf("%s: %s", name, out.String())
			}
		}
	}
}

type valuer string

func (v valuer) LogValue() slog.Value { return slog.StringValue(string(v)) }

type stringer struct{ text string }

func (s stringer) String() string { return s.text }

func TestNamesOfCredentialsAreMaskedWhateverTheyHold(t *testing.T) {
	var out bytes.Buffer
	var m Mask
	slog.New(m.Handler(slog.NewJSONHandler(&out, nil))).Info("x", "Authorization", "sesame", "provider_api_key", "sesame", "key", "ci-bot", "tokens", 12,
		"headers", http.Header{"X-Api-Key": {"sesame"}, "Cookie": {"sesame"}, "Accept": {"text/html"}})
	text := out.String()
	if strings.Contains(text, "sesame") || !strings.Contains(text, `"key":"ci-bot"`) || !strings.Contains(text, `"tokens":12`) || !strings.Contains(text, "text/html") {
		t.Error(text)
	}
}

func TestOrdinaryRecordsPassUnchanged(t *testing.T) {
	var plain, through bytes.Buffer
	var m Mask
	drop := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&plain, drop), m.Handler(slog.NewJSONHandler(&through, drop))} {
		slog.New(h).With("a", 1).WithGroup("g").Warn("the message", "b", []int{1, 2}, "c", map[string]string{"x": "y"}, "d", 1.5, slog.Group("e", "f", true))
	}
	if plain.String() != through.String() {
		t.Errorf("%s became %s", plain.String(), through.String())
	}
}

func FuzzText(f *testing.F) {
	f.Add("Bearer abc12345678")
	f.Add("://a@b?key=c&eyJabcdefgh.abcd")
	f.Fuzz(func(t *testing.T, text string) {
		var m Mask
		once := m.Text(text)
		if strings.Count(once, masked) == 0 && once != text {
			t.Errorf("%q became %q", text, once)
		}
		planted := m.Text(text + " tg_sk_0123456789abcdefghijkl " + text)
		if strings.Contains(planted, "0123456789abcdefghijkl") {
			t.Errorf("%q hides a key: %q", text, planted)
		}
	})
}

func BenchmarkText(b *testing.B) {
	var m Mask
	m.Know(secret.New("correct horse battery"))
	for name, text := range map[string]string{
		"ordinary": "the upstream answered after 3 attempts, the last one took 1.2 s",
		"key":      "Incorrect API key provided: sk-proj-Q7f2kLm9ZpX4vBn8RtW1sYc. You can find yours on the page",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Text(text)
			}
		})
	}
}
