package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/tollgate/tollgate/internal/secret"
)

// pepperBytes is the length of the secret that keys the hashes of virtual keys. Without it the database of hashes is of
// no use to whoever copies it.
const pepperBytes = 32

// Pepper reads the pepper in the file at path, and makes it at the first start. Of several processes that start at once
// all get the same. Losing the file loses every minted key.
func Pepper(path string) ([]byte, error) {
	return secret.KeyFile(path, "the pepper", pepperBytes)
}

// DerivePepper makes the pepper from the secret_key that several replicas share.
func DerivePepper(secretKey secret.String) ([]byte, error) {
	return secret.Derive(secretKey, "tollgate virtual key pepper v1", pepperBytes)
}

// digest is a keyed hash of a credential: what is stored and looked up in its place.
type digest [sha256.Size]byte

// hasher computes digests. Its states are reused: keying HMAC costs as much as a key's whole hash. Safe for concurrent
// use.
type hasher struct{ states sync.Pool }

// hashed is a credential while it is looked at: a copy that can be hashed without another one, and a keyed HMAC.
type hashed struct {
	text []byte
	mac  hash.Hash
	sum  []byte
}

func newHasher(pepper []byte) *hasher {
	return &hasher{states: sync.Pool{New: func() any { return &hashed{mac: hmac.New(sha256.New, pepper)} }}}
}

// take returns a state for text, which must be given back.
func (h *hasher) take(text string) *hashed {
	c := h.states.Get().(*hashed)
	c.text = append(c.text[:0], text...)
	return c
}

func (h *hasher) give(c *hashed) {
	clear(c.text)
	h.states.Put(c)
}

func (c *hashed) digest() digest {
	c.mac.Reset()
	_, _ = c.mac.Write(c.text)
	c.sum = c.mac.Sum(c.sum[:0])
	return digest(c.sum)
}

func (h *hasher) digest(text string) digest {
	c := h.take(text)
	defer h.give(c)
	return c.digest()
}

// check is what a database remembers a pepper by.
func (h *hasher) check() digest { return h.digest("tollgate pepper check") }
