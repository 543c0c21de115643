package secret

import (
	"bytes"
	"testing"
)

func TestDerivedKeysAreApart(t *testing.T) {
	derive := func(from, label string) []byte {
		key, err := Derive(New(from), label, 32)
		if err != nil || len(key) != 32 {
			t.Fatalf("Derive = %d bytes, %v", len(key), err)
		}
		return key
	}
	key := derive("the secret", "one use")
	if !bytes.Equal(key, derive("the secret", "one use")) {
		t.Error("the same secret and label give another key")
	}
	if bytes.Equal(key, derive("the secret", "another use")) || bytes.Equal(key, derive("another secret", "one use")) {
		t.Error("another use or secret gives the same key")
	}
	if _, err := Derive(New("x"), "", 1<<20); err == nil {
		t.Error("a key longer than HKDF can make")
	}
}
