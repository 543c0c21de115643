package lease

import (
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
)

const (
	// margin is how much longer than Offline a replica's silence lasts before it is declared gone: for what differs between
	// two clocks in that time, and for a call that was let through in the last moment to leave.
	margin = 2 * time.Second
	// starveTime is how long a mark of starving counts if it is not renewed.
	starveTime = 400 * time.Millisecond
	// shareOfLeft is the part of what is left of a pool, divided by the live replicas, that one may have ahead: a half.
	shareOfLeft = 2
	// lateMax is how long after its end a period is still granted from: the replicas' time differs by less.
	lateMax = 12 * time.Hour
	// endedTime is when a period's rows are removed: after lateMax.
	endedTime = 24 * time.Hour
)

// request is what a replica says in an exchange.
type request struct {
	id, incarnation string
	tokens          []string // one of them is the row's: the last that is known, and those whose answer was lost
	next            string   // the token that this exchange leaves
	place, zone     string
	silence         time.Duration
	end             journal.Position // how far the journal is on disk

	join, restore, leave bool // join and restore carry no changes
	changes              []caps.Change
	readings             []caps.Key
}

// reply is what the database says.
type reply struct {
	verdict verdict
	wait    time.Duration // with mustWait
	now     time.Time     // between the sending of the request and the coming of the reply
	results []caps.Result
	others  map[caps.Key]caps.Use
	have    map[caps.Key]caps.Have // after join and restore: all there is
	gone    bool                   // with have: the replica had been declared gone, or is new
}

// verdict says whether the exchange was done. But for done, nothing was.
type verdict uint8

const (
	done        verdict = iota
	mustJoin            // the database does not know the replica
	mustRestore         // it was declared gone
	mustWait            // the predecessor may still serve
	fenced              // another process has the identity
	rolledBack          // the journal is shorter than it was: a copy, or a backup
	otherZone           // the others' calendar is another
)

// The rows. Times are those of the database's clock.
type (
	replicaRow struct {
		id, incarnation, token, place, zone string
		silence                             time.Duration
		seen                                time.Time
		gone                                time.Time // zero: live
		end                                 journal.Position
	}
	poolRow struct {
		key         caps.Key
		ends        int64
		starver     string
		need        int64
		since, till time.Time
	}
	capRow struct {
		key        caps.Key
		replica    string
		kind       caps.Kind
		ends       int64
		window     time.Duration
		amount     int64
		cap        int64
		used, held int64
		seen       time.Time
		gone       bool // its replica is; not stored
	}
)

// state is what an exchange reads, under locks on the replica's row and the pools.
type state struct {
	now    time.Time
	me     *replicaRow
	zone   string // of a live replica that has another
	live   int
	pools  map[caps.Key]*poolRow
	caps   map[caps.Key][]capRow // of all replicas, in those pools
	mine   []capRow              // all of the replica's: for join, restore and leave
	others map[caps.Key]caps.Use
}

// writes is what an exchange changes.
type writes struct {
	me      replicaRow
	caps    []capRow
	pools   []poolRow
	starved bool     // others are to be told that the replica starves
	freed   []string // replicas that starved for what the replica gave back
}

// settle decides an exchange. It is pure: the database does what it says, in the same transaction.
func settle(s *state, r *request) (reply, writes) {
	out := reply{now: s.now, others: s.others}
	var w writes
	if out.verdict, out.wait = s.admit(r); out.verdict != done {
		return out, w
	}
	took := s.me == nil || s.me.incarnation != r.incarnation
	w.me = replicaRow{
		id: r.id, incarnation: r.incarnation, token: r.next, place: r.place, zone: r.zone, silence: r.silence, seen: s.now, end: r.end,
	}
	if s.me != nil && r.end.Before(s.me.end) {
		w.me.end = s.me.end
	}
	if r.join || r.restore {
		out.gone = took || !s.me.gone.IsZero()
		out.have = map[caps.Key]caps.Have{}
		for _, c := range s.mine {
			if out.gone && s.returned(&c) {
				w.caps = append(w.caps, s.emptied(c))
				continue
			}
			out.have[c.key] = caps.Have{Cap: c.cap, Kind: c.kind, Window: c.window}
		}
		return out, w
	}
	for i := range r.changes {
		out.results = append(out.results, s.change(r, &r.changes[i], &w))
	}
	if r.leave {
		w.me.gone = s.now
		s.freeSlots(&w)
	}
	slices.Sort(w.freed)
	w.freed = slices.Compact(w.freed)
	return out, w
}

// freeSlots empties the replica's slots: those of which it said something, and those of which it did not. A row is written
// once, for a statement may not change one twice.
func (s *state) freeSlots(w *writes) {
	for i := range w.caps {
		if w.caps[i].kind == caps.Slots {
			w.caps[i] = s.emptied(w.caps[i])
		}
	}
	for _, c := range s.mine {
		if c.kind == caps.Slots && !slices.ContainsFunc(w.caps, func(o capRow) bool { return o.key == c.key }) {
			w.caps = append(w.caps, s.emptied(c))
		}
	}
}

// admit says whether the replica may speak.
func (s *state) admit(r *request) (verdict, time.Duration) {
	me := s.me
	switch {
	case me == nil && !r.join:
		return mustJoin, 0
	case r.join && s.zone != "":
		return otherZone, 0
	case me == nil:
		return done, 0
	case me.incarnation == r.incarnation:
		if !slices.Contains(r.tokens, me.token) {
			return fenced, 0
		}
		if !me.gone.IsZero() && !r.join && !r.restore {
			return mustRestore, 0
		}
		return done, 0
	case !r.join:
		return fenced, 0
	case me.gone.IsZero() && (me.place == "" || me.place != r.place):
		if left := me.seen.Add(me.silence).Sub(s.now); left > 0 {
			return mustWait, left
		}
	}
	if r.end.Before(me.end) {
		return rolledBack, 0
	}
	return done, 0
}

// returned reports whether a row of the replica, which was gone or is another start's, is its own no more.
func (s *state) returned(c *capRow) bool {
	switch c.kind {
	case caps.Slots:
		return true
	case caps.Sliding:
		return !s.me.gone.IsZero() && s.now.After(s.me.gone.Add(returnTime(c.window)))
	}
	return false
}

// emptied is a row of which nothing is left but the amount that its replica has for the limit: if that is the lowest, it
// counts again as soon as the replica does.
func (s *state) emptied(c capRow) capRow {
	c.cap, c.used, c.held, c.seen = 0, 0, 0, s.now
	return c
}

// returnTime is how long after its replica was gone what slides returns.
func returnTime(window time.Duration) time.Duration { return window + window/20 + time.Second }

// change decides what becomes of the replica's cap of a pool.
func (s *state) change(r *request, c *caps.Change, w *writes) caps.Result {
	row := capRow{
		key: c.Key, replica: r.id, kind: c.Kind, ends: c.End, window: c.Window, amount: c.Amount, cap: c.Keep, used: c.Used, held: c.Held, seen: s.now,
	}
	pool := s.pools[c.Key]
	if c.Kind == caps.Reading || pool == nil { // a pool that was removed in this moment is there again with the next exchange
		w.caps = append(w.caps, row)
		return caps.Result{Key: c.Key, Cap: row.cap}
	}
	g := grant{state: s, me: r.id, change: c, pool: *pool, amount: c.Amount}
	for _, o := range s.caps[c.Key] {
		if o.replica == r.id {
			g.before = o
			continue
		}
		g.rows = append(g.rows, o)
		g.sum = limits.AddSat(g.sum, o.cap)
		if !o.gone {
			g.amount = min(g.amount, o.amount)
		}
	}
	out := g.decide()
	row.cap = out.Cap
	w.caps = append(w.caps, row)
	if g.pool != *pool {
		w.pools = append(w.pools, g.pool)
	}
	w.starved = w.starved || g.marked
	if starver := g.starvedBy(); starver != "" && (row.cap < g.before.cap || g.before.seen.Before(pool.since)) {
		w.freed = append(w.freed, starver)
	}
	return out
}

// grant is one change being decided.
type grant struct {
	*state
	me     string
	change *caps.Change
	pool   poolRow
	amount int64    // the lowest of a live replica
	before capRow   // the replica's
	rows   []capRow // the others'…
	sum    int64    // …and their caps
	marked bool     // the mark of starving is new
}

// starvedBy is another replica that starves.
func (g *grant) starvedBy() string {
	if g.pool.starver != g.me && g.now.Before(g.pool.till) {
		return g.pool.starver
	}
	return ""
}

func (g *grant) decide() caps.Result {
	c := g.change
	out := caps.Result{Key: c.Key, Cap: c.Keep, Tight: g.starvedBy() != ""}
	left := limits.AddSat(g.amount, -limits.AddSat(g.sum, c.Keep)) // debts may be absurd
	if c.End > 0 && g.now.After(time.Unix(0, c.End).Add(lateMax)) {
		left = 0
	}
	reserved := int64(0) // for the one whose turn it is
	if out.Tight {
		reserved = g.pool.need
	}
	granted := min(c.Need, max(0, left-reserved))
	out.Cap += granted
	left -= granted
	switch {
	case granted < c.Need:
		g.starve(c.Need - granted)
		out.Starves = g.pool.starver == g.me
		out.Dry = g.answered() && (!out.Tight || left <= 0)
	case g.pool.starver == g.me:
		g.pool.starver, g.pool.need, g.pool.till = "", 0, g.now
	}
	if left < 0 && c.Need == 0 && g.idle() { // a lower amount than the caps were given for
		g.starve(0)
		out.Starves = g.pool.starver == g.me
	}
	if more := c.Want - c.Need; more > 0 && granted == c.Need && !out.Tight && left > 0 {
		more = min(more, left/int64(shareOfLeft*max(g.live, 1)))
		out.Cap += more
		left -= more
	}
	out.Left = max(0, left-reserved)
	return out
}

// starve marks the pool, unless it is another's turn.
func (g *grant) starve(need int64) {
	if g.starvedBy() != "" {
		return
	}
	if g.pool.starver != g.me || !g.now.Before(g.pool.till) {
		g.pool.starver, g.pool.since, g.marked = g.me, g.now, true
	}
	g.pool.need, g.pool.till = need, g.now.Add(starveTime)
}

// answered reports whether all others have said since the replica starves that their calls have taken all they have.
func (g *grant) answered() bool {
	for _, o := range g.rows {
		if o.cap > 0 && !o.gone && (!o.seen.After(g.pool.since) || o.cap > o.used+o.held) {
			return false
		}
	}
	return true
}

// idle reports whether another keeps what no call has taken, as far as it said.
func (g *grant) idle() bool {
	return slices.ContainsFunc(g.rows, func(o capRow) bool { return !o.gone && o.cap > o.used+o.held })
}
