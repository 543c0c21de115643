package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// usageKey is what use is summed up by.
type usageKey struct {
	hour int64 // Unix hours
	lane lane
}

// Use is what calls used. Group holds the values of the columns it is grouped by, in their order.
type Use struct {
	Group     []string    `json:"group"`
	Calls     int64       `json:"calls"`  // that left, tools and models alike
	Denied    int64       `json:"denied"` // refusals
	Failed    int64       `json:"failed"` // that left and got no whole good answer
	Cost      ledger.Nano `json:"cost"`
	Estimated ledger.Nano `json:"estimated"` // the part of cost that is an estimate
	Tokens    int64       `json:"tokens"`
	Input     int64       `json:"input_tokens"` // cached ones included
	Output    int64       `json:"output_tokens"`
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// use adds an end or a refusal to the hour its call was reserved in.
func (b *batch) use(hour int64, e *ledger.Entry) {
	if e.Kind == ledger.Voided {
		return
	}
	k := usageKey{hour, laneOf(e)}
	u := b.usage[k]
	if u == nil {
		u = &Use{}
		b.usage[k] = u
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

// groups are the columns that Usage can group by.
var groups = []string{"customer", "team", "key", "key_id", "user", "action", "upstream", "target"}

// Usage sums up use between f's From and To, which count in whole hours (UTC), for the calls that f's other fields of
// principal, action, upstream and target match. It groups by columns among customer, team, key, key_id, user, action,
// upstream and target; the most costly group comes first.
func (ix *Index) Usage(ctx context.Context, f Filter, by ...string) ([]Use, error) {
	for _, column := range by {
		if !slices.Contains(groups, column) {
			return nil, fmt.Errorf("usage by %q: one of %s", column, strings.Join(groups, ", "))
		}
	}
	w := f.who()
	if !f.From.IsZero() {
		w.and("hour >= ?", hourOf(f.From))
	}
	if !f.To.IsZero() {
		w.and("hour < ?", hourOf(f.To.Add(time.Hour-1)))
	}
	columns := strings.Join(append(slices.Clone(by), "sum(calls)", "sum(denied)", "sum(failed)", "sum(cost)", "sum(estimated)", "sum(tokens)", "sum(input)", "sum(output)"), ", ")
	query := "SELECT " + columns + " FROM usage JOIN lanes USING (lane)" + w.String()
	if len(by) > 0 {
		query += " GROUP BY " + strings.Join(by, ", ")
	}
	rows, err := ix.read.QueryContext(ctx, query+" ORDER BY sum(cost) DESC, sum(calls) DESC", w.args...)
	if err != nil {
		return nil, fmt.Errorf("usage: %w", err)
	}
	defer rows.Close()
	var out []Use
	for rows.Next() {
		u := Use{Group: make([]string, len(by))}
		var sums [8]sql.NullInt64
		var into []any
		for i := range u.Group {
			into = append(into, &u.Group[i])
		}
		for i := range sums {
			into = append(into, &sums[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("usage: %w", err)
		}
		n := func(i int) int64 { return sums[i].Int64 }
		u.Calls, u.Denied, u.Failed, u.Cost, u.Estimated = n(0), n(1), n(2), ledger.Nano(n(3)), ledger.Nano(n(4))
		u.Tokens, u.Input, u.Output = n(5), n(6), n(7)
		out = append(out, u)
	}
	return out, rows.Err()
}
