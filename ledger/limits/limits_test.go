package limits

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text   string
		amount int64
		unit   Unit
		window string
		hard   bool
		spelt  string
	}{
		{"50 USD / 1M", 50_000_000_000, UnitUSD, "1M", false, "at most 50.00 USD in a calendar month"},
		{"0.25 USD/1d", 250_000_000, UnitUSD, "1d", false, "at most 0.25 USD in a calendar day"},
		{"0.000000001 USD / 1Y", 1, UnitUSD, "1Y", false, "at most 0.000000001 USD in a calendar year"},
		{"5 USD / 1d hard", 5_000_000_000, UnitUSD, "1d", true, "at most 5.00 USD in a calendar day, holding the worst case of each call"},
		{"60 requests / 1m", 60, UnitCalls, "1m", false, "at most 60 calls in any minute"},
		{"1 call / 1h", 1, UnitCalls, "1h", false, "at most 1 call in any hour"},
		{"1000 calls / 1w", 1000, UnitCalls, "1w", false, "at most 1000 calls in a calendar week"},
		{"200k tokens / 1m", 200_000, UnitTokens, "1m", false, "at most 200000 tokens in any minute"},
		{"1.5M tokens / 1Q hard", 1_500_000, UnitTokens, "1Q", true, "at most 1500000 tokens in a calendar quarter, holding the worst case of each call"},
		{"1.50M tokens / 24h", 1_500_000, UnitTokens, "24h", false, "at most 1500000 tokens in any 24 hours"},
		{"8 concurrent", 8, UnitConcurrent, "", false, "at most 8 calls at the same time"},
		{"  8   concurrent ", 8, UnitConcurrent, "", false, "at most 8 calls at the same time"},
		{"0 USD / 7d", 0, UnitUSD, "7d", false, "at most 0.00 USD in any 7 days"},
	} {
		l, err := Parse(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if l.Amount != tt.amount || l.Unit != tt.unit || l.Window.String() != tt.window || l.Hard != tt.hard || l.Text != tt.text {
			t.Errorf("%q: %+v", tt.text, l)
		}
		if got := l.Spell(); got != tt.spelt {
			t.Errorf("%q spells %q, want %q", tt.text, got, tt.spelt)
		}
	}
}

func TestParseSaysWhatIsExpected(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "write an amount, a unit and a window",
		"50":                         "write an amount, a unit and a window",
		"50 USD":                     "a window is missing: one of 1m, 1h, 24h, 7d, 1d, 1w, 1M, 1Q, 1Y",
		"50 USD /":                   "a window is missing",
		"50 USD / 1M / 2M":           "unknown window",
		"50 EUR / 1M":                `unknown unit "EUR"`,
		"$50 / 1M":                   "write an amount",
		"-5 USD / 1d":                "is not a number",
		"1e3 USD / 1d":               "is not a number",
		"NaN USD / 1d":               "is not a number",
		".5 USD / 1d":                "is not a number",
		"5. USD / 1d":                "is not a number",
		"0.0000000001 USD / 1d":      "finer than can be counted",
		"1.5 calls / 1m":             "finer than can be counted",
		"99999999999999 USD / 1d":    "too large",
		"9999999999999999M calls/1m": "too large",
		"50 USD / 2M":                `unknown window "2M"`,
		"50 USD / 1month":            "1m is a minute, 1M a month",
		"8 concurrent / 1m":          "concurrent takes no window",
		"8 concurrent hard":          "hard is for USD and tokens",
		"60 calls / 1m hard":         "hard is for USD and tokens",
		"60 calls / 1m soft":         `unknown window "1m soft"`,
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q in it", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"50 USD / 1M", "200k tokens / 1m hard", "8 concurrent", "1.5M calls/7d", "/ / /", "0 USD / 1d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse(s)
		if err != nil {
			return
		}
		if l.Amount < 0 || l.Amount > AmountMax || l.Unit == "" || (l.Unit == UnitConcurrent) != (l.Window == Window{}) {
			t.Fatalf("%q: %+v", s, l)
		}
		// What it spells as an amount parses to the same.
		if l.Unit == UnitUSD {
			again, err := Parse(SpellUSD(l.Amount) + " / 1d")
			if err != nil || again.Amount != l.Amount {
				t.Fatalf("%q spells %q: %v", s, SpellUSD(l.Amount), err)
			}
		}
	})
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]int{"5 USD / 1m": 1, "5 USD / 1M": 0, "60 calls / 1m": 0, "0 calls / 1d": 1} {
		l, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Warnings(); len(got) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestGlobsSayWhatIsCounted(t *testing.T) {
	for _, tt := range []struct {
		on   []string
		path string
		want bool
	}{
		{nil, "tracker/search", true},
		{[]string{"tracker/*"}, "tracker/search", true},
		{[]string{"tracker/*"}, "tracker/resource:file:///a/b", true},
		{[]string{"tracker/*"}, "tracker2/search", false},
		{[]string{"tracker/*", "openai/*"}, "openai/gpt-5", true},
		{[]string{"*/search"}, "tracker/search", true},
		{[]string{"tracker/search"}, "tracker/searches", false},
	} {
		l := Limit{On: tt.on}
		if got := l.Matches(tt.path); got != tt.want {
			t.Errorf("%q on %q: %v", tt.on, tt.path, got)
		}
	}
}

func TestCalendarPeriods(t *testing.T) {
	zone := func(name string) *time.Location {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return loc
	}
	berlin, beirut, lordHowe, kolkata := zone("Europe/Berlin"), zone("Asia/Beirut"), zone("Australia/Lord_Howe"), zone("Asia/Kolkata")
	for _, tt := range []struct {
		window     string
		at         string
		loc        *time.Location
		start, end string
	}{
		{"1d", "2026-11-14T12:00:00Z", time.UTC, "2026-11-14T00:00:00Z", "2026-11-15T00:00:00Z"},
		{"1d", "2026-11-14T23:30:00Z", berlin, "2026-11-14T23:00:00Z", "2026-11-15T23:00:00Z"},
		{"1d", "2026-11-14T18:29:59Z", kolkata, "2026-11-13T18:30:00Z", "2026-11-14T18:30:00Z"},
		{"1d", "2026-03-29T12:00:00Z", berlin, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},   // 23 hours
		{"1d", "2026-10-25T12:00:00Z", berlin, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},   // 25 hours
		{"1d", "2026-03-28T21:59:59Z", beirut, "2026-03-27T22:00:00Z", "2026-03-28T22:00:00Z"},   // the day before
		{"1d", "2026-03-28T22:00:00Z", beirut, "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},   // has no midnight
		{"1d", "2026-10-04T00:00:00Z", lordHowe, "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"}, // half an hour
		{"1w", "2026-11-14T12:00:00Z", time.UTC, "2026-11-09T00:00:00Z", "2026-11-16T00:00:00Z"},
		{"1w", "2026-11-15T23:59:59Z", time.UTC, "2026-11-09T00:00:00Z", "2026-11-16T00:00:00Z"},
		{"1w", "2026-11-16T00:00:00Z", time.UTC, "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"1w", "2027-01-01T12:00:00Z", time.UTC, "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"1M", "2026-12-31T23:59:59Z", time.UTC, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"1M", "2028-02-29T12:00:00Z", time.UTC, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"1Q", "2026-11-14T12:00:00Z", time.UTC, "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"1Q", "2026-03-31T12:00:00Z", berlin, "2025-12-31T23:00:00Z", "2026-03-31T22:00:00Z"},
		{"1Y", "2026-11-14T12:00:00Z", time.UTC, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		w, err := ParseWindow(tt.window)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		start, end := w.period(at, tt.loc)
		if got := start.UTC().Format(time.RFC3339) + " " + end.UTC().Format(time.RFC3339); got != tt.start+" "+tt.end {
			t.Errorf("%s at %s in %s: %s, want %s %s", tt.window, tt.at, tt.loc, got, tt.start, tt.end)
		}
	}
}

// In every zone and over every change of clocks, periods follow each other without a gap and each moment is in its own.
func TestPeriodsTile(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Beirut", "Australia/Lord_Howe", "America/Santiago", "America/Havana", "Africa/Cairo"} {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range windows() {
			if w.Slides() {
				continue
			}
			at := time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
			_, end := w.period(at, loc)
			for ; at.Year() < 2028; at = at.Add(37 * time.Minute) {
				from, to := w.period(at, loc)
				if at.Before(from) || !at.Before(to) {
					t.Fatalf("%s %s: %s is not in %s – %s", name, w, at, from, to)
				}
				if from.After(end) {
					t.Fatalf("%s %s: a gap from %s to %s", name, w, end, from)
				}
				end = to
			}
		}
	}
}

// event is something taken.
type event struct {
	at int64
	n  int64
}

// Whatever is asked and when: no window of its length ever holds more than the limit, a call that fits an exact count of
// the window plus a sixtieth is never refused, and what is refused fits once the time it was told has come.
func TestSlidingWindowNeverHoldsTooMuch(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 200 {
		w := windows()[rng.IntN(4)]
		l := Limit{Text: "x", Amount: 1 + rng.Int64N(50), Unit: UnitCalls, Window: w}
		now := int64(1_790_000_000_000_000_000) + rng.Int64N(int64(w.slide))
		c := NewCounter(l, now, time.UTC)
		var taken []event
		for range 400 {
			now += rng.Int64N(int64(w.slide) / int64(1+rng.IntN(60)))
			n := 1 + rng.Int64N(5)
			c.Advance(now)
			within := func(span int64) (sum int64) {
				for _, e := range taken {
					if e.at > now-span {
						sum += e.n
					}
				}
				return sum
			}
			if c.Fits(n) {
				c.Add(now, n)
				taken = append(taken, event{now, n})
				if got := within(int64(w.slide)); got > l.Amount {
					t.Fatalf("round %d: %d in %s, limit %d", round, got, w, l.Amount)
				}
				if rng.IntN(4) == 0 { // given back in part
					taken[len(taken)-1].n--
					c.Add(now, -1)
				}
				continue
			}
			if n > l.Amount {
				continue
			}
			if within(int64(w.slide)+int64(w.slide)/slidingBuckets+1)+n <= l.Amount {
				t.Fatalf("round %d: refused although it fits", round)
			}
			at := c.FreesAt(n)
			if at <= now {
				t.Fatalf("round %d: frees at %d, which is past", round, at-now)
			}
			later := *c
			later.buckets = append([]int64(nil), c.buckets...)
			later.Advance(at)
			if !later.Fits(n) {
				t.Fatalf("round %d: told to come back in %s, and it does not fit then", round, time.Duration(at-now))
			}
		}
	}
}

// A counter filled from the history of what was used stands where one stands that counted along: exactly in a calendar
// window, never lower in a sliding one and higher only by what has just left it.
func TestCounterFilledFromHistoryStandsAsOneThatCounted(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 60 {
		var h History
		loc := []*time.Location{berlin, time.FixedZone("of a town's own noon", 738)}[round%2]
		begin := time.Date(2026, 1, 1+rng.IntN(60), rng.IntN(24), 0, 0, 0, loc)
		if round%3 == 0 {
			begin = time.Date(2026, 1, 1+rng.IntN(60), 23, 55, 0, 0, loc) // at any pace it crosses a midnight
		}
		now := begin.UnixNano()
		var along []*Counter
		for _, w := range windows() {
			along = append(along, NewCounter(Limit{Text: w.name, Amount: AmountMax, Unit: UnitUSD, Window: w}, now, loc))
		}
		pace := []int64{int64(time.Second), int64(time.Minute), int64(time.Hour), int64(20 * time.Hour)}[rng.IntN(4)]
		var events []event
		for range 1000 {
			now += rng.Int64N(pace)
			n := rng.Int64N(1000)
			late := rng.Int64N(int64(time.Minute)) // when it ended
			h.Add(now/int64(time.Second), (now+late)/int64(time.Second), Amounts{Nano: n}, loc)
			events = append(events, event{now, n})
			for _, c := range along {
				c.Advance(now)
				c.Add(now, n)
			}
		}
		now += int64(time.Minute)
		if len(h.Rows) > 2*400 {
			t.Errorf("round %d: %d rows of history", round, len(h.Rows))
		}
		for _, c := range along {
			c.Advance(now)
			filled := NewCounter(c.Limit, now, loc)
			for i := range h.Rows {
				filled.Seed(&h.Rows[i])
			}
			slack := int64(0)
			if slide := int64(c.Limit.Window.slide); slide > 0 {
				for _, e := range events {
					if e.at <= now-slide && e.at > now-slide-slide/slidingBuckets-int64(hourSpan*time.Second) {
						slack += e.n
					}
				}
			}
			if filled.Sum < c.Sum || filled.Sum > c.Sum+slack {
				t.Errorf("round %d, %s: filled %d, counted %d, slack %d", round, c.Limit.Text, filled.Sum, c.Sum, slack)
			}
		}
	}
}

func TestCalendarCounterBeginsAnewAndForgetsTheOldPeriod(t *testing.T) {
	l, err := Parse("10 calls / 1d")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 14, 23, 59, 0, 0, time.UTC).UnixNano()
	c := NewCounter(l, day, time.UTC)
	c.Add(day, 10)
	if c.Fits(1) || c.Left() != 0 || c.FreesAt(1) != day+int64(time.Minute) {
		t.Errorf("full: fits %v, left %d, frees in %s", c.Fits(1), c.Left(), time.Duration(c.FreesAt(1)-day))
	}
	next := day + int64(2*time.Minute)
	c.Advance(next)
	if !c.Fits(10) {
		t.Error("a new day is not empty")
	}
	c.Add(day, -5) // a call of yesterday ends and gives back
	if c.Sum != 0 {
		t.Errorf("yesterday's rest changed today: %d", c.Sum)
	}
	if c.Fits(11) {
		t.Error("more than the limit fits")
	}
	if got := fmt.Sprint(c.Reset()); got != "2026-11-16 00:00:00 +0000 UTC" {
		t.Errorf("resets %s", got)
	}
}

func TestSumsDoNotOverflow(t *testing.T) {
	c := NewCounter(Limit{Unit: UnitUSD, Amount: AmountMax, Window: Month}, 1, time.UTC)
	for range 3 {
		c.Add(1, 1<<62)
	}
	if c.Sum < 0 || c.Fits(1) {
		t.Errorf("sum %d", c.Sum)
	}
}
