package limits

import "time"

// slidingBuckets is how finely a sliding window is counted. A window counts its last 60 buckets and the one that is
// filling, so it may look back up to a sixtieth too far, never too short: no window of its length ever holds more than
// the limit.
const slidingBuckets = 60

// Counter is one limit's balance at one place: what calls have taken of it in its current window. It is
// guarded by its owner, and only mirrors entries: it can be dropped and filled again from a History at any time.
type Counter struct {
	Limit Limit
	loc   *time.Location

	Sum        int64 // taken in the current window; for concurrent: calls under way
	Held       int64 // by calls under way, whatever window they count in; its owner's to change
	start, end int64 // the calendar period, Unix nanoseconds

	width   int64   // of a bucket, nanoseconds; 0: not sliding
	back    int64   // how many buckets count beside the filling one
	current int64   // number of the filling bucket: time / width
	buckets []int64 // by number modulo their count
}

// NewCounter returns an empty counter whose window is that of now, Unix nanoseconds.
func NewCounter(limit Limit, now int64, loc *time.Location) *Counter {
	c := &Counter{Limit: limit, loc: loc}
	if limit.Window.Slides() {
		c.width = int64(limit.Window.slide) / slidingBuckets
		c.current = now / c.width
		c.back = slidingBuckets
		c.buckets = make([]int64, c.back+1)
	} else {
		c.Advance(now)
	}
	return c
}

// Widen makes an empty sliding counter look back a sixtieth further: for a clock that may run faster than time does by
// less than that, because it is brought in line with another.
func (c *Counter) Widen() {
	if c.width > 0 {
		c.back = slidingBuckets + 1
		c.buckets = make([]int64, c.back+1)
	}
}

// Period is the calendar period of the current window, Unix nanoseconds; zeros when the window is none.
func (c *Counter) Period() (start, end int64) { return c.start, c.end }

// Advance makes the window the one that ends, or contains, now. Time does not go back here: the ledger sees to it.
func (c *Counter) Advance(now int64) {
	switch {
	case c.Limit.Unit == UnitConcurrent:
	case c.width > 0:
		n := now / c.width
		if n-c.current > c.back {
			clear(c.buckets)
			c.Sum, c.current = 0, n
		}
		for c.current < n {
			c.current++
			b := &c.buckets[c.current%int64(len(c.buckets))]
			c.Sum -= *b
			*b = 0
		}
	case now >= c.end:
		from, to := c.Limit.Window.period(time.Unix(0, now), c.loc)
		if from.UnixNano() != c.start { // the same period again: clocks that were set back over midnight
			c.Sum = 0
		}
		c.start, c.end = from.UnixNano(), to.UnixNano()
	}
}

// Add changes by n what calls reserved at the time at have taken. What lies outside the current window changes nothing.
func (c *Counter) Add(at, n int64) {
	switch {
	case c.Limit.Unit == UnitConcurrent:
	case c.width > 0:
		bucket := at / c.width
		if bucket < c.current-c.back {
			return
		}
		bucket = min(bucket, c.current)
		b := &c.buckets[bucket%int64(len(c.buckets))]
		*b = AddSat(*b, n)
	case at < c.start:
		return
	}
	c.Sum = AddSat(c.Sum, n)
}

// Fits reports whether n more may be taken now. Nothing always fits.
func (c *Counter) Fits(n int64) bool {
	return n <= 0 || n <= c.Limit.Amount && c.Sum <= c.Limit.Amount-n
}

// Seed adds what a row of the history holds. When in the row it was used is not known: a sliding window takes the end of
// it, so that it counts for longer.
func (c *Counter) Seed(r *Row) {
	n := r.Nano
	switch c.Limit.Unit {
	case UnitTokens:
		n = r.Tokens
	case UnitCalls:
		n = r.Calls
	case UnitConcurrent:
		return
	}
	at := r.At
	if c.width > 0 {
		if r.Span > hourSpan { // older than any sliding window
			return
		}
		at += r.Span
		c.Add(at*int64(time.Second)-1, n)
		return
	}
	c.Add(at*int64(time.Second), n)
}

// FreesAt is when n more may be taken if nothing is given back before, as Unix nanoseconds; 0: unknown.
func (c *Counter) FreesAt(n int64) int64 { return c.FreesWithin(c.Limit.Amount, n) }

// FreesWithin is FreesAt where only a part of the limit's amount may be taken. When a window that slides would have to be
// more than empty for that, it is when the whole window has passed.
func (c *Counter) FreesWithin(amount, n int64) int64 {
	switch {
	case c.Limit.Unit == UnitConcurrent:
		return 0
	case c.width == 0:
		return c.end
	}
	sum := c.Sum
	for i := c.current - c.back; i <= c.current; i++ {
		sum -= c.buckets[i%int64(len(c.buckets))]
		if sum <= amount-n {
			return (i + c.back + 1) * c.width
		}
	}
	if n > c.Limit.Amount {
		return 0
	}
	return (c.current + c.back + 1) * c.width
}

// Left is how much more may be taken now.
func (c *Counter) Left() int64 { return max(0, c.Limit.Amount-c.Sum) }

// Covers reports whether the current window holds the time at.
func (c *Counter) Covers(at int64) bool {
	if c.width > 0 {
		return at/c.width >= c.current-c.back
	}
	return at >= c.start
}

// Reset is when the calendar period ends; the zero time when the window is none.
func (c *Counter) Reset() time.Time {
	if c.end == 0 {
		return time.Time{}
	}
	return time.Unix(0, c.end).In(c.loc)
}
