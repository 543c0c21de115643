package index

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger/index/store"
)

// UsagePage is a part of an answer about use.
type UsagePage struct {
	Items    []store.Use
	Cursors  []string  // for each item what to give as After to get what follows it
	Next     string    // to be given as After; empty on the last page
	Total    store.Use // of all pages
	From, To time.Time // what was counted, in whole hours; zero: without bound
}

// group is something to group use by.
type group struct {
	expression string // over the columns of lanes, or over hour
	time       bool
	who, what  bool // it needs the principal, or where the call went
}

// ofModels is the condition that a lane goes to a provider of models.
const ofModels = "(action LIKE 'llm.%' OR action IN ('model.list', 'provider.probe'))"

// groups are what Usage can group by.
var groups = map[string]group{
	"customer": {expression: "customer", who: true},
	"team":     {expression: "team", who: true},
	"key":      {expression: "key", who: true},
	"key_id":   {expression: "key_id", who: true},
	"user":     {expression: `"user"`, who: true},
	"action":   {expression: "action", what: true},
	"upstream": {expression: "upstream", what: true},
	"target":   {expression: "target", what: true},
	"server":   {expression: "CASE WHEN " + ofModels + " THEN '' ELSE upstream END", what: true},
	"provider": {expression: "CASE WHEN " + ofModels + " THEN upstream ELSE '' END", what: true},
	"tool":     {expression: "CASE WHEN action = 'tool.call' THEN upstream || '/' || target ELSE '' END", what: true},
	"model":    {expression: "CASE WHEN action LIKE 'llm.%' THEN upstream || '/' || target ELSE '' END", what: true},
	"hour":     {expression: "hour", time: true},
	"day":      {expression: "hour - hour % 24", time: true},
	"month":    {time: true}, // each engine has its own
}

// Groups are what use can be grouped by: server and tool are empty for calls to models, provider and model for others.
func Groups() []string {
	return []string{"customer", "team", "key", "key_id", "user", "model", "provider", "tool", "server", "action", "upstream", "target", "hour", "day", "month"}
}

// Usage sums up use between f's From and To, which count in whole hours (UTC), for the calls that f's fields of principal,
// action, upstream and target match, grouped by some of Groups. Groups of time come in their order; else the most costly
// group comes first, and a page that is asked for while use goes on may have a group again that has moved.
//
// Days and months are those of UTC. What is older than Retain allows has no hours any more: of it whole days are counted.
func (ix *Index) Usage(ctx context.Context, f Filter, by ...string) (UsagePage, error) {
	q, err := newUsageQuery(ix.engine.Dialect(), &f, by)
	if err != nil {
		return UsagePage{}, err
	}
	if err := ix.narrow(ctx, q, &f); err != nil {
		return UsagePage{}, fmt.Errorf("usage: %w", err)
	}
	if err := q.write(&f, by); err != nil {
		return UsagePage{}, err
	}
	page := UsagePage{From: hoursTime(q.from), To: hoursTime(q.to)}
	if page.Items, err = ix.uses(ctx, q.text, q.args, by); err != nil {
		return page, fmt.Errorf("usage: %w", err)
	}
	more := len(page.Items) > q.limit
	page.Items = page.Items[:min(q.limit, len(page.Items))]
	for i := range page.Items {
		u := &page.Items[i]
		c := usageCursor{By: by, Values: slices.Clone(u.Group)}
		if !q.byTime {
			c.Cost, c.Calls = int64(u.Cost), u.Calls
		}
		page.Cursors = append(page.Cursors, c.String())
		spell(u.Group, by)
	}
	switch {
	case more:
		page.Next = page.Cursors[q.limit-1]
	case f.After == "": // all there is
		for i := range page.Items {
			page.Total.Add(&page.Items[i])
		}
		return page, nil
	}
	total, err := ix.uses(ctx, q.total, q.totalArgs, nil)
	if err != nil || len(total) != 1 {
		return page, fmt.Errorf("usage: sum up: %w", err)
	}
	page.Total = total[0]
	return page, nil
}

func hoursTime(hour int64) time.Time {
	if hour == 0 {
		return time.Time{}
	}
	return time.Unix(hour*3600, 0).UTC()
}

// spell writes groups of time as people read them.
func spell(values, by []string) {
	for i, name := range by {
		if !groups[name].time {
			continue
		}
		n, err := strconv.ParseInt(values[i], 10, 64)
		if err != nil {
			continue // a text already
		}
		switch name {
		case "hour":
			values[i] = hoursTime(n).Format(time.RFC3339)
		case "day":
			values[i] = hoursTime(n).Format(time.DateOnly)
		case "month":
			values[i] = fmt.Sprintf("%04d-%02d", n/12, n%12+1)
		}
	}
}

// uses reads the rows of a usage query: the groups, then the sums.
func (ix *Index) uses(ctx context.Context, text string, args []any, by []string) ([]store.Use, error) {
	rows, err := ix.engine.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Use
	for rows.Next() {
		u := store.Use{Group: make([]string, len(by))}
		numbers := make([]int64, len(by))
		var values [8]int64
		var into []any
		for i, name := range by {
			if groups[name].time {
				into = append(into, &numbers[i])
			} else {
				into = append(into, &u.Group[i])
			}
		}
		for i := range values {
			into = append(into, &values[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, name := range by {
			if groups[name].time {
				u.Group[i] = strconv.FormatInt(numbers[i], 10)
			}
		}
		u.Set(values)
		out = append(out, u)
	}
	return out, rows.Err()
}

// usageQuery is a question about use, in SQL.
type usageQuery struct {
	dialect   *store.Dialect
	from, to  int64 // hours; 0: without bound
	byTime    bool
	table     int
	lanes     string // the condition that a row is of the lanes asked for, where they are few
	limit     int
	text      string
	args      []any
	total     string
	totalArgs []any
}

func newUsageQuery(d *store.Dialect, f *Filter, by []string) (*usageQuery, error) {
	q := &usageQuery{dialect: d, limit: PageMax}
	if f.Limit > 0 {
		q.limit = min(f.Limit, PageMax)
	}
	if !f.From.IsZero() {
		q.from = store.HourOf(f.From)
	}
	if !f.To.IsZero() {
		q.to = store.HourOf(f.To.Add(time.Hour - 1))
	}
	if unused := f.unusedByUsage(); unused != "" {
		return nil, wrong("use is not kept by %s: list the calls instead", unused)
	}
	var err error
	q.table, err = q.choose(f, by)
	return q, err
}

// lanesNamed is how many lanes a query names, so that the database goes by them. More are tried row by row.
const lanesNamed = 64

// narrow finds out whether the filter leaves few lanes.
func (ix *Index) narrow(ctx context.Context, q *usageQuery, f *Filter) error {
	who := f.who(q.dialect)
	if len(who.text) == 0 || q.table != store.ByDay {
		return nil
	}
	lanes, err := ix.lanes(ctx, who)
	if err != nil || len(lanes) > lanesNamed {
		return err
	}
	if q.lanes = "1 = 0"; len(lanes) > 0 {
		q.lanes = "lane IN (" + strings.Trim(strings.ReplaceAll(fmt.Sprint(lanes), " ", ", "), "[]") + ")"
	}
	return nil
}

// write writes the query and that of the total.
func (q *usageQuery) write(f *Filter, by []string) error {
	d, who := q.dialect, f.who(q.dialect)
	source, args := q.source(q.table)
	from := " FROM (" + source + ") AS used JOIN " + d.Prefix + "lanes USING (lane)" + who.String()
	args = append(args, who.args...)
	var columns []string
	for _, s := range strings.Split(store.Sums, ", ") {
		columns = append(columns, "COALESCE(CAST(sum("+s+") AS BIGINT), 0) AS "+s)
	}
	q.total, q.totalArgs = "SELECT "+strings.Join(columns, ", ")+from, args
	return q.grouped(f, by, strings.Join(columns, ", "), from, args)
}

// unusedByUsage is a field of f that use cannot be narrowed by.
func (f *Filter) unusedByUsage() string {
	switch {
	case !f.ID.IsZero():
		return "id"
	case !f.Parent.IsZero():
		return "parent"
	case f.Trace != [16]byte{}:
		return "trace"
	case len(f.Kinds) > 0:
		return "kind"
	case f.Outcome != "":
		return "outcome"
	}
	return ""
}

// choose takes the smallest roll-up that has what is asked for.
func (q *usageQuery) choose(f *Filter, by []string) (table int, err error) {
	who := f.Customer+f.Team+f.Key+f.User != ""
	what := f.Action+f.Upstream+f.Target+f.Server+f.Provider+f.Tool+f.Model != ""
	hourly := false
	for i, name := range by {
		g, ok := groups[name]
		if !ok {
			return 0, wrong("usage by %q: one or more of %s", name, strings.Join(Groups(), ", "))
		}
		if slices.Contains(by[:i], name) {
			return 0, wrong("usage by %s twice", name)
		}
		q.byTime = q.byTime || g.time
		who, what, hourly = who || g.who, what || g.what, hourly || name == "hour"
	}
	switch {
	case hourly:
		return store.ByHour, nil
	case who && what:
		return store.ByDay, nil
	case what:
		return store.ByWhat, nil
	}
	return store.ByWho, nil
}

// source is the rows to be summed up: of whole days from a roll-up by day, of the hours at both ends from that by hour.
func (q *usageQuery) source(table int) (text string, args []any) {
	type part struct {
		table    int
		from, to int64
	}
	first, last := store.DayOf(q.from+store.HoursPerDay-1), store.DayOf(q.to)
	var parts []part
	switch {
	case table == store.ByHour, q.from > 0 && q.to > 0 && first >= last:
		parts = []part{{store.ByHour, q.from, q.to}}
	default:
		parts = []part{{table, first, last}}
		if q.from != first {
			parts = append(parts, part{store.ByHour, q.from, first})
		}
		if q.to != last {
			parts = append(parts, part{store.ByHour, last, q.to})
		}
	}
	var texts []string
	for _, p := range parts {
		w := &where{dialect: q.dialect}
		if p.from > 0 {
			w.and("hour >= ?", p.from)
		}
		if p.to > 0 {
			w.and("hour < ?", p.to)
		}
		if q.lanes != "" {
			w.and(q.lanes)
		}
		texts = append(texts, "SELECT hour, lane, "+store.Sums+" FROM "+q.dialect.Prefix+store.RollupTables[p.table]+w.String())
		args = append(args, w.args...)
	}
	return strings.Join(texts, " UNION ALL "), args
}

// grouped writes the query of one page.
func (q *usageQuery) grouped(f *Filter, by []string, columns, from string, args []any) error {
	var expressions, names []string
	for i, name := range by {
		e := groups[name].expression
		if name == "month" {
			e = q.dialect.Month
		}
		names = append(names, fmt.Sprint("g", i))
		expressions = append(expressions, e+" AS "+names[i]+", ")
	}
	inner := "SELECT " + strings.Join(expressions, "") + columns + from
	if len(by) > 0 {
		inner += " GROUP BY " + strings.Join(names, ", ")
	}
	w := &where{dialect: q.dialect, args: args}
	order := append([]string{"cost DESC", "calls DESC"}, names...)
	if q.byTime {
		order = names
	}
	if f.After != "" {
		if err := q.after(w, f.After, by, names); err != nil {
			return err
		}
	}
	q.text = fmt.Sprintf("SELECT %s FROM (%s) AS groups%s ORDER BY %s LIMIT %d",
		strings.Join(append(names, store.Sums), ", "), inner, w, strings.Join(order, ", "), q.limit+1)
	q.args = w.args
	return nil
}

// after restricts a query to what comes after a cursor.
func (q *usageQuery) after(w *where, cursor string, by, names []string) error {
	c, err := readUsageCursor(cursor, by)
	if err != nil {
		return err
	}
	values, err := c.arguments()
	if err != nil {
		return err
	}
	beyond := "(" + strings.Join(names, ", ") + ") > (" + store.Marks(len(names)) + ")"
	switch {
	case len(by) == 0:
		w.and("1 = 0")
	case q.byTime:
		w.and(beyond, values...)
	default:
		w.and("(cost < ? OR cost = ? AND (calls < ? OR calls = ? AND "+beyond+"))", append([]any{c.Cost, c.Cost, c.Calls, c.Calls}, values...)...)
	}
	return nil
}
