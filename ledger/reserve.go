package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/ledger/entry"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/policy"
)

// ErrEnded means the reservation was posted or voided before.
var ErrEnded = errors.New("ledger: the reservation has ended already")

// Reservation is an open hold. Exactly one of Post and Void ends it; a second end is an error and writes nothing. Its
// methods are safe for concurrent use.
type Reservation struct {
	ledger *Ledger
	ticket journal.Ticket
	id     string

	hold  hold // guarded by ledger.mu
	ended bool // guarded by ledger.mu
}

// Reserve checks every limit on the call's path and appends a reserved entry in one step. It returns a *LimitError, or
// an error wrapping ErrUnwritable or ErrOffline; then the call must not be made. With Strict it returns once the entry is
// on disk. It waits when limits are shared and this replica's part of one is used up, for a quarter of a second at most.
// A refusal by a limit, or for want of contact, is itself appended as a denied entry.
//
// A call of a counted action counts as one call. A retry (Attempt above 1) does not, if the call it names as Parent
// counted; so when the first attempt was refused or never left, the first that does leave counts.
func (l *Ledger) Reserve(ctx context.Context, c *policy.Call, d *policy.Decision, h Hold) (*Reservation, error) {
	if h.Cost < 0 || h.Tokens < 0 || int64(h.Cost) > limits.AmountMax || h.Tokens > limits.AmountMax {
		return nil, fmt.Errorf("ledger: a hold of %s and %d tokens cannot be", h.Cost, h.Tokens)
	}
	if err := l.journal.Ready(); err != nil {
		return nil, l.unwritable(err)
	}
	draft := l.draft()
	defer l.discard(draft)
	e := &draft.entry
	if err := l.begin(e, c, d, Reserved); err != nil {
		return nil, err
	}
	e.Hold, e.HoldTokens, e.PriceList, e.Prices = h.Cost, h.Tokens, h.PriceList, h.Prices
	e.Digest = l.digests.Of(e.Who.Customer, c.Args)
	r := &Reservation{ledger: l, id: c.ID}
	r.hold = hold{
		id: e.ID, slot: c.Action.Counted(),
		expected: limits.Amounts{Nano: int64(h.Cost), Tokens: h.Tokens},
		worst:    limits.Amounts{Nano: max(worst(int64(h.Worst)), int64(h.Cost)), Tokens: max(worst(h.WorstTokens), h.Tokens)},
		who:      c.Principal, user: e.Who.User, parent: e.Parent, trace: e.Trace, onBehalf: e.OnBehalf,
	}
	var laid []policy.RuleLimit
	if d != nil {
		laid = d.Limits
	}
	err := r.take(draft, laid)
	if err == errShort {
		err = l.await(ctx, &draft.lack, func() error {
			e.Time = l.cfg.Now() // it has waited, perhaps into another period
			return r.take(draft, laid)
		})
	}
	if err != nil {
		if _, over := errors.AsType[*LimitError](err); over || errors.Is(err, ErrOffline) {
			e.Kind, e.Counted, e.Detail = Denied, false, clip(err.Error())
			if failed := l.append(draft); failed != nil {
				return nil, errors.Join(err, failed)
			}
		}
		return nil, err
	}
	if err := r.written(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// worst is a worst case as limits take it.
func worst(n int64) int64 {
	if n < 0 || n > limits.AmountMax { // Unbounded, or as good as
		return unbounded
	}
	return n
}

// unbounded never fits a limit, and stays so when something is added to it.
const unbounded = 2 * limits.AmountMax

// begin fills e with what a call and its decision say.
func (l *Ledger) begin(e *Entry, c *policy.Call, d *policy.Decision, kind Kind) error {
	user, err := l.pseudonym(c.Principal)
	if err != nil && kind != Denied {
		return err
	}
	*e = Entry{
		Kind: kind, Time: c.Now, Who: whoOf(c.Principal, user), OnBehalf: clip(c.OnBehalf), Source: clip(c.Source),
		Action: c.Action, Upstream: clip(c.Upstream), Target: clip(c.Target), Attempt: c.Attempt, Trace: entry.ParseTrace(c.TraceID),
	}
	if e.Time.IsZero() || l.shared != nil { // what replicas share goes by the time that they share, not by one machine's
		e.Time = l.cfg.Now()
	}
	if d != nil {
		e.Rules, e.Revision = d.Rules, d.Revision
	}
	if c.ID == "" {
		e.ID = NewID(e.Time)
	} else if e.ID, err = ParseID(c.ID); err != nil || e.ID.IsZero() {
		return fmt.Errorf("ledger: call id %q is not a UUID", c.ID)
	}
	if c.Parent != "" {
		if e.Parent, err = ParseID(c.Parent); err != nil {
			return fmt.Errorf("ledger: parent id %q is not a UUID", c.Parent)
		}
	}
	return nil
}

// take checks the limits, takes from them and stages the draft's entry, in one step.
func (r *Reservation) take(draft *draft, laid []policy.RuleLimit) error {
	l, h, e := r.ledger, &r.hold, &draft.entry
	who := principalKey(&e.Who)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.book.open[h.id] != nil {
		return fmt.Errorf("ledger: call %s is reserved already", h.id)
	}
	if l.shared != nil && !e.Action.Own() { // whose keys, limits and slots are not this replica's alone
		if err := l.cfg.Pools.Alive(); err != nil {
			return err
		}
	}
	h.at, h.rules, e.Limits = l.moment(e.Time), h.rules[:0], e.Limits[:0]
	e.Time = time.Unix(0, h.at).UTC() // the entry says when it counts, also where that is not when it was asked for
	h.lane = l.lane(who, laneKey{e.Action, e.Upstream, e.Target})
	if e.Action.Counted() && (e.Attempt <= 1 || !l.book.wasCounted(e.Parent)) {
		e.Counted = true
		h.expected.Calls, h.worst.Calls = 1, 1
	}
	if err := r.lay(e, laid, who); err != nil {
		return err
	}
	if err := l.fit(h, &draft.lack); err != nil {
		return err
	}
	if h.hard {
		e.Worst, e.WorstTokens = Nano(h.worst.Nano), h.worst.Tokens
	}
	t, err := l.journal.Stage(draft.encode())
	if err != nil {
		return l.unwritable(err)
	}
	r.ticket = t
	l.book.reserve(h)
	for c := range h.counters() {
		n := h.taken(&c.Limit)
		c.add(h.at, n, n)
	}
	return nil
}

// lay finds the counters of the limits that rules lay on the call.
func (r *Reservation) lay(e *Entry, laid []policy.RuleLimit, who accountKey) error {
	if e.Action.Own() {
		return nil
	}
	for _, rl := range laid {
		limit := r.ledger.ruleLimit(rl)
		if limit.err != nil {
			return limit.err
		}
		ln, _, err := r.ledger.ruleLane(limit, who, r.hold.at)
		if err != nil {
			return err
		}
		r.hold.rules = append(r.hold.rules, ln)
		e.Limits = append(e.Limits, limit.name)
	}
	return nil
}

// written sees the reserved entry to the kernel, and with Strict to the disk. When that fails the call must not be made:
// the reservation is taken back by a voided entry, which the journal writes after it when it can write again.
func (r *Reservation) written(ctx context.Context) error {
	j := r.ledger.journal
	err := j.Flush(r.ticket)
	if err == nil {
		switch r.ledger.cfg.Durability {
		case Strict:
			err = j.Synced(ctx, r.ticket)
		case Overlap:
			j.SyncSoon()
		case Relaxed:
			j.SyncLazily()
		}
	}
	if err == nil {
		return nil
	}
	void := r.Void(Outcome{Status: Unsent, Detail: "the reservation could not be written"})
	if void != nil && !errors.Is(void, ErrUnwritable) {
		err = errors.Join(err, void)
	}
	return r.ledger.unwritable(err)
}

// ID is the reserved entry's id, which is the call's.
func (r *Reservation) ID() string {
	if r.id == "" {
		return r.hold.id.String()
	}
	return r.id
}

// EntryID is ID as entries have it.
func (r *Reservation) EntryID() ID { return r.hold.id }

// User is what stands in the call's entries for its user: a pseudonym, or nothing when it has none.
func (r *Reservation) User() string { return r.hold.user }

// Synced returns when the reserved entry is on disk (at once with Strict and Relaxed).
func (r *Reservation) Synced(ctx context.Context) error {
	if r.ledger.cfg.Durability == Relaxed {
		return nil
	}
	return r.ledger.unwritable(r.ledger.journal.Synced(ctx, r.ticket))
}

// Held is the usage to post when the call was sent and nothing better is known: the hold, or the worst case where a hard
// limit held that. It is marked estimated; of the tokens' kinds nothing is known, so they stand as output.
func (r *Reservation) Held() Usage {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	a := r.hold.full()
	return Usage{Cost: Nano(a.Nano), Quantities: heldQuantities(a), Estimated: true}
}

// Extend reserves more money and tokens for the same call by a further entry; a *LimitError means the call must be cut.
// What it adds counts in the window the call was reserved in. It writes nothing when the hold covers no more than before.
func (r *Reservation) Extend(cost Nano, tokens int64) error {
	if cost < 0 || tokens < 0 || int64(cost) > limits.AmountMax || tokens > limits.AmountMax {
		return fmt.Errorf("ledger: a hold of %s and %d tokens cannot be added", cost, tokens)
	}
	l, h := r.ledger, &r.hold
	if err := l.journal.Ready(); err != nil {
		return l.unwritable(err)
	}
	now := l.cfg.Now()
	draft := l.draft()
	defer l.discard(draft)
	e := &draft.entry
	h.entry(e, Reserved, now)
	e.Hold, e.HoldTokens = cost, tokens
	t, err := r.takeMore(draft, now.UnixNano())
	if err == errShort {
		err = l.await(context.Background(), &draft.lack, func() (err error) {
			t, err = r.takeMore(draft, now.UnixNano())
			return err
		})
	}
	if err == nil {
		err = l.journal.Flush(t)
		l.journal.SyncLazily()
	}
	if _, refused := errors.AsType[*LimitError](err); refused || errors.Is(err, ErrEnded) || errors.Is(err, ErrOffline) {
		return err
	}
	return l.unwritable(err)
}

// takeMore is take for what the draft's entry holds beyond what r does.
func (r *Reservation) takeMore(draft *draft, now int64) (journal.Ticket, error) {
	l, h, e := r.ledger, &r.hold, &draft.entry
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.ended {
		return journal.Ticket{}, ErrEnded
	}
	more := *h
	more.extend(e)
	if err := l.fitMore(h, &more, now, &draft.lack); err != nil {
		return journal.Ticket{}, err
	}
	t, err := l.journal.Stage(draft.encode())
	if err != nil {
		return t, err
	}
	for c := range h.counters() {
		n := more.taken(&c.Limit) - h.taken(&c.Limit)
		c.add(h.at, n, n)
	}
	h.expected, h.worst = more.expected, more.worst
	return t, nil
}

// Post ends the reservation with what the call cost, which may be more than was held: the entry tells the truth and the
// balance then exceeds its limit by the difference. A cost or quantity below zero is taken as zero.
//
// After an error that wraps ErrUnwritable the reservation has ended all the same: the entry is written as soon as the
// journal can, and if the process dies before that the next start posts the hold.
func (r *Reservation) Post(o Outcome) error { return r.end(Posted, o) }

// Void ends the reservation of a call that never left. It costs nothing and counts nowhere.
func (r *Reservation) Void(o Outcome) error {
	o.Usage = Usage{}
	return r.end(Voided, o)
}

func (r *Reservation) end(kind Kind, o Outcome) error {
	l, h := r.ledger, &r.hold
	now := l.cfg.Now()
	draft := l.draft()
	defer l.discard(draft)
	e := &draft.entry
	h.entry(e, kind, now)
	e.Cost, e.Quantities, e.Estimated = clampNano(o.Usage.Cost), o.Usage.Quantities.Clamped(), o.Usage.Estimated
	e.Status, e.Code, e.Latency, e.Detail = o.Status, o.Code, o.Latency, clip(o.Detail)
	e.Result, e.Payload = o.Result, o.Payload
	wire := draft.encode()
	t, err := func() (journal.Ticket, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if r.ended {
			return journal.Ticket{}, ErrEnded
		}
		t, err := l.journal.Stage(wire)
		if err != nil {
			return t, l.unwritable(err)
		}
		r.ended = true
		a := settled(e, h)
		for c := range h.counters() {
			held := h.taken(&c.Limit)
			c.add(h.at, used(&a, c.Limit.Unit)-held, -held)
		}
		l.book.settle(h, a, now.UnixNano())
		return t, nil
	}()
	if err != nil {
		return err
	}
	err = l.journal.Flush(t)
	l.journal.SyncLazily()
	return l.unwritable(err)
}

func clampNano(n Nano) Nano { return Nano(min(max(int64(n), 0), limits.AmountMax)) }
