package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
)

// digester computes argument digests with one key. It is for one goroutine at a time.
type digester struct {
	mac hash.Hash
	sum Digest // here and not on the stack, from where it would be copied to the heap each time
}

func newDigester(key []byte) *digester { return &digester{mac: hmac.New(sha256.New, key)} }

func (d *digester) digest(args []byte) Digest {
	if len(args) == 0 {
		return Digest{}
	}
	d.mac.Reset()
	d.mac.Write(args)
	d.mac.Sum(d.sum[:0])
	return d.sum
}

// Digest is the keyed digest of arguments that stands in entries: the same arguments give the same digest, and without
// the key nobody can try arguments against it.
func (l *Ledger) Digest(args []byte) Digest {
	d := l.macs.Get().(*digester)
	defer l.macs.Put(d)
	return d.digest(args)
}
