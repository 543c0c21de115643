package caps

import (
	"maps"
	"math"
	"time"
)

// Change is what a replica tells the database of a pool, and asks of it.
type Change struct {
	Key
	Kind   Kind
	End    int64         // of the calendar period, Unix nanoseconds; 0: it has none
	Window time.Duration // of a pool that slides
	Amount int64         // of the limit, here

	Keep int64 // the replica's cap: never less than what its calls have taken
	Need int64 // calls wait for so much more
	Want int64 // with Need, so much more would be welcome
	Used int64 // by calls that have ended
	Held int64 // by calls under way
}

// Result is what the database says of a change.
type Result struct {
	Key
	Cap     int64 // the replica's from now on
	Left    int64 // of the pool, that nobody has
	Dry     bool  // Need was not met, and no replica keeps room that no call has taken
	Starves bool  // Need was not met: the database has the replica's mark
	Tight   bool  // other replicas starve: nothing is to be kept that no call has taken
}

// fedTime is how long what was granted to waiters is left to them although others starve: they have yet to wake.
const fedTime = 20 * time.Millisecond

// changesMax bounds what one transaction carries, so that it stays short; the rest follows in the next.
const changesMax = 500

// Plan says what the database is to be told and asked now. With all, every pool that is awake is looked at, which is to be
// done about once a second; otherwise only those where something happened. It takes the lock. Answer or Lost must follow.
func (b *Book) Plan(all bool) (changes []Change, readings []Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.planned++
	now := b.now()
	if all {
		readings = b.look(now)
	}
	queue := b.queue
	b.queue = nil
	if all {
		changes = b.release(now)
	}
	for i, p := range queue {
		if len(changes) >= changesMax {
			b.queue = append(b.queue, queue[i:]...)
			b.kick()
			break
		}
		p.queued = false
		if c, ok := p.plan(now); ok {
			changes = append(changes, c)
		}
	}
	return changes, readings
}

// release gives back what the database has for us of limits that no config or call here has named since it was read: slots,
// which no call can hold, and what slides once its window has passed. Of the calendar, it stays until its period ends.
func (b *Book) release(now time.Time) (changes []Change) {
	for k, h := range b.known {
		passed := now.Sub(b.since)
		if passed < idleTime || h.Kind != Slots && (h.Kind != Sliding || passed < forgetTime(h.Window)) {
			continue
		}
		if len(changes) == changesMax {
			break
		}
		delete(b.known, k)
		// Of the amount nothing is said: none here is known.
		changes = append(changes, Change{Key: k, Kind: h.Kind, Window: h.Window, Amount: math.MaxInt64})
	}
	return changes
}

// look is the tick of all pools that are awake. It queues those of which there is something to say.
func (b *Book) look(now time.Time) (readings []Key) {
	passed := now.Sub(b.tick)
	if b.tick.IsZero() {
		passed = 0
	}
	b.tick = now
	awake := b.awake[:0]
	for _, p := range b.awake {
		p.tick(now, passed)
		if p.kind == Reading {
			readings = append(readings, p.Key())
		}
		if p.asleep(now) || b.pools[p.name] != p {
			p.awake = false
			continue
		}
		awake = append(awake, p)
		if !p.queued {
			p.queued = true
			b.queue = append(b.queue, p)
		}
	}
	clear(b.awake[len(awake):])
	b.awake = awake
	return readings
}

// plan decides what to keep of a pool and what to ask for. What goes back is lowered here, before anybody hears of it.
func (p *Pool) plan(now time.Time) (Change, bool) {
	if len(p.counters) == 0 && !p.leaving(now) {
		return Change{}, false
	}
	taken, ahead := p.taken(), p.ahead()
	tight := now.Before(p.tight) && !p.starving
	if tight {
		ahead = 0
	}
	switch room := p.cap - taken; {
	case p.kind == Reading || len(p.counters) == 0:
		p.cap = min(p.cap, taken)
	case tight && now.Sub(p.fed) < fedTime:
		p.cap = min(p.cap, taken+p.waiting)
	case tight:
		p.cap = min(p.cap, taken)
	case room > p.waiting+hoardShare*ahead:
		p.cap = min(p.cap, taken+p.waiting+ahead) // never raised here, also where rates are absurd
	}
	room := p.cap - taken
	c := Change{Key: p.Key(), Kind: p.kind, End: p.end, Window: p.window, Amount: p.amount, Keep: max(p.cap, taken)}
	if p.kind == Reading {
		c.Keep = 0
	}
	if p.waiting > room {
		c.Need = p.waiting - max(room, 0)
	}
	if len(p.counters) > 0 && !tight && (room < p.low || c.Need > 0) {
		c.Want = max(c.Need, p.waiting+ahead-room)
	}
	r := p.report()
	c.Used, c.Held = r.used, r.held
	p.planned = p.cap
	if c.Need == 0 && c.Want == 0 && c.Keep == p.stored && p.told() && !p.starving {
		return Change{}, false
	}
	return c, true
}

// leaving reports whether something is left to be said of a pool that the config has no more. Of the calendar, what was
// taken stays until the period ends; what slides goes when its window has passed; slots go at once.
func (p *Pool) leaving(now time.Time) bool {
	switch p.kind {
	case Slots:
		p.last = 0
	case Sliding:
		if now.After(p.until) {
			p.last = 0
		}
	}
	if p.cap > p.last || p.stored > p.last || p.starving || !p.told() {
		return true
	}
	if p.kind == Sliding && p.last > 0 {
		return false
	}
	b := p.book
	if b.pools[p.name] != p { // it left before
		return false
	}
	delete(b.pools, p.name)
	if p.cap > 0 {
		b.known[p.Key()] = Have{p.cap, p.kind, p.window} // should the config have it again
	}
	return false
}

// Answer takes what the database said to the last plan. It takes the lock and wakes the waiters.
func (b *Book) Answer(changes []Change, results []Result, others map[Key]Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	asked := make(map[Key]*Change, len(changes))
	for i := range changes {
		asked[changes[i].Key] = &changes[i]
	}
	for i := range results {
		r := &results[i]
		p, c := b.pools[r.Limit], asked[r.Key]
		if p == nil || p.start != r.Start || c == nil { // its period is over: what the database has stays there as spent
			continue
		}
		p.answer(c, r, b.planned, now)
	}
	for k, use := range others {
		if p := b.pools[k.Limit]; p != nil && p.start == k.Start && p.kind == Reading {
			p.others = use
		}
	}
	b.answered = b.planned
	close(b.round)
	b.round = make(chan struct{})
}

func (p *Pool) answer(c *Change, r *Result, plan uint64, now time.Time) {
	p.cap += r.Cap - p.planned // what was lowered since the plan stays lowered
	p.stored, p.left, p.starving, p.fresh = r.Cap, r.Left, r.Starves, false
	p.reported = report{c.Amount, c.Used, c.Held}
	if r.Tight {
		p.tighten(now)
	}
	if r.Cap > c.Keep {
		p.fed = now
	}
	p.low = p.threshold()
	if c.Want > c.Need && r.Cap-c.Keep < c.Want/2 {
		p.low = 0 // there is not more to be had: asking for each call is of no use before the next tick
	}
	if r.Dry {
		p.dry, p.dryUntil = plan, now.Add(dryTime)
	}
	switch {
	case p.cap != p.stored || r.Tight && p.room() > 0:
		p.queue()
	case r.Starves:
		p.enqueue() // the exchange comes again when somebody gave something back, and while calls wait
	}
}

func (p *Pool) tighten(now time.Time) {
	p.tight, p.low = now.Add(tightTime), 0
}

// Tighten has what no call has taken given back: other replicas starve. It takes the lock.
func (b *Book) Tighten(starved []Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for _, k := range starved {
		if p := b.pools[k.Limit]; p != nil && p.start == k.Start {
			p.tighten(now)
			p.fresh = true // the starver waits for our word, even if it is that there is nothing
			p.wakeUp()
		}
	}
}

// Lost says that the last plan was not answered: it may have been done or not. It takes the lock.
func (b *Book) Lost(changes []Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range changes {
		if p := b.pools[changes[i].Limit]; p != nil && p.start == changes[i].Start {
			p.fresh = true
			p.wakeUp()
		}
	}
}

// Restore takes what the database has for this replica, all of it, after it was not known. With gone the replica was taken
// for dead meanwhile, and what the database has not is no longer the replica's. It takes the lock and returns the pools in
// which the database has less than the replica was granted: it lost what it had committed.
func (b *Book) Restore(have map[Key]Have, gone bool) (lost []Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.known)
	b.since = b.now()
	maps.Copy(b.known, have)
	for _, p := range b.pools {
		k := p.Key()
		p.stored = b.known[k].Cap
		delete(b.known, k)
		p.fresh, p.starving = true, false
		if p.cap > p.stored && p.kind != Reading {
			if gone {
				p.cap = p.stored
			} else {
				lost = append(lost, k)
			}
		}
		p.wakeUp()
	}
	b.meet()
	return lost
}

// Finish plans the end of the replica: of every pool only what its calls have taken is kept. It takes the lock.
func (b *Book) Finish() (changes []Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pools {
		r := p.report()
		p.cap = min(p.cap, max(p.taken(), 0))
		c := Change{Key: p.Key(), Kind: p.kind, End: p.end, Window: p.window, Amount: p.amount, Keep: p.taken(), Used: r.used, Held: r.held}
		if p.kind == Reading {
			c.Keep = 0
		}
		if c.Keep != p.stored || !p.told() {
			changes = append(changes, c)
		}
	}
	return changes
}
