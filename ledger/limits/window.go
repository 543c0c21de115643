package limits

import (
	"fmt"
	"strings"
	"time"
)

// Window is the time a limit counts over: a period of the calendar, or a span that slides.
type Window struct {
	name  string
	slide time.Duration // 0: a calendar period
	spelt string
}

// Windows that are named elsewhere.
var (
	minute = Window{"1m", time.Minute, "in any minute"}
	Day    = Window{"1d", 0, "in a calendar day"}
	Month  = Window{"1M", 0, "in a calendar month"}
)

// windows are all there are. Those of the calendar begin at midnight in the ledger's Location, weeks on Monday.
func windows() []Window {
	return []Window{
		minute,
		{"1h", time.Hour, "in any hour"},
		{"24h", 24 * time.Hour, "in any 24 hours"},
		{"7d", 7 * 24 * time.Hour, "in any 7 days"},
		Day,
		{"1w", 0, "in a calendar week"},
		Month,
		{"1Q", 0, "in a calendar quarter"},
		{"1Y", 0, "in a calendar year"},
	}
}

func windowNames() string {
	var names []string
	for _, w := range windows() {
		names = append(names, w.name)
	}
	return strings.Join(names, ", ")
}

// ParseWindow reads 1m, 1h, 24h and 7d, which slide, and 1d, 1w, 1M, 1Q and 1Y, which are those of the calendar.
func ParseWindow(s string) (Window, error) {
	for _, w := range windows() {
		if w.name == s {
			return w, nil
		}
	}
	return Window{}, fmt.Errorf("unknown window %q: one of %s (1m is a minute, 1M a month)", s, windowNames())
}

func (w Window) String() string { return w.name }

// Slides reports whether the window is a span that ends now, not a period of the calendar.
func (w Window) Slides() bool { return w.slide > 0 }

// Length is how long a window that slides is; 0: it does not slide.
func (w Window) Length() time.Duration { return w.slide }

func (w Window) spell() string { return w.spelt }

// period returns the calendar period of w that holds t: from start up to but not including end.
func (w Window) period(t time.Time, loc *time.Location) (start, end time.Time) {
	local := t.In(loc)
	y, m, d := local.Date()
	switch w.name {
	case "1w":
		d -= (int(local.Weekday()) + 6) % 7
		return midnight(y, m, d, loc), midnight(y, m, d+7, loc)
	case "1M":
		return midnight(y, m, 1, loc), midnight(y, m+1, 1, loc)
	case "1Q":
		m = (m-1)/3*3 + 1
		return midnight(y, m, 1, loc), midnight(y, m+3, 1, loc)
	case "1Y":
		return midnight(y, 1, 1, loc), midnight(y+1, 1, 1, loc)
	}
	return midnight(y, m, d, loc), midnight(y, m, d+1, loc)
}

// midnight is the first moment of a day. Where the clocks skip midnight the day begins an hour later, but time.Date may
// answer with an hour of the day before.
func midnight(y int, m time.Month, d int, loc *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	want := time.Date(y, m, d, 12, 0, 0, 0, time.UTC).Day() // d may lie outside the month
	if t.Day() != want {
		return time.Date(y, m, d, 1, 0, 0, 0, loc)
	}
	return t
}
