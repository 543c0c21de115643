package ledger

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/policy"
)

// counter is a limit's balance at the place it is attached to. The ledger's lock guards it.
type counter struct {
	limits.Counter
	scope Scope

	pool  *caps.Pool // what replicas share of it; nil: nothing, or no call has needed any yet
	stale bool       // no rule laid it since limits were set last: it counts, and refuses nothing
}

func (l *Ledger) newCounter(scope Scope, limit Limit, now int64) *counter {
	c := &counter{Counter: *limits.NewCounter(limit, now, l.cfg.Location), scope: scope}
	if l.shared != nil {
		c.Widen()
	}
	return c
}

// SetLimits replaces all attached limits. Balances are untouched: they derive from entries, so a limit that appears
// finds its window filled. A Limit that was not parsed is parsed here; one that cannot be refuses every call under it.
// Users are named in scopes as people name them. When one of them cannot be given a pseudonym, his calls are refused until
// he can; when he gets another one, his limits go with him.
func (l *Ledger) SetLimits(attached map[Scope][]Limit) {
	l.setting.Lock()
	defer l.setting.Unlock()
	l.setLimits(attached)
}

// setLimits is SetLimits. The caller holds setting.
func (l *Ledger) setLimits(given map[Scope][]Limit) {
	attached, limited := l.pseudonymous(given)
	now := l.cfg.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = given
	l.named = map[Scope]string{}
	for name, pseudonym := range limited {
		l.named[Scope{UserLevel, pseudonym}] = name
	}
	l.limited.Store(&limited)
	l.reattach(attached, max(now, l.book.last))
}

// reattach makes all counters anew, for limits and readings. The caller holds mu.
func (l *Ledger) reattach(attached map[Scope][]Limit, now int64) {
	for _, a := range l.book.accounts {
		for _, ln := range a.lanes {
			if l.shared == nil || a.key.rule == "" {
				ln.counters = nil
			}
			for _, c := range ln.counters {
				c.stale = true
			}
		}
	}
	clear(l.counters)
	clear(l.rules)
	var all []*counter
	for scope, list := range attached {
		for _, limit := range list {
			all = append(all, l.newCounter(scope, parsed(limit), now))
		}
	}
	for _, r := range l.readings {
		r.day, r.month = l.readingOf(r.scope, now)
		all = append(all, r.day, r.month)
	}
	l.attach(all)
	l.share(all)
}

// clockStep is how far the clock may fall behind the last reservation before it counts as having been set back. A call's
// time is taken when it arrives, which may be a while before it is reserved.
const clockStep = 10 * time.Minute

// moment is the time a call counts at: its own, but not before that of the call before it, so that windows only go on.
// When the clock was set back, they begin again from where it is now: what was used in what is now the future counts as
// used now. The caller holds mu.
func (l *Ledger) moment(t time.Time) int64 {
	at := t.UnixNano()
	if at >= l.book.last {
		return at
	}
	if l.book.last-at > int64(clockStep) && l.shared == nil { // the time that replicas share is never set back
		if now := l.cfg.Now().UnixNano(); l.book.last-now > int64(clockStep) {
			l.book.last = now
			attached := map[Scope][]Limit{}
			for scope, list := range l.counters {
				for _, c := range list {
					if !c.reading() {
						attached[scope] = append(attached[scope], c.Limit)
					}
				}
			}
			l.reattach(attached, now)
		}
	}
	return max(at, l.book.last)
}

func parsed(limit Limit) Limit {
	if limit.Unit != "" {
		return limit
	}
	p, err := ParseLimit(limit.Text)
	if err != nil {
		p = Limit{Text: limit.Text, Unit: UnitCalls, Window: limits.Day}
	}
	p.On = limit.On
	return p
}

// attach fills counters from the book and puts them where calls find them. The caller holds mu.
func (l *Ledger) attach(all []*counter) {
	fresh := map[*counter]bool{}
	for _, c := range all {
		fresh[c] = true
		l.counters[c.scope] = append(l.counters[c.scope], c)
		for a := range l.accounts(c.scope) {
			for _, ln := range a.lanes {
				if c.counts(&ln.key) {
					ln.attach(c)
				}
			}
		}
	}
	for _, h := range l.book.open {
		for _, c := range h.lane.counters {
			if fresh[c] {
				c.holds(h)
			}
		}
	}
}

// holds counts h, a call under way.
func (c *counter) holds(h *hold) {
	n := h.taken(&c.Limit)
	c.add(h.at, n, n)
}

// attach makes the lane's past and future calls count in c.
func (ln *lane) attach(c *counter) {
	for i := range ln.history.Rows {
		c.Seed(&ln.history.Rows[i])
	}
	ln.counters = append(ln.counters, c)
}

// counts reports whether c counts calls of a lane. The gateway's own actions have no limits.
func (c *counter) counts(k *laneKey) bool { return !k.action.Own() && c.Limit.Matches(k.path()) }

// lane returns the lane of a call, with its counters. The caller holds mu.
func (l *Ledger) lane(who accountKey, k laneKey) *lane {
	a := l.book.account(who)
	if ln := a.lanes[k]; ln != nil {
		return l.counted(ln)
	}
	return l.counted(a.lane(k))
}

// counted gives a lane its counters, outermost scope first, when it has none yet.
func (l *Ledger) counted(ln *lane) *lane {
	if ln.counters != nil || ln.account.key.rule != "" {
		return ln
	}
	ln.counters = []*counter{}
	for _, s := range ln.account.key.scopes() {
		for _, c := range l.counters[s] {
			if c.counts(&ln.key) {
				ln.attach(c)
			}
		}
	}
	return ln
}

// ruleLimit is a limit that a rule lays, parsed once.
type ruleLimit struct {
	name  string // "RULE/PER", as entries have it
	limit Limit
	err   error
}

// ruleLimitsMax bounds the memory of parsed limits; there are as many as rules with limits in the policies of late.
const ruleLimitsMax = 10_000

// ruleLimit parses a rule's limit, or finds it parsed. The caller holds mu.
func (l *Ledger) ruleLimit(r policy.RuleLimit) *ruleLimit {
	if found := l.rules[r]; found != nil {
		return found
	}
	per := r.Per
	if per == "" {
		per = perKey
	}
	parsed := &ruleLimit{name: r.Rule + "/" + per}
	parsed.limit, parsed.err = ParseLimit(r.Limit)
	if parsed.err == nil {
		_, parsed.err = ruleKey(parsed.name, accountKey{})
	}
	if parsed.err != nil {
		parsed.err = fmt.Errorf("rule %s: %w", r.Rule, parsed.err)
	}
	if len(l.rules) >= ruleLimitsMax {
		clear(l.rules)
	}
	l.rules[r] = parsed
	return parsed
}

// ruleLane returns the lane that counts a rule's limit for a principal, and its counter. The caller holds mu.
func (l *Ledger) ruleLane(r *ruleLimit, who accountKey, now int64) (*lane, *counter, error) {
	k, err := ruleKey(r.name, who)
	if err != nil {
		return nil, nil, err
	}
	ln := l.book.account(k).lane(laneKey{})
	i := slices.IndexFunc(ln.counters, func(c *counter) bool { return c.Limit.Text == r.limit.Text })
	if i >= 0 {
		ln.counters[i].stale = false
		return ln, ln.counters[i], nil
	}
	c := l.newCounter(k.ruleScope(), r.limit, now)
	ln.attach(c)
	for _, h := range l.book.open {
		if slices.Contains(h.rules, ln) {
			c.holds(h)
		}
	}
	l.replaceStale(ln, c)
	return ln, c, nil
}

// reading counts what a scope spends, for Spend; it limits nothing.
type reading struct {
	scope      Scope
	day, month *counter
}

// reading reports whether the counter limits nothing.
func (c *counter) reading() bool { return c.Limit.Text == "" }

func (l *Ledger) readingOf(scope Scope, now int64) (day, month *counter) {
	return l.newCounter(scope, Limit{Unit: UnitUSD, Amount: math.MaxInt64, Window: limits.Day}, now),
		l.newCounter(scope, Limit{Unit: UnitUSD, Amount: math.MaxInt64, Window: limits.Month}, now)
}

// Spend reads what the principal's key, team and customer have spent or hold in the calendar day and month of now: on
// this replica up to this moment, on others as they told of it, which is about every second.
func (l *Ledger) Spend(p *policy.Principal, now time.Time) policy.Spend {
	who := whoOf(p, "")
	k := principalKey(&who)
	l.mu.Lock()
	defer l.mu.Unlock()
	at := max(now.UnixNano(), l.book.last)
	read := func(level Level, name string) (day, month float64) {
		if name == "" {
			return 0, 0
		}
		s := Scope{level, name}
		r := l.readings[s]
		if r == nil {
			r = &reading{scope: s}
			r.day, r.month = l.readingOf(s, at)
			l.readings[s] = r
			l.attach([]*counter{r.day, r.month})
		}
		return float64(l.read(r.day, at)) / float64(USD), float64(l.read(r.month, at)) / float64(USD)
	}
	var s policy.Spend
	s.KeyToday, s.KeyMonth = read(KeyLevel, k.key)
	s.TeamToday, s.TeamMonth = read(TeamLevel, k.team)
	s.CustomerToday, s.CustomerMonth = read(CustomerLevel, k.customer)
	return s
}
