package ledger

import (
	"fmt"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/policy"
)

// accountKey is whose use an account sums up: a principal's path, or the part of it that a rule's limit counts by.
type accountKey struct {
	rule                      string // "RULE/PER" of a limit laid by a rule; empty: a principal
	customer, team, key, user string
}

func principalKey(w *Who) accountKey {
	key := w.KeyID
	if key == "" {
		key = w.Key
	}
	return accountKey{customer: w.Customer, team: w.Team, key: key, user: w.User}
}

// scopes lists what limits on the account's path may be attached to, outermost first.
func (k *accountKey) scopes() []Scope {
	if k.rule != "" {
		return []Scope{k.ruleScope()}
	}
	var out []Scope
	for _, s := range []Scope{{CustomerLevel, k.customer}, {TeamLevel, k.team}, {KeyLevel, k.key}, {UserLevel, k.user}} {
		if s.Name != "" {
			out = append(out, s)
		}
	}
	return out
}

// ruleScope names a rule's account for people: "search-rate for key k1".
func (k *accountKey) ruleScope() Scope {
	rule, per, _ := cutLast(k.rule)
	name := k.customer + k.team + k.key + k.user // one of them at most
	if per == perAll {
		return Scope{RuleLevel, rule}
	}
	return Scope{RuleLevel, fmt.Sprintf("%s for %s %s", rule, per, name)}
}

func cutLast(s string) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// What a rule's limit counts by.
const (
	perKey      = "key"
	perUser     = "user"
	perTeam     = "team"
	perCustomer = "customer"
	perAll      = "all"
)

// ruleKey is the account of a rule's limit, "RULE/PER", for a principal.
func ruleKey(rule string, who accountKey) (accountKey, error) {
	k := accountKey{rule: rule}
	_, per, _ := cutLast(rule)
	switch per {
	case perKey:
		k.key = who.key
	case perUser:
		k.user = who.user
	case perTeam:
		k.team = who.team
	case perCustomer:
		k.customer = who.customer
	case perAll:
	default:
		return k, fmt.Errorf("a limit per %q: one of key, user, team, customer, all", per)
	}
	return k, nil
}

// laneKey is what a call does, as limits with globs distinguish it.
type laneKey struct {
	action           policy.Action
	upstream, target string
}

// path is what globs are matched against; it is policy's Path for a call of this action.
func (k *laneKey) path() string {
	switch k.action {
	case policy.ResourceRead:
		return k.upstream + "/resource:" + k.target
	case policy.PromptGet:
		return k.upstream + "/prompt:" + k.target
	}
	return k.upstream + "/" + k.target
}

// account is one principal's use, or one rule's.
type account struct {
	key   accountKey
	lanes map[laneKey]*lane
}

// lane is one principal's use of one target.
type lane struct {
	account *account
	key     laneKey
	history limits.History
	open    int // holds under way

	counters []*counter // that count calls of this lane, outermost scope first
}

// lanesMax is how many lanes an account may have before those that hold nothing are looked for: targets such as
// resource addresses are the caller's choice.
const lanesMax = 512

// lane returns the account's lane for k.
func (a *account) lane(k laneKey) *lane {
	if ln := a.lanes[k]; ln != nil {
		return ln
	}
	if len(a.lanes) > 0 && len(a.lanes)%lanesMax == 0 {
		for k, ln := range a.lanes {
			if ln.open == 0 && len(ln.history.Rows) == 0 {
				delete(a.lanes, k)
			}
		}
	}
	k.upstream, k.target = strings.Clone(k.upstream), strings.Clone(k.target)
	ln := &lane{account: a, key: k}
	a.lanes[k] = ln
	return ln
}

// hold is a reservation under way.
type hold struct {
	id       ID
	at       int64 // when it was reserved, Unix nanoseconds; never earlier than the one before it
	lane     *lane
	rules    []*lane // of the limits that rules laid on it
	expected limits.Amounts
	worst    limits.Amounts // for hard limits; never less than expected
	hard     bool           // a hard limit is on its path, so worst is what stands in the journal too
	slot     bool           // it counts as a call under way

	who      *policy.Principal // these are repeated in the entries that follow
	user     string            // what stands in them for who's user
	parent   ID
	trace    TraceID
	onBehalf string
}

// entry fills e as a further entry about the call.
func (h *hold) entry(e *Entry, kind Kind, now time.Time) {
	k := &h.lane.key
	*e = Entry{
		ID: NewID(now), Time: now, Kind: kind, Resolves: h.id, Parent: h.parent, Trace: h.trace, Who: whoOf(h.who, h.user),
		OnBehalf: h.onBehalf, Action: k.action, Upstream: k.upstream, Target: k.target,
	}
}

// taken is how much of limit the hold takes.
func (h *hold) taken(limit *Limit) int64 {
	a := &h.expected
	if limit.Hard {
		a = &h.worst
	}
	if limit.Unit == UnitConcurrent {
		if h.slot {
			return 1
		}
		return 0
	}
	return used(a, limit.Unit)
}

// full is what is posted when nothing better is known.
func (h *hold) full() limits.Amounts {
	if h.hard {
		return h.worst
	}
	return h.expected
}

// used is how much of a unit was used.
func used(a *limits.Amounts, unit Unit) int64 {
	switch unit {
	case UnitUSD:
		return a.Nano
	case UnitTokens:
		return a.Tokens
	case UnitCalls:
		return a.Calls
	}
	return 0 // concurrent: nothing stays
}

// countedMax is how many ended calls are remembered, so that a retry of one of them is not counted again. A retry of a
// call that was forgotten counts: it errs on the side of the limit.
const countedMax = 32 << 10

// book is what the entries come to. It is made from entries alone: by Reserve and its like as they write them, by a start
// as it reads them. The ledger's lock guards it.
type book struct {
	loc      *time.Location
	accounts map[accountKey]*account
	scopes   map[Scope][]*account // by the scopes on their path
	open     map[ID]*hold
	last     int64 // the latest time of a reservation, Unix nanoseconds

	counted, countedBefore map[ID]struct{} // ended calls that were counted, in two generations
}

func newBook(loc *time.Location) *book {
	return &book{
		loc:      loc,
		accounts: map[accountKey]*account{},
		scopes:   map[Scope][]*account{},
		open:     map[ID]*hold{},
		counted:  map[ID]struct{}{},
	}
}

func (b *book) account(k accountKey) *account {
	if a := b.accounts[k]; a != nil {
		return a
	}
	k = accountKey{strings.Clone(k.rule), strings.Clone(k.customer), strings.Clone(k.team), strings.Clone(k.key), strings.Clone(k.user)}
	a := &account{key: k, lanes: map[laneKey]*lane{}}
	b.accounts[k] = a
	for _, s := range k.scopes() {
		b.scopes[s] = append(b.scopes[s], a)
	}
	return a
}

// wasCounted reports whether the call id counted against limits on calls.
func (b *book) wasCounted(id ID) bool {
	if id.IsZero() {
		return false
	}
	if h := b.open[id]; h != nil {
		return h.expected.Calls > 0
	}
	_, now := b.counted[id]
	_, before := b.countedBefore[id]
	return now || before
}

// reserve opens a hold.
func (b *book) reserve(h *hold) {
	b.open[h.id] = h
	b.last = max(b.last, h.at)
	h.lane.open++
	for _, ln := range h.rules {
		ln.open++
	}
}

// settle ends a hold with what was used.
func (b *book) settle(h *hold, a limits.Amounts, now int64) {
	delete(b.open, h.id)
	h.lane.open--
	h.lane.history.Add(h.at/int64(time.Second), now/int64(time.Second), a, b.loc)
	for _, ln := range h.rules {
		ln.open--
		ln.history.Add(h.at/int64(time.Second), now/int64(time.Second), a, b.loc)
	}
	if a.Calls > 0 {
		if len(b.counted) >= countedMax {
			b.counted, b.countedBefore = b.countedBefore, b.counted
			clear(b.counted)
			if b.counted == nil {
				b.counted = map[ID]struct{}{}
			}
		}
		b.counted[h.id] = struct{}{}
	}
}

// apply takes an entry as the journal has it.
func (b *book) apply(e *Entry) error {
	switch {
	case e.Extends():
		h := b.open[e.Resolves]
		if h == nil {
			return fmt.Errorf("entry %s extends %s, which is not open", e.ID, e.Resolves)
		}
		h.extend(e)
	case e.Kind == Reserved:
		if b.open[e.ID] != nil {
			return fmt.Errorf("entry %s is reserved twice", e.ID)
		}
		h, err := b.holdOf(e)
		if err != nil {
			return err
		}
		b.reserve(h)
	case e.Ends():
		h := b.open[e.Resolves]
		if h == nil {
			return fmt.Errorf("entry %s ends %s, which is not open: it was never reserved or has ended before", e.ID, e.Resolves)
		}
		b.settle(h, settled(e, h), e.Time.UnixNano())
	}
	return nil
}

// holdOf makes the hold that a reserved entry stands for.
func (b *book) holdOf(e *Entry) (*hold, error) {
	h := &hold{
		id: e.ID, at: max(e.Time.UnixNano(), b.last), slot: e.Action.Counted(),
		who: principalOf(&e.Who), user: e.Who.User, parent: e.Parent, trace: e.Trace, onBehalf: e.OnBehalf,
	}
	who := principalKey(&e.Who)
	h.lane = b.account(who).lane(laneKey{e.Action, e.Upstream, e.Target})
	for _, rule := range e.Limits {
		k, err := ruleKey(rule, who)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", e.ID, err)
		}
		h.rules = append(h.rules, b.account(k).lane(laneKey{}))
	}
	if e.Counted {
		h.expected.Calls = 1
		h.worst.Calls = 1
	}
	h.extend(e)
	return h, nil
}

// extend adds what a reserved entry holds.
func (h *hold) extend(e *Entry) {
	h.expected.Add(limits.Amounts{Nano: int64(e.Hold), Tokens: e.HoldTokens})
	h.hard = h.hard || e.Worst != 0 || e.WorstTokens != 0
	h.worst.Nano = max(limits.AddSat(h.worst.Nano, int64(e.Worst)), h.expected.Nano)
	h.worst.Tokens = max(limits.AddSat(h.worst.Tokens, e.WorstTokens), h.expected.Tokens)
}

// settled is what e, the end of h, says was used.
func settled(e *Entry, h *hold) limits.Amounts {
	if e.Kind == Voided {
		return limits.Amounts{}
	}
	return limits.Amounts{Nano: int64(e.Cost), Tokens: e.Quantities.Tokens(), Calls: h.expected.Calls}
}
