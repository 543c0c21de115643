package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// usageKey is what use is summed up by first.
type usageKey struct {
	hour int64 // Unix hours
	lane Lane
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

// Sums are the columns of a roll-up, in their order.
const Sums = "calls, denied, failed, cost, estimated, tokens, input, output"

// Values are the sums, in the order of Sums.
func (u *Use) Values() [8]int64 {
	return [...]int64{u.Calls, u.Denied, u.Failed, int64(u.Cost), int64(u.Estimated), u.Tokens, u.Input, u.Output}
}

// Set sets what Values returned.
func (u *Use) Set(v [8]int64) {
	u.Calls, u.Denied, u.Failed, u.Cost, u.Estimated = v[0], v[1], v[2], ledger.Nano(v[3]), ledger.Nano(v[4])
	u.Tokens, u.Input, u.Output = v[5], v[6], v[7]
}

// Add adds what v has to the sums.
func (u *Use) Add(v *Use) {
	u.Calls += v.Calls
	u.Denied += v.Denied
	u.Failed += v.Failed
	u.Cost += v.Cost
	u.Estimated += v.Estimated
	u.Tokens += v.Tokens
	u.Input += v.Input
	u.Output += v.Output
}

// HourOf is the hour that t is in, since 1970.
func HourOf(t time.Time) int64 { return t.Unix() / 3600 }

// HoursPerDay turns an hour into the first hour of its day, UTC: roll-ups by day are kept by that.
const HoursPerDay = 24

// DayOf is the first hour of the UTC day that an hour is in.
func DayOf(hour int64) int64 { return hour - hour%HoursPerDay }

// use adds an end or a refusal to the hour its call was reserved in.
func use(sums map[usageKey]*Use, hour int64, e *ledger.Entry) {
	if e.Kind == ledger.Voided {
		return
	}
	k := usageKey{hour, LaneOf(e)}
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
	ByHour = iota
	ByDay
	ByWho
	ByWhat
	Rollups
)

// RollupTables are the tables of the roll-ups.
var RollupTables = [Rollups]string{"usage", "usage_days", "usage_who", "usage_what"}

// Rolled is a row to be added to a roll-up.
type Rolled struct {
	Hour int64
	Lane int64
	Use
}

// LaneNumbers are the numbers of a lane, of its principal alone and of where it went alone.
type LaneNumbers struct{ Lane, Who, What int64 }

// Ended is an end whose reservation was stored before, in that hour.
type Ended struct {
	Hour  int64
	Entry *ledger.Entry
}

// Roll sums up the use of the batch, with the ends it has of earlier calls, for each roll-up in the order of its key: two
// feeds that add to one table then wait for each other and never in a circle.
func (b *Batch) Roll(ends []Ended, number func(*Lane) (LaneNumbers, error)) (out [Rollups][]Rolled, err error) {
	all := b.usage
	if len(ends) > 0 {
		late := map[usageKey]*Use{}
		for _, e := range ends {
			use(late, e.Hour, e.Entry)
		}
		for k, u := range all {
			if v := late[k]; v != nil {
				v.Add(u)
			} else {
				late[k] = u
			}
		}
		all = late
	}
	type place struct{ hour, lane int64 }
	var tables [Rollups]map[place]*Use
	for i := range tables {
		tables[i] = make(map[place]*Use, len(all))
	}
	for k, u := range all {
		n, err := number(&k.lane)
		if err != nil {
			return out, err
		}
		for i, p := range [Rollups]place{{k.hour, n.Lane}, {DayOf(k.hour), n.Lane}, {DayOf(k.hour), n.Who}, {DayOf(k.hour), n.What}} {
			if tables[i][p] == nil {
				tables[i][p] = &Use{}
			}
			tables[i][p].Add(u)
		}
	}
	for i, t := range tables {
		out[i] = make([]Rolled, 0, len(t))
		for p, u := range t {
			out[i] = append(out[i], Rolled{p.hour, p.lane, *u})
		}
		slices.SortFunc(out[i], func(a, b Rolled) int { return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Lane, b.Lane)) })
	}
	return out, nil
}
