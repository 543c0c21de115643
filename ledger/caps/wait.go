package caps

import (
	"context"
	"time"

	"github.com/tollgate/tollgate/ledger/limits"
)

const (
	// WaitMax is how long a call waits for room in all: others that keep some need a moment to hear of it.
	WaitMax = 250 * time.Millisecond
	// dryTime is how long it is believed that nobody has room: the calls that come meanwhile are refused at once. It is
	// short, because a call that ends elsewhere frees what it held.
	dryTime = 50 * time.Millisecond
)

// Need is what a call lacks room for.
type Need struct {
	Pool    *Pool
	Counter *limits.Counter
	N       int64
}

// Waiter is a call that waits for room in pools. It is for one goroutine.
type Waiter struct {
	book  *Book
	needs []Need
	since uint64 // the plans before it did not know of what it needs
	heard bool   // the database answered since it began to wait
	until time.Time
}

// Dry reports whether it is known that the pool has no room for n, so that waiting would be in vain.
func (p *Pool) Dry(n int64) bool {
	return p.book.now().Before(p.dryUntil) && n > p.room()+p.left
}

// Enlist makes the caller a waiter for all of needs. It ends with Leave.
func (b *Book) Enlist(needs []Need) *Waiter {
	w := &Waiter{book: b, until: b.now().Add(WaitMax)}
	b.waiters++
	w.take(needs)
	return w
}

func (w *Waiter) take(needs []Need) {
	w.needs = append(w.needs[:0], needs...)
	w.since = w.book.planned
	for _, n := range w.needs {
		n.Pool.waiting += n.N
		n.Pool.largest = max(n.Pool.largest, n.N)
		n.Pool.wakeUp()
	}
}

// Again makes needs what the waiter waits for. It reports whether there is sense in waiting: an answer since said that
// nobody has room, or the time is over, then there is none.
func (w *Waiter) Again(needs []Need) bool {
	w.heard = w.heard || w.book.answered > w.since
	if w.exhausted() {
		return false
	}
	w.drop()
	w.take(needs)
	return w.book.now().Before(w.until)
}

// exhausted reports whether the answer to a plan that knew of the waiter said that there is no room.
func (w *Waiter) exhausted() bool {
	for _, n := range w.needs {
		if n.Pool.dry > w.since && n.Pool.room() < n.N {
			return true
		}
	}
	return false
}

// Heard reports whether the database answered since the waiter began to wait.
func (w *Waiter) Heard() bool { return w.heard }

func (w *Waiter) drop() {
	for _, n := range w.needs {
		n.Pool.waiting -= n.N
		n.Pool.enqueue()
		if n.Pool.starving { // others keep room for it
			n.Pool.book.kick()
		}
	}
	w.needs = w.needs[:0]
}

// Leave ends the wait.
func (w *Waiter) Leave() {
	w.drop()
	w.book.waiters--
}

// Wait returns after the next answer, or when the time is over, or with ctx. It takes the lock.
func (w *Waiter) Wait(ctx context.Context) {
	w.book.mu.Lock()
	round, left := w.book.round, w.until.Sub(w.book.now())
	w.book.mu.Unlock()
	if left <= 0 {
		return
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-round:
	case <-t.C:
	case <-ctx.Done():
	}
}

// Waiting reports whether calls wait for room. It takes the lock.
func (b *Book) Waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiters > 0
}
