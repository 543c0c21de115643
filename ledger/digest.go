package ledger

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"maps"
	"sync"
	"sync/atomic"
)

// digesters compute the digests of what calls carry. Each customer has a key of its own, derived from the installation's
// with its name, so that nobody can tell from two customers' entries that they did the same; calls without a customer
// use the installation's. A digest is keyed because what is digested is often short: a number or a name could be found by
// trying. Safe for concurrent use.
type digesters struct {
	key []byte

	making sync.Mutex                          // held while a customer is added
	pools  atomic.Pointer[map[string]*macPool] // by customer; replaced, never changed
}

// macPool keeps digesters of one key.
type macPool struct {
	sync.Pool
	key []byte
}

// customersMax bounds the keys that are kept; beyond it they are derived anew.
const customersMax = 10_000

// digester computes digests with one key. It is for one goroutine at a time.
type digester struct {
	mac hash.Hash
	sum Digest // here and not on the stack, from where it would be copied to the heap each time
}

// pool returns the customer's, made when first asked for.
func (ds *digesters) pool(customer string) *macPool {
	if known := ds.pools.Load(); known != nil {
		if p := (*known)[customer]; p != nil {
			return p
		}
	}
	ds.making.Lock()
	defer ds.making.Unlock()
	next := map[string]*macPool{}
	if known := ds.pools.Load(); known != nil && len(*known) < customersMax {
		next = maps.Clone(*known)
	}
	p := next[customer]
	if p == nil {
		p = &macPool{key: customerKey(ds.key, customer)}
		p.New = func() any { return &digester{mac: hmac.New(sha256.New, p.key)} }
		next[customer] = p
		ds.pools.Store(&next)
	}
	return p
}

func customerKey(key []byte, customer string) []byte {
	if customer == "" {
		return key
	}
	derived, err := hkdf.Key(sha256.New, key, nil, "tollgate digests of customer "+customer, sha256.Size)
	if err != nil { // it can only be asked for too many bytes
		panic(err)
	}
	return derived
}

func (ds *digesters) digest(customer string, text []byte) Digest {
	if len(text) == 0 {
		return Digest{}
	}
	p := ds.pool(customer)
	d := p.Get().(*digester)
	defer p.Put(d)
	d.mac.Reset()
	d.mac.Write(text)
	d.mac.Sum(d.sum[:0])
	return d.sum
}

// Digest is the keyed digest that stands in entries for what a call of the customer carries, its arguments or its answer:
// the same bytes give the same digest, and without the key nobody can try bytes against it. Those of two customers
// cannot be compared. Of nothing it is zero.
func (l *Ledger) Digest(customer string, text []byte) Digest { return l.macs.digest(customer, text) }

// NewDigest is Digest for what comes in parts. The hash is for one goroutine.
func (l *Ledger) NewDigest(customer string) hash.Hash {
	return hmac.New(sha256.New, l.macs.pool(customer).key)
}
