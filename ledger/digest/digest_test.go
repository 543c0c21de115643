package digest_test

import (
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/ledger/digest"
	"github.com/tollgate/tollgate/ledger/entry"
)

func TestEveryCustomerHasAKeyOfItsOwn(t *testing.T) {
	k, other := digest.New([]byte("k")), digest.New([]byte("l"))
	seen := map[entry.Digest]string{}
	for _, customer := range []string{"", "acme", "globex"} {
		d := k.Of(customer, []byte("text"))
		if twin, ok := seen[d]; ok {
			t.Errorf("%q and %q have the same", customer, twin)
		}
		seen[d] = customer
		h := k.Hash(customer)
		h.Write([]byte("te"))
		h.Write([]byte("xt"))
		if entry.Digest(h.Sum(nil)) != d || k.Of(customer, []byte("text")) != d || other.Of(customer, []byte("text")) == d {
			t.Errorf("%q: in parts, again or with another key", customer)
		}
		if k.Of(customer, nil) != (entry.Digest{}) {
			t.Errorf("%q: nothing has a digest", customer)
		}
	}
}

// More customers than are remembered have the same digests as ever.
func TestForgottenCustomersAreDerivedAnew(t *testing.T) {
	k := digest.New([]byte("k"))
	first := k.Of("customer 0", []byte("text"))
	for i := range 1100 {
		k.Of(fmt.Sprint("customer ", i), []byte("text"))
	}
	if k.Of("customer 0", []byte("text")) != first {
		t.Error("it changed")
	}
}

func BenchmarkOf(b *testing.B) {
	k, text := digest.New([]byte("k")), make([]byte, 1536)
	b.ReportAllocs()
	for b.Loop() {
		k.Of("acme", text)
	}
}
