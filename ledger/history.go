package ledger

import (
	"slices"
	"time"
)

// amounts is what a call holds or used, in all that limits count.
type amounts struct {
	nano, tokens, calls int64
}

func (a *amounts) add(b amounts) {
	a.nano = addSat(a.nano, b.nano)
	a.tokens = addSat(a.tokens, b.tokens)
	a.calls = addSat(a.calls, b.calls)
}

func (a amounts) isZero() bool { return a == amounts{} }

// row is what was used by calls reserved within a span of time.
type row struct {
	at   int64 // Unix seconds of its start
	span int64 // seconds
	amounts
}

// history is what was used over time, so fine that any window can be filled from it when a limit appears: rows of a
// second for the last minute, of a minute for the last hour, of a quarter for the last day, of an hour for the last
// week, of a calendar month for the last year. A row never crosses midnight, so calendar windows come out exactly; a
// sliding window comes out at most one row's span too full, never too empty.
type history struct {
	rows      []row // by time
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

// add puts amounts into the row of the second at, seen at now (both Unix seconds).
func (h *history) add(at, now int64, a amounts, loc *time.Location) {
	if a.isZero() {
		return
	}
	i := len(h.rows)
	for i > 0 && h.rows[i-1].at > at {
		i--
	}
	if i > 0 && h.rows[i-1].at == at && h.rows[i-1].span == 1 {
		h.rows[i-1].add(a)
		return
	}
	h.rows = slices.Insert(h.rows, i, row{at, 1, a})
	if len(h.rows) >= max(h.compactAt, compactRows) {
		h.compact(now, loc)
		h.compactAt = 2 * len(h.rows)
	}
}

// compact merges rows into the spans of their age and drops those older than any window.
func (h *history) compact(now int64, loc *time.Location) {
	kept := h.rows[:0]
	for _, r := range h.rows {
		age := now - r.at
		if age > historyAgeMax {
			continue
		}
		at, span := spanOf(r.at, age, loc)
		if span > r.span {
			r.at, r.span = at, span
		}
		if n := len(kept); n > 0 && kept[n-1].at == r.at && kept[n-1].span == r.span {
			kept[n-1].add(r.amounts)
			continue
		}
		kept = append(kept, r)
	}
	h.rows = kept
}

// spanOf returns the row that a time of some age belongs to. Rows of quarters and hours are those of the local clock, so
// that none crosses midnight.
func spanOf(at, age int64, loc *time.Location) (start, span int64) {
	for _, t := range tiers {
		if age <= t.age {
			if t.span <= 60 {
				return at - at%t.span, t.span
			}
			local := time.Unix(at, 0).In(loc)
			past := int64(local.Minute()*60+local.Second()) % t.span
			return at - past, t.span
		}
	}
	from, to := monthWindow.period(time.Unix(at, 0), loc)
	return from.Unix(), to.Unix() - from.Unix()
}
