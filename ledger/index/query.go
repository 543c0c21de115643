package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

const (
	pageDefault = 100
	// pageMax bounds a page, and so the memory of a query.
	pageMax = 1000
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

	OldestFirst bool
	Limit       int    // calls on a page; 0: 100, at most 1,000
	After       string // the Next of the page before
}

// Page is a part of an answer.
type Page[T any] struct {
	Items []T
	Next  string // to be given as After; empty on the last page
}

// Call is a call as people want to see it: its reservation with, once it has ended, its end in the same line. Kind is
// posted, voided, reserved (under way) or denied; lines that are not about a call have their own kind.
type Call struct {
	ledger.Entry
	Ended time.Time // zero: under way, or never left
}

// Calls lists calls by time.
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
		}
	}
	return c
}

func list[T any](ctx context.Context, ix *Index, f Filter, items func([]ledger.Entry) []T) (Page[T], error) {
	var page Page[T]
	w, err := f.where()
	if err != nil {
		return page, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = pageDefault
	}
	limit = min(limit, pageMax)
	order := "DESC"
	if f.OldestFirst {
		order = "ASC"
	}
	rows, err := ix.read.QueryContext(ctx, fmt.Sprintf("SELECT at, entries FROM calls%s ORDER BY at %s LIMIT %d", w, order, limit+1), w.args...)
	if err != nil {
		return page, fmt.Errorf("list calls: %w", err)
	}
	defer rows.Close()
	var last int64
	for n := 0; rows.Next(); n++ {
		if n == limit {
			page.Next = strconv.FormatInt(last, 36)
			break
		}
		var payloads []byte
		if err := rows.Scan(&last, &payloads); err != nil {
			return page, fmt.Errorf("list calls: %w", err)
		}
		entries, err := parsePayloads(payloads)
		if err != nil {
			return page, fmt.Errorf("list calls: %w", err)
		}
		page.Items = append(page.Items, items(entries)...)
	}
	return page, rows.Err()
}

var errPayloads = errors.New("a row of the index is damaged: remove index.db, and it is made again")

// parsePayloads reads the entries of a row.
func parsePayloads(b []byte) ([]ledger.Entry, error) {
	var out []ledger.Entry
	for len(b) > 0 {
		seq, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errPayloads
		}
		writer, rest, err := sized(b[n:])
		if err != nil {
			return nil, err
		}
		wire, rest, err := sized(rest)
		if err != nil {
			return nil, err
		}
		e, err := ledger.DecodeEntry(wire)
		if err != nil {
			return nil, err
		}
		e.Seq, e.Writer = seq, string(writer)
		out = append(out, e)
		b = rest
	}
	if len(out) == 0 {
		return nil, errPayloads
	}
	return out, nil
}

// sized reads bytes behind their length.
func sized(b []byte) (part, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, errPayloads
	}
	return b[n : n+int(length)], b[n+int(length):], nil
}

// where is a condition under construction.
type where struct {
	text []string
	args []any
}

func (w *where) and(condition string, args ...any) {
	w.text = append(w.text, condition)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.text) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.text, " AND ")
}

// match restricts a column of text, when there is something to restrict it to.
func (w *where) match(column, text string) {
	switch {
	case text == "":
	case strings.Contains(text, "*"):
		w.and(column+" GLOB ?", globOf(text))
	default:
		w.and(column+" = ?", text)
	}
}

// globOf is text as SQLite's GLOB takes it, with * as the only letter of special meaning.
func globOf(text string) string {
	return strings.NewReplacer("[", "[[]", "?", "[?]").Replace(text)
}

// who restricts the columns of lanes.
func (f *Filter) who() *where {
	w := &where{}
	w.match("customer", f.Customer)
	w.match("team", f.Team)
	if f.Key != "" {
		k := &where{}
		k.match("key", f.Key)
		w.and("("+k.text[0]+" OR key_id = ?)", k.args[0], f.Key)
	}
	w.match("user", f.User)
	w.match("action", f.Action)
	w.match("upstream", f.Upstream)
	w.match("target", f.Target)
	return w
}

// ofTrace looks a trace up in each block.
const ofTrace = `at IN (
WITH RECURSIVE blocks(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM blocks WHERE n < (SELECT number >> ? FROM cursor))
SELECT traced.at FROM blocks CROSS JOIN calls AS traced ON traced.block = blocks.n AND traced.trace = ?)`

func (f *Filter) where() (*where, error) {
	w := &where{}
	if who := f.who(); len(who.text) > 0 {
		w.and("lane IN (SELECT lane FROM lanes"+who.String()+")", who.args...)
	}
	if !f.From.IsZero() {
		w.and("at >= ?", f.From.UnixMilli()<<numberBits)
	}
	if !f.To.IsZero() {
		w.and("at < ?", f.To.UnixMilli()<<numberBits)
	}
	if f.After != "" {
		at, err := strconv.ParseInt(f.After, 36, 64)
		if err != nil {
			return nil, fmt.Errorf("page %q is not one that was given out", f.After)
		}
		if f.OldestFirst {
			w.and("at > ?", at)
		} else {
			w.and("at < ?", at)
		}
	}
	if !f.ID.IsZero() {
		w.and("id = ?", f.ID[:])
	}
	if f.Trace != (ledger.TraceID{}) {
		w.and(ofTrace, blockBits, f.Trace[:])
	}
	if !f.Parent.IsZero() {
		w.and("parent = ?", f.Parent[:])
	}
	if len(f.Kinds) > 0 {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(f.Kinds)), ", ")
		args := make([]any, len(f.Kinds))
		for i, k := range f.Kinds {
			args[i] = uint8(k)
		}
		w.and("kind IN ("+marks+")", args...)
	}
	w.match("outcome", f.Outcome)
	return w, nil
}
