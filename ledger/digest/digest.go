package digest

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/tollgate/tollgate/ledger/entry"
)

// Keys compute the digests of what calls carry. Each customer has a key of its own, derived from the installation's
// with its name, so that nobody can tell from two customers' entries that they did the same; calls without a customer
// use the installation's. A digest is keyed because what is digested is often short: a number or a name could be found by
// trying. Safe for concurrent use.
type Keys struct {
	key []byte

	making sync.Mutex                          // held while a customer is added
	pools  atomic.Pointer[map[string]*macPool] // by customer; replaced, never changed
}

// New makes Keys of an installation's key.
func New(key []byte) *Keys { return &Keys{key: key} }

// macPool keeps digesters of one key.
type macPool struct {
	sync.Pool
	key []byte
}

// customersMax bounds the keys that are kept; beyond it they are derived anew.
const customersMax = 1000

// digester computes digests with one key. It is for one goroutine at a time.
type digester struct {
	mac hash.Hash
	sum entry.Digest // here and not on the stack, from where it would be copied to the heap each time
}

// pool returns the customer's, made when first asked for.
func (ds *Keys) pool(customer string) *macPool {
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

// Of is the digest of text for a customer; of nothing it is zero.
func (ds *Keys) Of(customer string, text []byte) entry.Digest {
	if len(text) == 0 {
		return entry.Digest{}
	}
	p := ds.pool(customer)
	d := p.Get().(*digester)
	defer p.Put(d)
	d.mac.Reset()
	d.mac.Write(text)
	d.mac.Sum(d.sum[:0])
	return d.sum
}

// Hash is Of for what comes in parts. It is for one goroutine.
func (ds *Keys) Hash(customer string) hash.Hash { return hmac.New(sha256.New, ds.pool(customer).key) }
