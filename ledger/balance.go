package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
)

// Balance is how a limit stands. Amounts are in the limit's unit, money in nano-USD.
type Balance struct {
	Scope Scope
	Limit Limit
	Used  int64     // by calls that have ended, in the current window, on all replicas
	Held  int64     // by calls under way, on all replicas
	Left  int64     // never below zero
	Reset time.Time // when the window ends; zero for one that slides and for concurrent
}

// Spell writes an amount of the balance with its unit.
func (b *Balance) Spell(n int64) string { return limits.SpellAmount(n, b.Limit.Unit) }

// Balances lists how every limit stands, outermost level first, then by name. Limits laid by rules are listed once a
// call has met them.
//
// Where limits are shared it asks the database what other replicas told of, which is at most about a second old; when it
// does not answer, what it said before counts.
func (l *Ledger) Balances() []Balance {
	var others map[caps.Key]caps.Use
	if l.cfg.Pools != nil {
		others, _ = l.cfg.Pools.Others() // after an error, what was known before: better than nothing
	}
	now := l.cfg.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	now = max(now, l.book.last)
	var out []Balance
	for _, list := range l.counters {
		for _, c := range list {
			if !c.reading() {
				out = append(out, l.balance(c, now, others))
			}
		}
	}
	for _, a := range l.book.accounts {
		if a.key.rule == "" {
			continue
		}
		for _, ln := range a.lanes {
			for _, c := range ln.counters {
				if !c.stale {
					out = append(out, l.balance(c, now, others))
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Balance) int {
		return cmp.Or(cmp.Compare(a.Scope.Level.depth(), b.Scope.Level.depth()), cmp.Compare(a.Scope.Name, b.Scope.Name),
			cmp.Compare(a.Limit.Text, b.Limit.Text))
	})
	return out
}

func (lv Level) depth() int {
	return slices.Index([]Level{CustomerLevel, TeamLevel, KeyLevel, UserLevel, RuleLevel}, lv)
}

// balance reads one counter. The caller holds mu.
func (l *Ledger) balance(c *counter, now int64, others map[caps.Key]caps.Use) Balance {
	c.Advance(now)
	b := Balance{Scope: c.scope, Limit: c.Limit, Left: c.Left()}
	for _, h := range l.book.open {
		if !c.Covers(h.at) && c.Limit.Unit != UnitConcurrent {
			continue
		}
		for counting := range h.counters() {
			if counting == c {
				b.Held += h.taken(&c.Limit)
			}
		}
	}
	b.Used = c.Sum - b.Held
	if len(others) > 0 {
		start, _ := c.Period()
		o := others[caps.Key{Limit: c.poolName(), Start: start}]
		b.Used, b.Held = limits.AddSat(b.Used, o.Used), limits.AddSat(b.Held, o.Held)
		b.Left = max(0, c.Limit.Amount-limits.AddSat(b.Used, b.Held))
	}
	b.Reset = c.Reset()
	return b
}

// Inspect reads how limits stand in a directory that no process has open, and writes nothing. Calls that a crash left
// open are listed as held.
func Inspect(cfg Config, limits map[Scope][]Limit) ([]Balance, error) {
	l, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	var from journal.Position
	if l.book, from, err = restored(l.dir, l.cfg.Location); err != nil {
		return nil, err
	}
	r := NewReader(l.dir, from)
	defer r.Close()
	for e, err := range r.All() {
		if err == nil {
			err = l.book.apply(e)
		}
		if err != nil {
			return nil, err
		}
	}
	l.SetLimits(limits)
	return l.Balances(), nil
}
