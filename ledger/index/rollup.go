package index

import (
	"cmp"
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// usageKey is what use is summed up by first.
type usageKey struct {
	hour int64 // Unix hours
	lane lane
}

// Use is what calls used.
type Use struct {
	Group     []string    `json:"-"`      // the values of what it is grouped by, in that order
	Calls     int64       `json:"calls"`  // that left, tools and models alike
	Denied    int64       `json:"denied"` // refusals
	Failed    int64       `json:"failed"` // that left and got no whole good answer
	Cost      ledger.Nano `json:"cost"`
	Estimated ledger.Nano `json:"estimated"` // the part of cost that is an estimate
	Tokens    int64       `json:"tokens"`
	Input     int64       `json:"input_tokens"` // cached ones included
	Output    int64       `json:"output_tokens"`
}

// sums are the columns of a roll-up, in their order.
const sums = "calls, denied, failed, cost, estimated, tokens, input, output"

func (u *Use) values() [8]int64 {
	return [...]int64{u.Calls, u.Denied, u.Failed, int64(u.Cost), int64(u.Estimated), u.Tokens, u.Input, u.Output}
}

func (u *Use) set(v [8]int64) {
	u.Calls, u.Denied, u.Failed, u.Cost, u.Estimated = v[0], v[1], v[2], ledger.Nano(v[3]), ledger.Nano(v[4])
	u.Tokens, u.Input, u.Output = v[5], v[6], v[7]
}

func (u *Use) add(v *Use) {
	u.Calls += v.Calls
	u.Denied += v.Denied
	u.Failed += v.Failed
	u.Cost += v.Cost
	u.Estimated += v.Estimated
	u.Tokens += v.Tokens
	u.Input += v.Input
	u.Output += v.Output
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// hoursPerDay turns an hour into the first hour of its day, UTC: roll-ups by day are kept by that.
const hoursPerDay = 24

func dayOf(hour int64) int64 { return hour - hour%hoursPerDay }

// use adds an end or a refusal to the hour its call was reserved in.
func use(sums map[usageKey]*Use, hour int64, e *ledger.Entry) {
	if e.Kind == ledger.Voided {
		return
	}
	k := usageKey{hour, laneOf(e)}
	u := sums[k]
	if u == nil {
		u = &Use{}
		sums[k] = u
	}
	if e.Kind == ledger.Denied {
		u.Denied += max(1, e.Quantities.Calls)
		return
	}
	q := &e.Quantities
	u.Calls++
	if e.Status != ledger.OK {
		u.Failed++
	}
	u.Cost += e.Cost
	if e.Estimated {
		u.Estimated += e.Cost
	}
	u.Tokens += q.Tokens()
	u.Input += q.InputTokens + q.CacheReadTokens + q.CacheWriteTokens + q.CacheWrite1hTokens + q.AudioInputTokens
	u.Output += q.OutputTokens + q.ReasoningTokens + q.AudioOutputTokens + q.ImageTokens
}

// The roll-ups: by hour, which goes with the calls, and three by day, which stay. usage_who knows no targets and
// usage_what no principals, so that what a team spent in a year is read without the thousands of targets it spent it on.
const (
	byHour = iota
	byDay
	byWho
	byWhat
	rollups
)

// rollupTables are the tables of the roll-ups.
var rollupTables = [rollups]string{"usage", "usage_days", "usage_who", "usage_what"}

// rolled is a row to be added to a roll-up.
type rolled struct {
	hour int64
	lane int64
	Use
}

// laneNumbers are the numbers of a lane, of its principal alone and of where it went alone.
type laneNumbers struct{ lane, who, what int64 }

// ended is an end whose reservation was stored before, in that hour.
type ended struct {
	hour  int64
	entry *ledger.Entry
}

// roll sums up the use of the batch, with the ends it has of earlier calls, for each roll-up in the order of its key: two
// feeds that add to one table then wait for each other and never in a circle.
func (b *batch) roll(ends []ended, number func(*lane) (laneNumbers, error)) (out [rollups][]rolled, err error) {
	all := b.usage
	if len(ends) > 0 {
		late := map[usageKey]*Use{}
		for _, e := range ends {
			use(late, e.hour, e.entry)
		}
		for k, u := range all {
			if v := late[k]; v != nil {
				v.add(u)
			} else {
				late[k] = u
			}
		}
		all = late
	}
	type place struct{ hour, lane int64 }
	var tables [rollups]map[place]*Use
	for i := range tables {
		tables[i] = make(map[place]*Use, len(all))
	}
	for k, u := range all {
		n, err := number(&k.lane)
		if err != nil {
			return out, err
		}
		for i, p := range [rollups]place{{k.hour, n.lane}, {dayOf(k.hour), n.lane}, {dayOf(k.hour), n.who}, {dayOf(k.hour), n.what}} {
			if tables[i][p] == nil {
				tables[i][p] = &Use{}
			}
			tables[i][p].add(u)
		}
	}
	for i, t := range tables {
		out[i] = make([]rolled, 0, len(t))
		for p, u := range t {
			out[i] = append(out[i], rolled{p.hour, p.lane, *u})
		}
		slices.SortFunc(out[i], func(a, b rolled) int { return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.lane, b.lane)) })
	}
	return out, nil
}
