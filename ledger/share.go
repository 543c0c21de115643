package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
)

// Pools is what a ledger shares its limits with others through; ledger/lease has it on PostgreSQL. Its methods are safe
// for concurrent use and none but Leave and Others waits for the network.
type Pools interface {
	// Now is the time all replicas go by. It never goes back, and runs at most a hundredth faster or slower than time does.
	Now() time.Time
	// Elapsed is a time that is good for measuring how long something took here, nothing else.
	Elapsed() time.Time
	// Alive is nil while this replica may serve, and otherwise an error that wraps ErrOffline and says why not.
	Alive() error
	// Serve begins to carry what book plans to the others. The ledger's windows are those of zone; found is where its journal
	// ended when it was opened, end is how far it is on disk. It is called once, when the ledger is open.
	Serve(book *caps.Book, zone string, found journal.Position, end func() journal.Position)
	// Others is what all other replicas told of what their calls took. After an error it is what was known before.
	Others() (map[caps.Key]caps.Use, error)
	// Leave gives back what no call has taken, and ends. It waits for that for a few seconds at most.
	Leave()
}

// ErrOffline means that this replica has no contact with those it shares limits with, so the call must not be made.
var ErrOffline = errors.New("not in contact with the other replicas")

// errShort means that a call fits its limits, but not what this replica may take of them for now.
var errShort = errors.New("short of caps")

// lack is what a call is short of.
type lack struct {
	needs   []caps.Need
	refusal *LimitError // what it comes to if nothing more is to be had
}

func (k *lack) reset() { k.needs, k.refusal = k.needs[:0], nil }

func (k *lack) err() error {
	if len(k.needs) > 0 {
		return errShort
	}
	return nil
}

// fitsCap reports whether n more, for h, fit what this replica may take of c's limit. If not, it is true all the same and
// lack has what is missing, unless it is known already that there is nothing to be had. The caller holds mu.
func (l *Ledger) fitsCap(c *counter, h *hold, n, now int64, lack *lack) bool {
	if n <= 0 || c.reading() {
		return true
	}
	if c.pool == nil {
		c.pool = l.shared.Bind(c.poolName(), &c.Counter)
	}
	if c.pool.Fits(&c.Counter, n) {
		return true
	}
	if c.pool.Dry(n) {
		return false
	}
	lack.needs = append(lack.needs, caps.Need{Pool: c.pool, Counter: &c.Counter, N: n})
	lack.refusal = longer(lack.refusal, c.refuse(h, n, now))
	return true
}

func (c *counter) poolName() string { return caps.Name(string(c.scope.Level), c.scope.Name, &c.Limit) }

// await has try repeated as caps are raised, until it is no longer short of any or there are none to be had: then it is
// the refusal by the limit, or, when nobody was there to ask, ErrOffline.
func (l *Ledger) await(ctx context.Context, lack *lack, try func() error) error {
	l.mu.Lock()
	w := l.shared.Enlist(lack.needs)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.Leave()
	}()
	for {
		w.Wait(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := try(); err != errShort {
			return err
		}
		l.mu.Lock()
		again, heard := w.Again(lack.needs), w.Heard()
		l.mu.Unlock()
		switch {
		case again:
		case heard:
			return lack.refusal
		default:
			return fmt.Errorf("%w: the database does not answer, and what this replica may take of limit %q of %s is used up", ErrOffline,
				lack.refusal.Limit, lack.refusal.Scope)
		}
	}
}

// add changes by n what a hold of the time at takes of the limit, and by held what is under way of it.
func (c *counter) add(at, n, held int64) {
	c.Add(at, n)
	c.Held += held
	if c.pool != nil {
		c.pool.Move(&c.Counter, n)
	}
}

// tick is the time of the windows. What comes later does not count before it. The caller holds mu.
func (l *Ledger) tick() int64 {
	l.book.last = max(l.book.last, l.cfg.Now().UnixNano())
	return l.book.last
}

// share makes counters, which are all that the config has, the counters of their pools. Those that stand at something
// already must have it acknowledged, and those that something is known of may have a cap; the others wait for a call.
// The caller holds mu.
func (l *Ledger) share(all []*counter) {
	if l.shared == nil {
		return
	}
	kept := map[*limits.Counter]bool{}
	for _, a := range l.book.accounts {
		if a.key.rule == "" {
			continue
		}
		for _, ln := range a.lanes {
			for _, c := range ln.counters {
				kept[&c.Counter] = true
			}
		}
	}
	l.shared.Unbind(func(c *limits.Counter) bool { return !kept[c] })
	for _, c := range all {
		if name := c.poolName(); c.Sum > 0 || c.reading() || l.shared.Met(name, &c.Counter) {
			c.pool = l.shared.Bind(name, &c.Counter)
		}
	}
	l.shared.Settled()
}

// meet binds the counters that are bound to no pool yet and that the database knows from before: what they limit to now
// counts for the others at once, not when the first call comes. The caller holds mu.
func (l *Ledger) meet() {
	now := l.tick()
	for _, list := range l.counters {
		for _, c := range list {
			if c.pool != nil {
				continue
			}
			c.Advance(now)
			if name := c.poolName(); l.shared.Met(name, &c.Counter) {
				c.pool = l.shared.Bind(name, &c.Counter)
			}
		}
	}
}

// replaceStale makes c, new in a rule's lane, the counter of its pool, in the place of those that the rule lays no more.
// The caller holds mu.
func (l *Ledger) replaceStale(ln *lane, c *counter) {
	if l.shared == nil {
		return
	}
	c.pool = l.shared.Bind(c.poolName(), &c.Counter)
	ln.counters = slices.DeleteFunc(ln.counters, func(old *counter) bool {
		if old.stale && old.pool != nil {
			old.pool.Unbind(&old.Counter)
		}
		return old.stale
	})
}

// read is what a reading stands at on all replicas, as far as is known. The caller holds mu.
func (l *Ledger) read(c *counter, at int64) int64 {
	c.Advance(at)
	if l.shared == nil {
		return c.Sum
	}
	if c.pool == nil {
		c.pool = l.shared.Bind(c.poolName(), &c.Counter)
	}
	others := c.pool.Others()
	return limits.AddSat(c.Sum, limits.AddSat(others.Used, others.Held))
}

// Now is the time that the ledger's windows go by: with several replicas, the time they share.
func (l *Ledger) Now() time.Time { return l.cfg.Now() }
