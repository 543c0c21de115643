package secret

import (
	"bytes"
	"errors"
	"testing"
)

func TestBoxOpensOnlyWhatItSealedForAPlace(t *testing.T) {
	a, b := NewBox(make([]byte, BoxKeyBytes)), NewBox(bytes.Repeat([]byte{1}, BoxKeyBytes))
	sealed := a.Seal([]byte("sesame"), "here")
	if text, err := a.Open(sealed, "here"); err != nil || string(text) != "sesame" {
		t.Errorf("%q, %v", text, err)
	}
	if bytes.Contains(sealed, []byte("sesame")) || bytes.Equal(sealed, a.Seal([]byte("sesame"), "here")) {
		t.Error("it is in the clear, or the same each time")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if text, err := a.Open(changed, "here"); !errors.Is(err, ErrSealed) {
			t.Errorf("changed at %d: %q, %v", i, text, err)
		}
	}
	for name, open := range map[string]func() ([]byte, error){
		"another key":   func() ([]byte, error) { return b.Open(sealed, "here") },
		"another place": func() ([]byte, error) { return a.Open(sealed, "there") },
		"cut short":     func() ([]byte, error) { return a.Open(sealed[:5], "here") },
		"nothing":       func() ([]byte, error) { return a.Open(nil, "here") },
	} {
		if text, err := open(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}
