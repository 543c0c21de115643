package secret

import (
	"crypto/hkdf"
	"crypto/sha256"
)

// Derive makes a key of size bytes from a secret with much chance in it. Keys of different labels tell nothing of each other
// and nothing of the secret, so each use has a label of its own, which names its version, too: a changed label is a changed
// key.
func Derive(from String, label string, size int) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(from.Reveal()), nil, label, size)
}
