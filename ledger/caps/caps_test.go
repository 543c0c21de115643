package caps_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/limits"
)

func parse(t *testing.T, text string, on ...string) *limits.Limit {
	t.Helper()
	l, err := limits.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	l.On = on
	return &l
}

// Two limits are one pool when they count the same calls in the same way, whatever their amounts.
func TestNamesTellPoolsApart(t *testing.T) {
	long := strings.Repeat("x", 2000)
	same := []string{
		caps.Name("key", "k1", parse(t, "5 USD / 1d", "a/*", "b/*")),
		caps.Name("key", "k1", parse(t, "9 USD / 1d", "b/*", "a/*", "a/*")),
	}
	if same[0] != same[1] {
		t.Errorf("%q and %q", same[0], same[1])
	}
	seen := map[string]bool{}
	for _, name := range []string{
		same[0],
		caps.Name("key", "k1", parse(t, "5 USD / 1d")),
		caps.Name("key", "k1", parse(t, "5 USD / 1d hard")),
		caps.Name("key", "k1", parse(t, "5 USD / 1M")),
		caps.Name("key", "k1", parse(t, "5 calls / 1d")),
		caps.Name("key", "k2", parse(t, "5 USD / 1d")),
		caps.Name("team", "k1", parse(t, "5 USD / 1d")),
		caps.Name("key", "k1", parse(t, "5 concurrent")),
		caps.Name("key", `k1" "a/*`, parse(t, "5 USD / 1d")),
		caps.Name("key", long, parse(t, "5 USD / 1d")),
		caps.Name("key", long+"y", parse(t, "5 USD / 1d")),
		caps.Name("key", "k1", &limits.Limit{Unit: limits.UnitUSD, Window: limits.Day}),
	} {
		if seen[name] || len(name) > 600 {
			t.Errorf("%q is there already, or too long", name)
		}
		seen[name] = true
	}
}

// bench is a book with one pool, at a time that the test sets.
type bench struct {
	mu  sync.Mutex
	now time.Time
	b   *caps.Book
	c   *limits.Counter
	p   *caps.Pool
}

func newBench(t *testing.T, text string) *bench {
	x := &bench{now: time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)}
	x.b = caps.NewBook(&x.mu, func() int64 { return x.now.UnixNano() }, func() time.Time { return x.now }, func() {})
	x.c = limits.NewCounter(*parse(t, text), x.now.UnixNano(), time.UTC)
	x.p = x.b.Bind("pool", x.c)
	return x
}

func (x *bench) take(n int64) {
	x.c.Add(x.now.UnixNano(), n)
	x.c.Held += n
	x.p.Move(x.c, n)
}

// plan is the one change that there is, or nothing.
func (x *bench) plan(t *testing.T, all bool) *caps.Change {
	t.Helper()
	changes, _ := x.b.Plan(all)
	switch len(changes) {
	case 0:
		return nil
	case 1:
		return &changes[0]
	}
	t.Fatalf("%+v", changes)
	return nil
}

func (x *bench) answer(c *caps.Change, r caps.Result) {
	r.Key = c.Key
	x.b.Answer([]caps.Change{*c}, []caps.Result{r}, nil)
}

// What goes back is out of use here before anybody hears of it, and stays out when the answer is lost.
func TestACapIsLoweredHereFirst(t *testing.T) {
	x := newBench(t, "100 calls / 1d")
	c := x.plan(t, true)
	x.answer(c, caps.Result{Cap: 50})
	x.take(10)
	c = x.plan(t, true)
	if c != nil {
		x.answer(c, caps.Result{Cap: c.Keep})
	}
	x.now = x.now.Add(time.Minute) // nothing was used: it goes back
	x.b.Plan(true)
	x.now = x.now.Add(time.Minute)
	changes, _ := x.b.Plan(true)
	x.b.Lost(changes)
	if x.p.Cap() != 10 || x.p.Fits(x.c, 1) {
		t.Errorf("the cap is %d", x.p.Cap())
	}
	// The database may have done it or not: it is told again.
	x.b.Restore(map[caps.Key]caps.Have{x.p.Key(): {Cap: 50, Kind: caps.Period}}, false)
	if c = x.plan(t, true); c == nil || c.Keep != 10 {
		t.Errorf("%+v", c)
	}
}

// What calls have taken beyond the cap is told as a debt; that it is acknowledged makes no room.
func TestADebtMakesNoRoom(t *testing.T) {
	x := newBench(t, "100 calls / 1m")
	x.take(30)
	c := x.plan(t, false)
	if c == nil || c.Keep != 30 {
		t.Fatalf("%+v", c)
	}
	if x.p.Cap() != 0 {
		t.Errorf("the cap is %d before the database knows", x.p.Cap())
	}
	x.b.Lost([]caps.Change{*c})
	x.now = x.now.Add(2 * time.Minute) // the window is empty again
	x.c.Advance(x.now.UnixNano())
	if x.p.Fits(x.c, 1) {
		t.Error("there is room that nobody granted")
	}
}

// With the period goes the cap.
func TestANewPeriodBeginsWithoutACap(t *testing.T) {
	x := newBench(t, "100 calls / 1d")
	x.answer(x.plan(t, true), caps.Result{Cap: 50})
	if !x.p.Fits(x.c, 50) || x.p.Fits(x.c, 51) {
		t.Error("the cap is not 50")
	}
	x.now = x.now.Add(13 * time.Hour)
	x.c.Advance(x.now.UnixNano())
	if x.p.Fits(x.c, 1) {
		t.Error("the cap is still there")
	}
	if c := x.plan(t, true); c == nil || c.Start != time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC).UnixNano() || c.Keep != 0 {
		t.Errorf("%+v", c)
	}
}

// A replica that was taken for gone has what the database has, and no more.
func TestWhoWasGoneBeginsFromTheDatabase(t *testing.T) {
	x := newBench(t, "100 concurrent")
	x.answer(x.plan(t, true), caps.Result{Cap: 50})
	x.take(20)
	x.b.Restore(nil, true)
	if x.p.Cap() != 0 || x.p.Fits(x.c, 1) {
		t.Errorf("the cap is %d", x.p.Cap())
	}
	if c := x.plan(t, true); c == nil || c.Keep != 20 || c.Held != 20 {
		t.Errorf("calls under way must be told: %+v", c)
	}
}

// A limit that the config had no more, while calls were under way, and has again, is a pool like any other.
func TestALimitThatComesBackHearsAnswers(t *testing.T) {
	x := newBench(t, "100 calls / 1d")
	x.answer(x.plan(t, true), caps.Result{Cap: 50})
	x.take(1)
	x.b.Unbind(func(*limits.Counter) bool { return true })
	x.b.Settled()
	for range 3 {
		x.now = x.now.Add(time.Second)
		if c := x.plan(t, true); c != nil {
			x.answer(c, caps.Result{Cap: c.Keep})
		}
	}
	x.p = x.b.Bind("pool", x.c)
	x.now = x.now.Add(time.Second)
	c := x.plan(t, true)
	if c == nil {
		t.Fatal("it is not told")
	}
	x.answer(c, caps.Result{Cap: 50})
	if x.p.Cap() != 50 {
		t.Errorf("the cap is %d", x.p.Cap())
	}
}
