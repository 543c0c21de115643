package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
)

const (
	// KeyBytes is the length of a key: that of the strongest it is stretched into.
	KeyBytes = 32
	// textBytesMax bounds what Open looks at. What is sealed are names and small states; a larger text is not ours.
	textBytesMax = 64 << 10
	// overhead is what a seal adds to its plain bytes: the nonce before them and the tag behind.
	overhead = 12 + 16
)

// ErrForeign means that a text is not a seal of this key and purpose, whole and unchanged. It says no more, because whoever
// tries texts out must learn nothing from it.
var ErrForeign = errors.New("seal: not a text of this installation")

// Sealer seals with one key. Safe for concurrent use.
type Sealer struct {
	key []byte

	mu    sync.RWMutex           // guards aeads
	aeads map[string]cipher.AEAD // by purpose; purposes are names in the code, so there are few
}

// New makes a Sealer of a key of [KeyBytes]. Replicas that are to open each other's texts share the key; a new key makes
// all older texts foreign.
func New(key []byte) (*Sealer, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("seal: the key has %d bytes and needs %d", len(key), KeyBytes)
	}
	return &Sealer{key: append([]byte(nil), key...), aeads: map[string]cipher.AEAD{}}, nil
}

// Seal encrypts plain so that only Open with the same purpose gives it back. The text has A-Z a-z 0-9 - _ only: it fits into
// a header, a URL and a JSON string as it is. Sealing the same bytes twice gives two different texts.
func (s *Sealer) Seal(purpose string, plain []byte) string {
	return base64.RawURLEncoding.EncodeToString(s.aead(purpose).Seal(nil, nil, plain, nil))
}

// Open returns what was sealed for purpose, or ErrForeign.
func (s *Sealer) Open(purpose, text string) ([]byte, error) {
	if len(text) > textBytesMax || strings.ContainsAny(text, "\r\n") { // line breaks are skipped by the decoder
		return nil, ErrForeign
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < overhead {
		return nil, ErrForeign
	}
	plain, err := s.aead(purpose).Open(sealed[:0], nil, sealed, nil)
	if err != nil {
		return nil, ErrForeign
	}
	return plain, nil
}

// aead is AES-256-GCM under the key of purpose. Its nonces are random: with 96 bits of them a key is good for 2^32 texts,
// which no purpose of ours comes near to.
func (s *Sealer) aead(purpose string) cipher.AEAD {
	s.mu.RLock()
	a := s.aeads[purpose]
	s.mu.RUnlock()
	if a != nil {
		return a
	}
	key, err := hkdf.Key(sha256.New, s.key, nil, "tollgate seal: "+purpose, KeyBytes)
	if err != nil {
		panic(err) // only for an output longer than 255 hashes
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a key of another length
	}
	if a, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		panic(err) // only for a cipher of another block size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aeads[purpose] = a
	return a
}
