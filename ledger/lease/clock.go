package lease

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// slewShare is how fast the shared time is brought in line with the database's: by a hundredth of the time that passes.
	// Windows look back a sixtieth further than their length, so none comes out short.
	slewShare = 100
	// stepMin is the difference from which the shared time is set forward at once: the machine was stopped, or the
	// database's clock was wrong. Calendar periods would be late for too long otherwise.
	stepMin = time.Minute
	// driftShare is how much two clocks may drift apart: a ten thousandth, which is ten times what a bad quartz does.
	driftShare = 10_000
)

// timer reads this machine's clocks. Each counts from any moment.
type timer interface {
	// monotonic is not set by anybody; it may stand still while the machine sleeps. wall may be set.
	read() (monotonic, wall time.Duration)
	// boot also counts the time that the machine sleeps, where there is such a clock; else it is 0.
	boot() time.Duration
}

// machine is the real timer.
type machine struct{ start time.Time }

func (m machine) read() (monotonic, wall time.Duration) {
	now := time.Now()
	return now.Sub(m.start), time.Duration(now.UnixNano())
}

func (m machine) boot() time.Duration { return bootTime() }

// reading is one look at all clocks.
type reading struct{ monotonic, wall, boot time.Duration }

func readAll(t timer) reading {
	m, w := t.read()
	return reading{m, w, t.boot()}
}

// since is how long ago r was, by the clock that says longest.
func (r *reading) since(t timer) time.Duration {
	m, w := t.read()
	return max(m-r.monotonic, w-r.wall)
}

// sleptSince is since, by the clock that counts a machine's sleep as well.
func (r *reading) sleptSince(t timer) time.Duration { return max(r.since(t), t.boot()-r.boot) }

// clock is the shared time. It is safe for concurrent use.
type clock struct {
	timer timer
	line  atomic.Pointer[line]

	mu     sync.Mutex // guards what the samples come to: the database's time lies between monotonic+lo and monotonic+hi
	lo, hi time.Duration
	at     time.Duration // monotonic
}

// line is how the shared time goes on from a moment.
type line struct {
	at    time.Duration // monotonic
	value int64         // shared time there, Unix nanoseconds
	off   time.Duration // how far the database's time was ahead of it
}

func (l *line) value64(monotonic time.Duration) int64 {
	passed := monotonic - l.at
	slew := time.Duration(0)
	if passed > 0 {
		slew = min(max(l.off, -passed/slewShare), passed/slewShare)
	}
	return l.value + int64(passed+slew)
}

// now is the shared time. A sample must have been taken.
func (c *clock) now() time.Time {
	m, _ := c.timer.read()
	return time.Unix(0, c.line.Load().value64(m))
}

// sample takes the database's time, which was read between two moments of the monotonic clock. It returns how far the
// shared time is from it now.
func (c *clock) sample(sent, received time.Duration, database time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	db := time.Duration(database.UnixNano())
	lo, hi := db-received, db-sent
	drift := (received - c.at) / driftShare
	before := c.line.Load()
	if before != nil && lo <= c.hi+drift && hi >= c.lo-drift {
		lo, hi = max(lo, c.lo-drift), min(hi, c.hi+drift)
	}
	c.lo, c.hi, c.at = lo, hi, received
	target := int64(received + lo + (hi-lo)/2)
	if before == nil {
		c.line.Store(&line{at: received, value: target})
		return 0
	}
	value := before.value64(received)
	off := time.Duration(target - value)
	if off >= stepMin {
		value, off = target, 0
	}
	c.line.Store(&line{received, value, off})
	return time.Duration(target - before.value64(received))
}
