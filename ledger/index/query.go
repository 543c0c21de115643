package index

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/store"
)

const (
	pageDefault = 100
	// PageMax bounds a page, and so the memory of a query.
	PageMax = 1000
	// lanesMerged is how many lanes are looked through one by one: each costs a look into an index. A filter that more of
	// them match is so wide that going through all calls by time soon fills a page.
	lanesMerged = 2000
)

// Filter says which calls to list. Zero fields do not restrict. The texts may hold *, which stands for any text.
type Filter struct {
	From, To time.Time // reserved or refused at From or later, before To; to the millisecond

	ID     ledger.ID      // the call
	Trace  ledger.TraceID // all calls of one trace
	Parent ledger.ID      // all calls made under one call

	Kinds                     []ledger.Kind // as Call has it: reserved means under way
	Outcome                   string
	Customer, Team, Key, User string // Key is a key's name or its id
	Action, Upstream, Target  string
	Server, Provider          string // an Upstream of that sort
	Tool, Model               string // as SERVER/TOOL and PROVIDER/MODEL

	OldestFirst bool
	Limit       int    // calls on a page; 0: 100, at most 1,000
	After       string // the Next of the page before
}

// Page is a part of an answer.
type Page[T any] struct {
	Items   []T
	Cursors []string // for each item what to give as After so that nothing behind it is missed
	Next    string   // to be given as After; empty on the last page
}

// Call is a call as people want to see it: its reservation with, once it has ended, its end in the same line. Kind is
// posted, voided, reserved (under way) or denied; lines that are not about a call have their own kind.
type Call struct {
	ledger.Entry
	Ended time.Time // zero: under way, or never left
}

// Calls lists calls by time. Errors are a *FilterError for what is asked wrongly, or of the database.
func (ix *Index) Calls(ctx context.Context, f Filter) (Page[Call], error) {
	return list(ctx, ix, f, func(entries []ledger.Entry) []Call { return []Call{joined(entries)} })
}

// Entries lists the single entries of the calls that f matches: each reservation, its extensions, its end. f.Limit
// counts calls.
func (ix *Index) Entries(ctx context.Context, f Filter) (Page[ledger.Entry], error) {
	return list(ctx, ix, f, func(entries []ledger.Entry) []ledger.Entry { return entries })
}

// joined puts a reservation and what followed it into one.
func joined(entries []ledger.Entry) Call {
	c := Call{Entry: entries[0]}
	if c.Ends() { // its reservation is gone by age
		c.Ended = c.Time
	}
	for i := range entries[1:] {
		e := &entries[1+i]
		switch {
		case e.Extends():
			c.Hold += e.Hold
			c.HoldTokens += e.HoldTokens
		case e.Ends():
			c.Kind, c.Ended = e.Kind, e.Time
			c.Cost, c.Quantities, c.Estimated = e.Cost, e.Quantities, e.Estimated
			c.Status, c.Code, c.Latency, c.Detail = e.Status, e.Code, e.Latency, e.Detail
			c.Result, c.Payload = e.Result, e.Payload
		}
	}
	return c
}

// stored is a call as the database has it.
type stored struct {
	store.Place
	payloads []byte
}

func list[T any](ctx context.Context, ix *Index, f Filter, items func([]ledger.Entry) []T) (Page[T], error) {
	var page Page[T]
	limit := f.Limit
	if limit <= 0 {
		limit = pageDefault
	}
	limit = min(limit, PageMax)
	calls, err := ix.find(ctx, &f, limit+1)
	if err != nil {
		return page, fmt.Errorf("list calls: %w", err)
	}
	more := len(calls) > limit
	if more {
		calls = calls[:limit]
	}
	before := f.After
	for i := range calls {
		entries, err := store.ParsePayloads(calls[i].payloads)
		if err != nil {
			return page, fmt.Errorf("list calls: %w", err)
		}
		after := cursorAfter(calls[i].Place, f.OldestFirst)
		for of := items(entries); len(of) > 0; of = of[1:] {
			if len(of) == 1 { // only with the last one is the call complete
				before = after
			}
			page.Items, page.Cursors = append(page.Items, of[0]), append(page.Cursors, before)
		}
	}
	if more {
		page.Next = before
	}
	return page, nil
}

// find reads the first calls that f matches.
func (ix *Index) find(ctx context.Context, f *Filter, limit int) ([]stored, error) {
	d := ix.engine.Dialect()
	w, narrow, err := f.where(d)
	if err != nil {
		return nil, err
	}
	if who := f.who(d); len(who.text) > 0 {
		lanes, err := ix.lanes(ctx, who)
		switch {
		case err != nil:
			return nil, err
		case len(lanes) == 0:
			return nil, nil
		case len(lanes) <= lanesMerged && !narrow:
			by := d.Indexes.Lane
			if f.unlike() {
				by = d.Indexes.UnlikeLane
			}
			return ix.merge(ctx, w, by, lanes, f.OldestFirst, limit)
		}
		// The sign keeps the database from going by lane.
		w.and("+lane IN (SELECT lane FROM "+d.Prefix+"lanes"+who.String()+")", who.args...)
	}
	from := d.Prefix + "calls"
	switch {
	case f.open() && !f.called():
		from += d.Indexes.Open
	case f.unlike() && !narrow:
		from += d.Indexes.Unlike
	}
	return ix.read(ctx, fmt.Sprintf("SELECT at, %s, entries FROM %s%s ORDER BY %s LIMIT %d", d.Feed, from, w, d.Order(f.OldestFirst), limit), w.args)
}

func (ix *Index) read(ctx context.Context, text string, args []any) ([]stored, error) {
	rows, err := ix.engine.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []stored
	for rows.Next() {
		var s stored
		if err := rows.Scan(&s.At, &s.Feed, &s.payloads); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// lanes are the numbers of the lanes that match, some more than lanesMerged at most.
func (ix *Index) lanes(ctx context.Context, who *where) ([]int64, error) {
	rows, err := ix.engine.Query(ctx, fmt.Sprintf("SELECT lane FROM %slanes%s LIMIT %d", who.dialect.Prefix, who, lanesMerged+1), who.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var lane int64
		if err := rows.Scan(&lane); err != nil {
			return nil, err
		}
		out = append(out, lane)
	}
	return out, rows.Err()
}

// merge reads the first calls of some lanes. Each lane is asked for those that come before the last of what is found
// already, so that all lanes together read little more than one page.
func (ix *Index) merge(ctx context.Context, w *where, by string, lanes []int64, oldest bool, limit int) ([]stored, error) {
	d := w.dialect
	var found []store.Place
	for n := d.LanesAtOnce; len(lanes) > 0; n *= d.LanesAtOnce {
		part := lanes[:min(n, len(lanes))]
		lanes = lanes[len(part):]
		within := where{dialect: d, text: slices.Clone(w.text), args: slices.Concat([]any{d.LaneArgument(part)}, w.args)}
		if len(found) == limit {
			condition, args := d.Beyond(found[limit-1], !oldest)
			within.and(condition, args...)
		}
		conditions := ""
		for _, c := range within.text {
			conditions += " AND " + c
		}
		more, err := ix.places(ctx, fmt.Sprintf(d.OfLanes, by, conditions, d.Order(oldest), limit), within.args)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
		slices.SortFunc(found, func(a, b store.Place) int {
			if oldest {
				return a.Compare(b)
			}
			return b.Compare(a)
		})
		found = found[:min(limit, len(found))]
	}
	if len(found) == 0 {
		return nil, nil
	}
	calls, err := ix.read(ctx, d.OfPlaces(len(found)), d.PlaceArguments(found))
	slices.SortFunc(calls, func(a, b stored) int {
		if oldest {
			return a.Compare(b.Place)
		}
		return b.Compare(a.Place)
	})
	return calls, err
}

func (ix *Index) places(ctx context.Context, text string, args []any) ([]store.Place, error) {
	rows, err := ix.engine.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Place
	for rows.Next() {
		var p store.Place
		if err := rows.Scan(&p.At, &p.Feed); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// who restricts the columns of lanes.
func (f *Filter) who(d *store.Dialect) *where {
	w := &where{dialect: d}
	for _, m := range []struct{ group, text string }{
		{"customer", f.Customer}, {"team", f.Team}, {"user", f.User}, {"action", f.Action}, {"upstream", f.Upstream}, {"target", f.Target},
		{"server", f.Server}, {"provider", f.Provider}, {"tool", f.Tool}, {"model", f.Model},
	} {
		w.match(groups[m.group].expression, m.text)
	}
	if f.Key != "" {
		condition, name := d.Matches("key", f.Key)
		w.and("("+condition+" OR key_id = ?)", name, d.Text(f.Key))
	}
	return w
}

// called reports whether f names calls.
func (f *Filter) called() bool {
	return !f.ID.IsZero() || f.Trace != (ledger.TraceID{}) || !f.Parent.IsZero()
}

// open reports whether f is for calls under way.
func (f *Filter) open() bool { return len(f.Kinds) == 1 && f.Kinds[0] == ledger.Reserved }

// unlike reports whether no call that simply went well can match.
func (f *Filter) unlike() bool {
	return len(f.Kinds) > 0 && !slices.Contains(f.Kinds, ledger.Posted) ||
		f.Outcome != "" && f.Outcome != string(ledger.OK) && !slices.Contains([]byte(f.Outcome), '*')
}

// where restricts the columns of calls, and reports whether that leaves few.
func (f *Filter) where(d *store.Dialect) (w *where, narrow bool, err error) {
	w = &where{dialect: d}
	if !f.From.IsZero() {
		w.and("at >= ?", store.AtFrom(f.From))
	}
	if !f.To.IsZero() {
		w.and("at < ?", store.AtFrom(f.To))
	}
	if f.After != "" {
		p, err := readCursor(f.After, f.OldestFirst)
		if err != nil {
			return nil, false, err
		}
		condition, args := d.Beyond(p, f.OldestFirst)
		w.and(condition, args...)
	}
	if !f.ID.IsZero() {
		w.and("id = ?", d.ID(f.ID))
	}
	if f.Trace != (ledger.TraceID{}) {
		condition, args := d.OfTrace(f.Trace)
		w.and(condition, args...)
	}
	if !f.Parent.IsZero() {
		w.and("parent = ?", d.ID(f.Parent))
	}
	if f.unlike() {
		w.and(store.Unlike)
	}
	if f.open() {
		w.and(store.Open)
	}
	if len(f.Kinds) > 0 {
		args := make([]any, len(f.Kinds))
		for i, k := range f.Kinds {
			args[i] = int64(k)
		}
		w.and("kind IN ("+store.Marks(len(args))+")", args...)
	}
	w.match("outcome", f.Outcome)
	return w, f.called() || f.open(), nil
}
