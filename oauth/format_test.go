package oauth

import (
	"strings"
	"testing"
)

func TestMintedSecrets(t *testing.T) {
	seen := map[string]bool{}
	used := map[rune]bool{}
	for range 1000 {
		text := newSecret().Reveal()
		if !looksMinted(text) || !wellFormed([]byte(text)) || seen[text] {
			t.Fatalf("%q", text)
		}
		seen[text] = true
		for _, c := range text[len(mintedPrefix) : len(mintedPrefix)+randomChars] {
			used[c] = true
		}
	}
	if len(used) != len(base62) {
		t.Errorf("22,000 random characters are of %d kinds, want %d", len(used), len(base62))
	}
}

func TestTyposAreNotWellFormed(t *testing.T) {
	text := newSecret().Reveal()
	for i := len(mintedPrefix); i < len(text); i++ {
		for _, c := range base62 {
			if typo := text[:i] + string(c) + text[i+1:]; typo != text && wellFormed([]byte(typo)) {
				t.Fatalf("%q passes for %q", typo, text)
			}
		}
		if i+1 < len(text) && text[i] != text[i+1] {
			if swapped := text[:i] + string(text[i+1]) + string(text[i]) + text[i+2:]; wellFormed([]byte(swapped)) {
				t.Fatalf("%q passes for %q", swapped, text)
			}
		}
	}
	for _, other := range []string{"", mintedPrefix, text[:len(text)-1], text + "0", strings.Repeat("x", len(text))} {
		if wellFormed([]byte(other)) {
			t.Errorf("%q is well formed", other)
		}
	}
}

// The form is a promise to secret scanners: keys minted today must be known tomorrow.
func TestFormOfKeysStays(t *testing.T) {
	const known = "tg_sk_" + "0000000000000000000000"
	if got := string(appendChecksum([]byte(known))); got != known+"2oKO9g" {
		t.Errorf("%s", got)
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add("tg_sk_")
	f.Add(newSecret().Reveal())
	f.Fuzz(func(t *testing.T, text string) {
		if wellFormed([]byte(text)) && string(appendChecksum([]byte(text[:len(text)-checksumChars]))) != text {
			t.Errorf("%q", text)
		}
	})
}
