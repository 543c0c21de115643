package ledger

import "time"

// slidingBuckets is how finely a sliding window is counted. A window counts its last 60 buckets and the one that is
// filling, so it may look back up to a sixtieth too far, never too short: no window of its length ever holds more than
// the limit.
const slidingBuckets = 60

// counter is one limit's balance at one place: what calls have taken of it in its current window. The ledger's lock
// guards it. It only mirrors entries: it can be dropped and filled again from the book at any time.
type counter struct {
	scope Scope
	limit Limit
	loc   *time.Location

	sum        int64 // taken in the current window; for concurrent: calls under way
	start, end int64 // the calendar period, Unix nanoseconds

	width   int64   // of a bucket, nanoseconds; 0: not sliding
	current int64   // number of the filling bucket: time / width
	buckets []int64 // by number modulo their count
}

func newCounter(scope Scope, limit Limit, now int64, loc *time.Location) *counter {
	c := &counter{scope: scope, limit: limit, loc: loc}
	if limit.Window.Slides() {
		c.width = int64(limit.Window.slide) / slidingBuckets
		c.current = now / c.width
		c.buckets = make([]int64, slidingBuckets+1)
	} else {
		c.advance(now)
	}
	return c
}

// advance makes the window the one that ends, or contains, now. Time does not go back here: the ledger sees to it.
func (c *counter) advance(now int64) {
	switch {
	case c.limit.Unit == UnitConcurrent:
	case c.width > 0:
		n := now / c.width
		if n-c.current > slidingBuckets {
			clear(c.buckets)
			c.sum, c.current = 0, n
		}
		for c.current < n {
			c.current++
			b := &c.buckets[c.current%int64(len(c.buckets))]
			c.sum -= *b
			*b = 0
		}
	case now >= c.end:
		from, to := c.limit.Window.period(time.Unix(0, now), c.loc)
		if from.UnixNano() != c.start { // the same period again: clocks that were set back over midnight
			c.sum = 0
		}
		c.start, c.end = from.UnixNano(), to.UnixNano()
	}
}

// add changes by n what calls reserved at the time at have taken. What lies outside the current window changes nothing.
func (c *counter) add(at, n int64) {
	switch {
	case c.limit.Unit == UnitConcurrent:
	case c.width > 0:
		bucket := at / c.width
		if bucket < c.current-slidingBuckets {
			return
		}
		bucket = min(bucket, c.current)
		b := &c.buckets[bucket%int64(len(c.buckets))]
		*b = addSat(*b, n)
	case at < c.start:
		return
	}
	c.sum = addSat(c.sum, n)
}

// fits reports whether n more may be taken now. Nothing always fits.
func (c *counter) fits(n int64) bool {
	return n <= 0 || n <= c.limit.Amount && c.sum <= c.limit.Amount-n
}

// seed adds what a row of the history holds. When in the row it was used is not known: a sliding window takes the end of
// it, so that it counts for longer.
func (c *counter) seed(r *row) {
	n := r.nano
	switch c.limit.Unit {
	case UnitTokens:
		n = r.tokens
	case UnitCalls:
		n = r.calls
	case UnitConcurrent:
		return
	}
	at := r.at
	if c.width > 0 {
		if r.span > hourSpan { // older than any sliding window
			return
		}
		at += r.span
		c.add(at*int64(time.Second)-1, n)
		return
	}
	c.add(at*int64(time.Second), n)
}

// freesAt is when n more may be taken if nothing is given back before, as Unix nanoseconds; 0: unknown.
func (c *counter) freesAt(n int64) int64 {
	switch {
	case c.limit.Unit == UnitConcurrent:
		return 0
	case c.width == 0:
		return c.end
	}
	sum := c.sum
	for i := c.current - slidingBuckets; i <= c.current; i++ {
		sum -= c.buckets[i%int64(len(c.buckets))]
		if sum <= c.limit.Amount-n {
			return (i + slidingBuckets + 1) * c.width
		}
	}
	return 0
}

// left is how much more may be taken now.
func (c *counter) left() int64 { return max(0, c.limit.Amount-c.sum) }
