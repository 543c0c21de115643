package oauth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/secret"
)

// pepperBytes is the length of the secret that keys the hashes of virtual keys. Without it the database of hashes is of
// no use to whoever copies it.
const pepperBytes = 32

// Pepper reads the pepper in the file at path, and makes it at the first start. Of several processes that start at once
// all get the same. Losing the file loses every minted key.
func Pepper(path string) ([]byte, error) {
	pepper, err := readPepper(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return pepper, err
	}
	fresh := make([]byte, pepperBytes)
	_, _ = rand.Read(fresh)
	// Written whole under another name and then linked: whoever finds the file finds all of it, and the first one stays.
	temporary := path + "." + rand.Text()
	if err := durable.WriteFile(temporary, fresh, 0o600); err != nil {
		return nil, fmt.Errorf("make the pepper: %w", err)
	}
	err = os.Link(temporary, path)
	if removed := os.Remove(temporary); err == nil {
		err = removed
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the pepper: %w", err)
	}
	return readPepper(path)
}

func readPepper(path string) ([]byte, error) {
	pepper, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read the pepper: %w", err)
	}
	if len(pepper) != pepperBytes {
		return nil, fmt.Errorf("read the pepper: %s has %d bytes instead of %d: restore it from a backup", path, len(pepper), pepperBytes)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the pepper: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read the pepper: others may read %s (mode %o): chmod 600 it", path, mode)
	}
	return pepper, nil
}

// DerivePepper makes the pepper from the secret_key that several replicas share.
func DerivePepper(secretKey secret.String) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(secretKey.Reveal()), nil, "tollgate virtual key pepper v1", pepperBytes)
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
