package caps

import (
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/ledger/limits"
)

// Book holds the pools that this replica has met. Methods whose comment says so take the lock; the caller of the others
// holds it.
type Book struct {
	mu    sync.Locker      // the ledger's
	clock func() int64     // the time that windows go by, Unix nanoseconds
	now   func() time.Time // the machine's, of which only the monotonic part is used
	kick  func()           // wakes the exchange; it must not block
	meet  func()           // binds the counters whose pools the database turned out to know

	pools map[string]*Pool
	known map[Key]Have // what the database has for us in pools that are not met yet
	awake []*Pool      // those that a tick looks at
	queue []*Pool      // those that the next plan looks at
	tick  time.Time
	since time.Time // when known was read

	planned  uint64        // counts plans…
	answered uint64        // …and says which was answered last
	round    chan struct{} // closed by the next answer
	waiters  int
}

// NewBook makes an empty book guarded by mu. clock is the time that windows go by, now the machine's. meet is called with
// the lock held when pools became known from the database: it binds the counters that have been Met now.
func NewBook(mu sync.Locker, clock func() int64, now func() time.Time, meet func()) *Book {
	return &Book{
		mu: mu, clock: clock, now: now, meet: meet, kick: func() {},
		pools: map[string]*Pool{}, known: map[Key]Have{}, round: make(chan struct{}),
	}
}

// Wake sets what wakes the exchange. It takes the lock.
func (b *Book) Wake(kick func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kick = kick
}

// Met reports whether a pool of the name is known here, from the database or from before.
func (b *Book) Met(name string, c *limits.Counter) bool {
	start, _ := c.Period()
	_, ok := b.known[Key{name, start}]
	return ok || b.pools[name] != nil
}

// Bind returns the pool of a counter, under the name that Name gave for it. What the counter stands at already is the
// pool's debt and is told to the database by the next exchange.
func (b *Book) Bind(name string, c *limits.Counter) *Pool {
	p := b.pools[name]
	if p == nil {
		p = newPool(b, name, c)
		p.start, p.amount = -1, c.Limit.Amount // no period yet: the first turn takes what is known
		b.pools[name] = p
	}
	p.counters = append(p.counters, c)
	p.until = time.Time{}
	p.lower(min(p.amount, c.Limit.Amount))
	p.turn(c)
	p.wakeUp()
	return p
}

// lower makes amount the pool's. A lower one than before takes what no call has taken out of use at once: how much of it
// may be kept is asked anew.
func (p *Pool) lower(amount int64) {
	if amount < p.amount && p.kind != Reading {
		p.cap = min(p.cap, max(p.taken(), 0))
	}
	p.amount = amount
}

// Unbind takes all counters away that drop names: the config is being read anew. Settled ends it.
func (b *Book) Unbind(drop func(*limits.Counter) bool) {
	for _, p := range b.pools {
		p.last = p.taken()
		p.counters = slices.DeleteFunc(p.counters, drop)
	}
}

// Unbind takes a counter away whose limit is laid no more.
func (p *Pool) Unbind(c *limits.Counter) {
	p.last = p.taken()
	p.counters = slices.DeleteFunc(p.counters, func(o *limits.Counter) bool { return o == c })
	p.settle()
}

// Settled has the amounts of the config that is now in force. Pools that it has no more are left to the next plans: what
// they hold is given back as far as their window allows.
func (b *Book) Settled() {
	for _, p := range b.pools {
		p.settle()
	}
}

func (p *Pool) settle() {
	if len(p.counters) == 0 {
		if p.until.IsZero() {
			p.until = p.book.now().Add(forgetTime(p.window))
			p.wakeUp()
		}
		return
	}
	amount := p.counters[0].Limit.Amount
	for _, c := range p.counters {
		amount = min(amount, c.Limit.Amount)
	}
	if amount != p.amount {
		p.lower(amount)
		p.wakeUp()
	}
}

// forgetTime is when nothing of a window that slides can count any more.
func forgetTime(window time.Duration) time.Duration { return window + window/20 + time.Second }

func (p *Pool) wakeUp() {
	if !p.awake {
		p.wake()
	}
	p.queue()
}
