package lease

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
)

// unanswered is a store of which no answer comes.
type unanswered struct{ store }

func (unanswered) exchange(context.Context, *request) (*reply, error) { return nil, errCut }

// A replica that was taken for gone hears of it only once: when that answer is lost, what the others have been given since
// is not its own all the same.
func TestThatItWasGoneMayNotBeHeard(t *testing.T) {
	limit, err := ledger.ParseLimit("100 concurrent")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	c := newClient(unanswered{}, durabletest.New(), machine{time.Now()}, time.Second, quiet)
	c.joined, c.end = true, func() journal.Position { return journal.Position{} }
	c.book = caps.NewBook(&mu, func() int64 { return 0 }, time.Now, func() {})
	p := c.book.Bind("pool", limits.NewCounter(limit, 0, time.UTC))
	changes, _ := c.book.Plan(true)
	c.book.Answer(changes, []caps.Result{{Key: p.Key(), Cap: 50}}, nil)
	r := c.request()
	r.restore = true
	if _, _, err := c.send(t.Context(), r); err == nil {
		t.Fatal("it was answered")
	}
	c.took(&reply{have: map[caps.Key]caps.Have{p.Key(): {Kind: caps.Slots}}})
	if p.Cap() != 0 {
		t.Errorf("the cap is %d", p.Cap())
	}
}
