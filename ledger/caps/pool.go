package caps

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger/limits"
)

// Kind says how what was taken of a pool comes back.
type Kind string

// The kinds of pools. They stand in the database.
const (
	Period  Kind = "period"  // of the calendar: it does not come back, the pool ends
	Sliding Kind = "sliding" // when the window has passed
	Slots   Kind = "slots"   // when the call ends
	Reading Kind = "reading" // limits nothing: the replicas only tell each other
)

// Key names a pool for all replicas.
type Key struct {
	Limit string // the limit at its place, as Name makes it
	Start int64  // of the calendar period, Unix nanoseconds; 0: it has none
}

// nameBytesMax keeps names within what an index of a database takes; what is longer ends in a digest of the whole.
const nameBytesMax = 512

// Name names a limit at a place. The amount is no part of it: under two revisions of the config it is the same pool.
// A hard limit counts other amounts than one that is not, so it is another.
func Name(level, at string, l *limits.Limit) string {
	b := make([]byte, 0, 128)
	b = append(b, level...)
	b = strconv.AppendQuote(append(b, ' '), at)
	b = append(b, ' ')
	b = append(b, l.Unit...)
	if w := l.Window.String(); w != "" {
		b = append(append(b, '/'), w...)
	}
	if l.Hard {
		b = append(b, " hard"...)
	}
	if l.Text == "" {
		b = append(b, " reading"...)
	}
	on := slices.Sorted(slices.Values(l.On))
	for _, glob := range slices.Compact(on) {
		b = strconv.AppendQuote(append(b, ' '), glob)
	}
	if len(b) <= nameBytesMax {
		return string(b)
	}
	sum := sha256.Sum256(b)
	return strings.ToValidUTF8(string(b[:nameBytesMax-80]), "") + "… " + hex.EncodeToString(sum[:])
}

// Pool is a pool as this replica sees it. The book's lock guards it.
type Pool struct {
	book     *Book
	name     string
	kind     Kind
	window   time.Duration
	counters []*limits.Counter // of the limit under each of its amounts; none: the config has it no more
	amount   int64             // the lowest of theirs
	last     int64             // what they came to before they were taken away
	until    time.Time         // without counters: when what slides has passed

	start, end int64 // the calendar period that what follows belongs to
	cap        int64 // never more than the database has for us
	stored     int64 // what the database has, as far as an answer said
	planned    int64 // cap when the exchange under way was planned
	waiting    int64 // what waiters need in all
	others     Use   // readings only: what the other replicas reported

	// The size of what is asked for ahead.
	took    int64     // since the last tick
	largest int64     // of late, by one call
	peak    int64     // most taken at once in the second before the last tick
	before  int64     // most taken at once since the last tick
	rate    float64   // by second
	used    time.Time // when something was last taken, as ticks see it
	low     int64     // ask for more when there is less room

	tight    time.Time // until then others starve: nothing is kept that no call has taken
	fed      time.Time // when an answer last raised the cap
	dry      uint64    // the plan after which the database said that nobody has room
	dryUntil time.Time // until then no call need ask again
	left     int64     // what the database had left then
	starving bool      // the database has our mark that we starve

	queued, awake, fresh bool
	reported             report
}

// report is what the database was told last.
type report struct{ amount, used, held int64 }

// Use is what calls have taken of a pool.
type Use struct{ Used, Held int64 }

// Have is what the database has for a replica in a pool.
type Have struct {
	Cap    int64
	Kind   Kind
	Window time.Duration
}

func newPool(b *Book, name string, c *limits.Counter) *Pool {
	p := &Pool{book: b, name: name, kind: Period, window: c.Limit.Window.Length(), fresh: true}
	switch {
	case c.Limit.Text == "":
		p.kind = Reading
	case c.Limit.Unit == limits.UnitConcurrent:
		p.kind = Slots
	case p.window > 0:
		p.kind = Sliding
	}
	return p
}

// Key names the pool in its current period.
func (p *Pool) Key() Key { return Key{p.name, p.start} }

// Reading reports whether the pool limits nothing.
func (p *Pool) Reading() bool { return p.kind == Reading }

// Others is what other replicas have told of a reading. A reading that is asked for is kept up to date, from the next
// exchange on.
func (p *Pool) Others() Use {
	p.took++
	if !p.awake {
		p.wakeUp()
	}
	return p.others
}

// Left is how much there is known to be room for, here and in what no replica has.
func (p *Pool) Left() int64 { return max(0, p.room()+p.left) }

// Cap is what this replica may have taken of the pool.
func (p *Pool) Cap() int64 { return p.cap }

// taken is what this replica's calls have taken, ended and under way.
func (p *Pool) taken() int64 {
	if len(p.counters) == 0 {
		return p.last
	}
	sum := int64(0)
	for _, c := range p.counters {
		sum = max(sum, c.Sum)
	}
	return sum
}

func (p *Pool) room() int64 { return p.cap - p.taken() }

// turn makes c's period the pool's. What is held of the period before stays as it stands in the database, as spent, until
// it is removed there.
func (p *Pool) turn(c *limits.Counter) {
	start, end := c.Period()
	if start == p.start {
		return
	}
	p.start, p.end = start, end
	p.cap = p.book.known[p.Key()].Cap
	delete(p.book.known, p.Key())
	p.stored, p.planned, p.left, p.others = p.cap, p.cap, 0, Use{}
	p.dry, p.dryUntil, p.starving, p.fresh = 0, time.Time{}, false, true
	p.reported = report{}
}

// Fits reports whether n more, counted by c, fit the cap. Nothing always fits. The caller has advanced c.
func (p *Pool) Fits(c *limits.Counter, n int64) bool {
	if n <= 0 || p.kind == Reading {
		return true
	}
	p.turn(c)
	return c.Sum <= p.cap-n
}

// held is what this replica's calls under way hold. Of those of counters that were taken away nothing is known.
func (p *Pool) held() int64 {
	most := int64(0)
	for _, c := range p.counters {
		most = max(most, c.Held)
	}
	return most
}

// Move tells the pool that taken changed by n. A call does it after its counters.
func (p *Pool) Move(c *limits.Counter, n int64) {
	p.turn(c)
	if n > 0 {
		p.took += n
		p.largest = max(p.largest, n)
		p.before = max(p.before, p.taken())
	}
	if !p.awake {
		p.wake()
	}
	if p.kind == Reading {
		return
	}
	if room := p.room(); room < p.low || !p.tight.IsZero() && room > 0 || room < 0 {
		p.queue()
	}
}

func (p *Pool) wake() {
	p.awake = true
	p.book.awake = append(p.book.awake, p)
}

// queue has the next plan look at the pool, soon.
func (p *Pool) queue() {
	p.enqueue()
	p.book.kick()
}

// enqueue has the next plan look at the pool, whenever it is.
func (p *Pool) enqueue() {
	if !p.queued {
		p.queued = true
		p.book.queue = append(p.book.queue, p)
	}
}

const (
	// aheadSeconds is how long what is asked for ahead should last, at the rate of late.
	aheadSeconds = 2
	// lowShare is the part of that below which more is asked for.
	lowShare = 3
	// hoardShare is how many times that may be kept before some is given back.
	hoardShare = 4
	// idleTime is how long a pool may be unused before what it keeps goes back.
	idleTime = 10 * time.Second
	// tightTime is how long a replica keeps nothing that no call has taken after others starved.
	tightTime = 2 * time.Second
)

// ahead is how much room is worth keeping.
func (p *Pool) ahead() int64 {
	switch {
	case p.kind == Reading:
		return 0
	case p.kind == Slots:
		peak := max(p.peak, p.before)
		if peak == 0 {
			return 0
		}
		return max(0, peak-p.taken()) + 1 + peak/8
	}
	// Before the first tick nothing is known of the rate but what was taken: so what is asked for doubles.
	rate := max(int64(min(p.rate*aheadSeconds, math.MaxInt64/4)), p.took)
	return limits.AddSat(rate, limits.AddSat(p.largest, p.largest))
}

// threshold is the room below which more is to be asked for.
func (p *Pool) threshold() int64 {
	if !p.tight.IsZero() {
		return 0
	}
	ahead := p.ahead()
	return max(ahead/lowShare, min(p.largest, ahead))
}

// tick measures the use of late.
func (p *Pool) tick(now time.Time, passed time.Duration) {
	if p.took > 0 {
		p.used = now
	}
	if passed > 0 {
		p.rate = (p.rate + float64(p.took)/passed.Seconds()) / 2
	}
	p.peak, p.before, p.took = p.before, p.taken(), 0
	for _, c := range p.counters {
		c.Advance(p.book.clock())
		p.turn(c)
	}
	if now.Sub(p.used) >= idleTime {
		p.rate, p.largest = 0, 0
		if p.kind == Slots {
			p.peak, p.before = 0, 0
		}
	}
	if now.After(p.tight) {
		p.tight = time.Time{}
	}
	p.low = p.threshold()
}

// asleep reports whether nothing will be left to say of the pool until it is used again.
func (p *Pool) asleep(now time.Time) bool {
	return now.Sub(p.used) >= idleTime && p.held() == 0 && p.waiting == 0 && p.cap == p.stored && p.tight.IsZero() && !p.starving &&
		p.told() && (p.cap <= p.taken() || p.kind == Reading) && (p.kind != Sliding || p.taken() == 0)
}

func (p *Pool) report() report {
	taken := p.taken()
	held := min(p.held(), taken)
	return report{p.amount, taken - held, held}
}

func (p *Pool) told() bool { return p.reported == p.report() && !p.fresh }
