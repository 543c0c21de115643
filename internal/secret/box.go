package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// BoxKeyBytes is the length of a Box's key.
const BoxKeyBytes = 32

// ErrSealed means that a text was sealed with another key or for another place, or was changed.
var ErrSealed = errors.New("it was sealed with another key or for another place, or changed")

// Box seals texts with AES-256-GCM under fresh random nonces, of which one key takes some billions. Safe for concurrent use.
type Box struct{ aead cipher.AEAD }

// NewBox makes a Box of a key, which must be BoxKeyBytes long.
func NewBox(key []byte) Box {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // a key of another length, which no caller has
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return Box{aead}
}

// Seal returns a nonce and the sealed text. place is bound to it: opened for another one, it does not open.
func (b Box) Seal(text []byte, place string) []byte {
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(text)+b.aead.Overhead())
	_, _ = rand.Read(nonce)
	return b.aead.Seal(nonce, nonce, text, []byte(place))
}

// Open is the text that Seal sealed for place, or ErrSealed.
func (b Box) Open(sealed []byte, place string) ([]byte, error) {
	n := b.aead.NonceSize()
	if len(sealed) < n {
		return nil, ErrSealed
	}
	text, err := b.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}
