package ledger

import (
	"iter"
	"time"

	"github.com/tollgate/tollgate/ledger/limits"
)

// counters are all that count the hold: those of its lane and those of the limits that rules laid on it.
func (h *hold) counters() iter.Seq[*counter] {
	return func(yield func(*counter) bool) {
		for _, c := range h.lane.counters {
			if !yield(c) {
				return
			}
		}
		for _, ln := range h.rules {
			for _, c := range ln.counters {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// fit checks that a new hold fits every limit on its path. Of several that refuse, the caller learns of the one that
// keeps him longest. When it fits the limits, but not what this replica may take of them, it is errShort, and lack has
// what is missing. The caller holds mu.
func (l *Ledger) fit(h *hold, lack *lack) error {
	var worst *LimitError
	lack.reset()
	for c := range h.counters() {
		if c.stale {
			continue
		}
		c.Advance(h.at)
		h.hard = h.hard || c.Limit.Hard
		n := h.taken(&c.Limit)
		if !c.Fits(n) || l.shared != nil && !l.fitsCap(c, h, n, h.at, lack) {
			worst = longer(worst, c.refuse(h, n, h.at))
		}
	}
	if worst != nil {
		return worst
	}
	return lack.err()
}

// fitMore checks, in the same way, that what more holds beyond h fits the windows that h counts in. The caller holds mu.
func (l *Ledger) fitMore(h, more *hold, now int64, lack *lack) error {
	now = max(now, l.book.last)
	lack.reset()
	for c := range h.counters() {
		if c.stale {
			continue
		}
		c.Advance(now)
		n := more.taken(&c.Limit) - h.taken(&c.Limit)
		if c.Covers(h.at) && (!c.Fits(n) || l.shared != nil && !l.fitsCap(c, h, n, now, lack)) {
			return c.refuse(h, n, now)
		}
	}
	return lack.err()
}

// longer is the refusal that keeps the caller for longer.
func longer(a, b *LimitError) *LimitError {
	switch {
	case a == nil:
		return b
	case a.Never || b.RetryAfter <= a.RetryAfter && !b.Never:
		return a
	}
	return b
}

// refuse is the error for n more, for h, at a time when they do not fit.
func (c *counter) refuse(h *hold, n, now int64) *LimitError {
	scope := c.scope
	if who := h.who; scope.Level == KeyLevel && who != nil && who.Key != "" && scope.Name == who.KeyID {
		scope.Name = who.Key // people know keys by name
	}
	e := &LimitError{
		Limit: c.Limit.Text, Scope: scope.String(), Unit: c.Limit.Unit,
		Left: limits.SpellAmount(c.Left(), c.Limit.Unit), Needed: limits.SpellAmount(n, c.Limit.Unit),
		Never: n > c.Limit.Amount,
	}
	if n >= unbounded {
		e.Needed = "an amount that cannot be bounded"
	}
	frees := c.FreesAt(n)
	if c.pool != nil {
		left := min(c.pool.Left(), c.Left())
		e.Left = limits.SpellAmount(left, c.Limit.Unit)
		frees = max(frees, c.FreesWithin(limits.AddSat(c.Sum, left), n))
	}
	if frees > now && !e.Never {
		e.RetryAfter = time.Duration(frees - now)
	}
	return e
}
