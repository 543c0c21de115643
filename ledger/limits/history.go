package limits

import (
	"slices"
	"time"
)

// Amounts is what a call holds or used, in all that limits count.
type Amounts struct {
	Nano, Tokens, Calls int64
}

// Add adds b, without overflow.
func (a *Amounts) Add(b Amounts) {
	a.Nano = AddSat(a.Nano, b.Nano)
	a.Tokens = AddSat(a.Tokens, b.Tokens)
	a.Calls = AddSat(a.Calls, b.Calls)
}

// IsZero reports whether nothing was used.
func (a Amounts) IsZero() bool { return a == Amounts{} }

// Row is what was used by calls reserved within a span of time.
type Row struct {
	At   int64 // Unix seconds of its start
	Span int64 // seconds
	Amounts
}

// History is what was used over time, so fine that any window can be filled from it when a limit appears: rows of a
// second for the last minute, of a minute for the last hour, of a quarter for the last day, of an hour for the last
// week, of a calendar month for the last year. A row never crosses midnight, so calendar windows come out exactly; a
// sliding window comes out at most one row's span too full, never too empty.
type History struct {
	Rows      []Row // by time
	compactAt int   // compact when there are so many
}

// tiers says up to which age, in seconds, rows have which span. Each is a little longer than the window it serves.
var tiers = [...]struct{ age, span int64 }{
	{62, 1},
	{3600 + 120, 60},
	{24*3600 + 1800, 900},
	{7*24*3600 + 3*3600, hourSpan},
}

const (
	// hourSpan is the longest span of a row that a sliding window may still look at.
	hourSpan = 3600
	// historyAgeMax is the longest window and a month, whose start a row of a month may bear.
	historyAgeMax = (366 + 31) * 24 * 3600
	compactRows   = 64
)

// Add puts Amounts into the row of the second at, seen at now (both Unix seconds).
func (h *History) Add(at, now int64, a Amounts, loc *time.Location) {
	if a.IsZero() {
		return
	}
	i := len(h.Rows)
	for i > 0 && h.Rows[i-1].At > at {
		i--
	}
	if i > 0 && h.Rows[i-1].At == at && h.Rows[i-1].Span == 1 {
		h.Rows[i-1].Add(a)
		return
	}
	h.Rows = slices.Insert(h.Rows, i, Row{at, 1, a})
	if len(h.Rows) >= max(h.compactAt, compactRows) {
		h.compact(now, loc)
		h.compactAt = 2 * len(h.Rows)
	}
}

// compact merges rows into the spans of their age and drops those older than any window.
func (h *History) compact(now int64, loc *time.Location) {
	kept := h.Rows[:0]
	for _, r := range h.Rows {
		age := now - r.At
		if age > historyAgeMax {
			continue
		}
		at, span := spanOf(r.At, age, loc)
		if span > r.Span {
			r.At, r.Span = at, span
		}
		if n := len(kept); n > 0 && kept[n-1].At == r.At && kept[n-1].Span == r.Span {
			kept[n-1].Add(r.Amounts)
			continue
		}
		kept = append(kept, r)
	}
	h.Rows = kept
}

// spanOf returns the row that a time of some age belongs to. Rows are those of the local clock, whose minutes may begin at
// other seconds than those of UTC, so that none crosses midnight.
func spanOf(at, age int64, loc *time.Location) (start, span int64) {
	for _, t := range tiers {
		if age <= t.age {
			if t.span == 1 {
				return at, t.span
			}
			local := time.Unix(at, 0).In(loc)
			past := int64(local.Minute()*60+local.Second()) % t.span
			return at - past, t.span
		}
	}
	from, to := Month.period(time.Unix(at, 0), loc)
	return from.Unix(), to.Unix() - from.Unix()
}

// Restore makes rows that were stored the history again.
func (h *History) Restore(rows []Row) {
	h.Rows, h.compactAt = rows, 2*len(rows)
}
