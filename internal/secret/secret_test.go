package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNoWayOfPrintingShowsTheText(t *testing.T) {
	s := New("sesame")
	type holder struct {
		S String
		P *String
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%w"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, s, &s, holder{s, &s}, []String{s})
	}
	fmt.Fprint(&out, s, fmt.Errorf("wrapped: %v", s))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).With("with", s).Info("x", "s", s, "p", &s, "holder", holder{s, &s}, slog.Group("g", "s", s))
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"s": s, "h": holder{s, &s}}); err != nil {
		t.Fatal(err)
	}
	hex := fmt.Sprintf("%x", "sesame")
	if text := out.String(); strings.Contains(text, "sesame") || strings.Contains(strings.ToLower(text), hex) {
		t.Errorf("%s", text)
	}
	if s.Reveal() != "sesame" || s.Empty() || !New("").Empty() {
		t.Error("the secret itself is lost")
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	t.Setenv("SECRET_TEST_SET", "from:env")
	t.Setenv("SECRET_TEST_EMPTY", "")
	tests := []struct{ ref, text, err string }{
		{"env:SECRET_TEST_SET", "from:env", ""},
		{"env:SECRET_TEST_EMPTY", "", "variable SECRET_TEST_EMPTY is empty"},
		{"env:SECRET_TEST_UNSET", "", "no variable SECRET_TEST_UNSET: set it"},
		{"env:", "", "write env:NAME"},
		{write("plain", "sesame"), "sesame", ""},
		{write("line", "sesame\n"), "sesame", ""},
		{write("crlf", "sesame\r\n"), "sesame", ""},
		{write("two", "sesame\n\n"), "sesame\n", ""},
		{write("empty", "\n"), "", "is empty"},
		{write("large", strings.Repeat("x", fileBytesMax+1)), "", "larger than 64 KiB"},
		{"file:" + filepath.Join(dir, "missing"), "", "no such file"},
		{"file:" + dir, "", "read a secret"},
		{"file:", "", "write file:PATH"},
		{"vault://kv/a#b", "", "secrets from vault: are not supported"},
		{"", "", "write env:NAME or file:PATH"},
		{"sk-sesame-in-clear", "", "write env:NAME"},
		{"sesame:sesame", "", "write env:NAME"},
	}
	for _, test := range tests {
		s, err := Resolve(test.ref)
		if s.Reveal() != test.text || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v, want %q, %q", test.ref, s.Reveal(), err, test.text, test.err)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: the error quotes the secret: %v", test.ref, err)
		}
	}
}

func TestExposed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w := Exposed("file:" + path); w != "" {
		t.Error(w)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if w := Exposed("file:" + path); !strings.Contains(w, "chmod 600") {
		t.Error(w)
	}
	if Exposed("env:HOME") != "" || Exposed("file:"+path+"x") != "" {
		t.Error("a warning about nothing")
	}
}
