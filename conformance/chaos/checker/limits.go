package checker

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
)

// Reached is how far a limit was used, at its highest over all windows and groups.
type Reached struct {
	Limit   plan.Limit
	Group   string
	Most    int64 // that the upstreams saw within one window
	Allowed int64 // of this, what calls cost beyond their hold or what was known of them: the published error
	Busy    int64 // of a concurrent limit: requests that were under way at once, given up by their callers or not
	Lowered bool
}

// use is what one call took from a limit.
type use struct {
	from, to int64 // when it was reserved, in true time: between these
	ledger   int64 // when it was reserved, by the ledger
	amount   int64
	beyond   int64 // more than was held, or than was ever known
	call     *call
}

// limits holds the upstreams' view against each limit.
func (s *state) limits() {
	for _, l := range s.in.Plan.Limits {
		s.limit(Lowered{Limit: *l, Until: math.MaxInt64}, false)
	}
	for _, l := range s.in.Lowered {
		s.limit(l, true)
	}
}

func (s *state) limit(l Lowered, lowered bool) {
	groups := map[string][]*call{}
	for _, c := range s.order {
		if group, ok := l.Limit.Group(c.key); ok {
			groups[group] = append(groups[group], c)
		}
	}
	worst := Reached{Limit: l.Limit, Lowered: lowered, Most: -1}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		var reached Reached
		var lines []string
		if l.Limit.Unit == plan.Concurrent {
			reached, lines = concurrent(&l, groups[group])
		} else {
			reached, lines = windowed(&l, groups[group], s.in.Zone)
		}
		reached.Limit, reached.Lowered, reached.Group = l.Limit, lowered, group
		if reached.Most-reached.Allowed > l.Limit.Amount {
			s.find(Exceeded, lines, "%s (%s): %d where %d is allowed, and %d more by the published error", &l.Limit, group, reached.Most, l.Limit.Amount, reached.Allowed)
		}
		if reached.Most-reached.Allowed > worst.Most-worst.Allowed {
			worst = reached
		}
	}
	if all := s.report.Limits; lowered && len(all) > 0 && all[len(all)-1].Lowered && all[len(all)-1].Limit.String() == l.Limit.String() {
		if last := &all[len(all)-1]; worst.Most-worst.Allowed > last.Most-last.Allowed {
			*last = worst // of all the times at which it was lower
		}
		return
	}
	s.report.Limits = append(s.report.Limits, worst)
}

// uses are what calls took from l.
func uses(l *Lowered, calls []*call) []use {
	var out []use
	for _, c := range calls {
		counted := false
		for _, q := range c.requests {
			if q.Answer == evidence.NoSession || !l.Limit.Counts(q.path) || counted && l.Limit.Unit == plan.Calls {
				continue
			}
			counted = true
			u := use{from: c.Sent, to: q.Arrived, ledger: q.Arrived, call: c}
			held, known := int64(math.MaxInt64), int64(math.MaxInt64)
			if q.under != nil {
				u.ledger = q.under.Time
				held, known = q.under.counted(&l.Limit)
			}
			switch l.Limit.Unit {
			case plan.USD:
				u.amount = q.bill
			case plan.Tokens:
				u.amount = q.tokens
			default:
				u.amount = 1
			}
			u.beyond = max(0, u.amount-min(held, known))
			if l.Limit.Unit == plan.Calls {
				u.beyond = 0
			}
			if u.from >= l.From && u.to < l.Until {
				out = append(out, u)
			}
		}
	}
	return out
}

// counted is what the ledger has counted for a call: while it was under way, and once it had ended.
func (r *reservation) counted(l *plan.Limit) (held, known int64) {
	known = math.MaxInt64
	var end *Entry
	if len(r.ends) > 0 {
		end = r.ends[0]
	}
	if l.Unit == plan.USD {
		held = r.hold
		if l.Hard {
			held = r.worst
		}
		if end != nil {
			known = end.Cost
		}
		return held, known
	}
	held = r.tokens
	if l.Hard {
		held = r.worstTokens
	}
	if end != nil {
		known = end.Tokens
	}
	return held, known
}

// windowed finds the window in which most was used beyond what is allowed.
func windowed(l *Lowered, calls []*call, zone time.Duration) (Reached, []string) {
	all := uses(l, calls)
	byLedger := slices.Clone(all)
	for i := range byLedger {
		byLedger[i].from, byLedger[i].to = byLedger[i].ledger, byLedger[i].ledger
	}
	find := func(uses []use) (Reached, []use) { return sliding(uses, l.Limit.Slides()) }
	if l.Limit.Slides() == 0 {
		find = func(uses []use) (Reached, []use) { return calendar(uses, l.Limit.Window, zone) }
	}
	reached, in := find(all)
	if r, among := find(byLedger); r.Most-r.Allowed > reached.Most-reached.Allowed {
		reached, in = r, among
	}
	var lines []string
	for _, u := range in[max(0, len(in)-3):] {
		lines = append(lines, u.call.lines()...)
	}
	return reached, lines
}

// calendar sums by periods; what may be of two counts in none.
func calendar(uses []use, window string, zone time.Duration) (Reached, []use) {
	layout := time.DateOnly
	if window == "1M" {
		layout = "2006-01"
	}
	period := func(at int64) string { return time.Unix(0, at).UTC().Add(zone).Format(layout) }
	sums, in := map[string]Reached{}, map[string][]use{}
	for _, u := range uses {
		if p := period(u.from); p == period(u.to) {
			sums[p] = Reached{Most: sums[p].Most + u.amount, Allowed: sums[p].Allowed + u.beyond}
			in[p] = append(in[p], u)
		}
	}
	var worst Reached
	var among []use
	for _, p := range slices.Sorted(maps.Keys(sums)) {
		if r := sums[p]; among == nil || r.Most-r.Allowed > worst.Most-worst.Allowed {
			worst, among = r, in[p]
		}
	}
	return worst, among
}

// sliding looks at every window of that length that begins with a use; what does not lie within it for certain does not
// count.
func sliding(uses []use, length time.Duration) (Reached, []use) {
	uses = slices.Clone(uses)
	slices.SortStableFunc(uses, func(a, b use) int { return cmp.Compare(a.from, b.from) })
	var worst Reached
	var from, to int64
	for i := range uses {
		var r Reached
		end := uses[i].from + int64(length)
		for j := i; j < len(uses) && uses[j].from < end; j++ {
			if uses[j].to < end {
				r.Most, r.Allowed = r.Most+uses[j].amount, r.Allowed+uses[j].beyond
			}
		}
		if r.Most-r.Allowed > worst.Most-worst.Allowed {
			worst, from, to = r, uses[i].from, end
		}
	}
	return worst, slices.DeleteFunc(uses, func(u use) bool { return u.from < from || u.to >= to })
}

// concurrent finds the moment at which most requests were under way.
func concurrent(l *Lowered, calls []*call) (Reached, []string) {
	type span struct {
		at, until int64
		call      *call
	}
	var waited, busy []span
	for _, c := range calls {
		for _, q := range c.requests {
			if q.Answer == evidence.NoSession || !l.Limit.Counts(q.path) || c.Sent < l.From || q.Arrived >= l.Until {
				continue
			}
			ended := q.Ended
			if ended == 0 {
				ended = math.MaxInt64
			}
			busy = append(busy, span{q.Arrived, ended, c})
			waited = append(waited, span{q.Arrived, min(ended, c.Done), c})
		}
	}
	most := func(spans []span) (int64, []*call) {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.at, b.at) })
		var now, at []span
		for _, s := range spans {
			now = slices.DeleteFunc(now, func(o span) bool { return o.until <= s.at })
			if now = append(now, s); len(now) > len(at) {
				at = slices.Clone(now)
			}
		}
		var who []*call
		for _, s := range at {
			who = append(who, s.call)
		}
		return int64(len(at)), who
	}
	n, who := most(waited)
	b, _ := most(busy)
	var lines []string
	for _, c := range who {
		lines = append(lines, line("worker", c.Call))
		for _, q := range c.requests {
			lines = append(lines, line("upstream", q.Request))
		}
	}
	return Reached{Most: n, Busy: b}, lines
}
