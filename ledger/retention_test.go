package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/journal"
)

const day = 24 * time.Hour

// aged is a ledger whose clock is set by hand, with a limit that every call counts in.
type aged struct {
	*ledger.Ledger
	cfg ledger.Config
	now time.Time
}

func openAged(t *testing.T, storage durable.Dir, dir string, now time.Time) *aged {
	t.Helper()
	a := &aged{now: now}
	a.cfg = ledger.Config{Storage: storage, Dir: dir, DigestKey: []byte("key"), SegmentBytes: 1000, Now: func() time.Time { return a.now }}
	a.reopen(t)
	return a
}

func (a *aged) reopen(t *testing.T) {
	t.Helper()
	var err error
	if a.Ledger, err = ledger.Open(a.cfg); err != nil {
		t.Fatal(err)
	}
	a.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, "1000 calls / 1Y", "1 USD / 1Y")})
}

// call makes n calls that cost 3 each, and leaves the last open when it is asked to.
func (a *aged) call(t *testing.T, n int, leave bool) *ledger.Reservation {
	t.Helper()
	for i := range n {
		r, err := a.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5})
		if err != nil {
			t.Fatal(err)
		}
		if leave && i == n-1 {
			return r
		}
		if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 3}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	return nil
}

// used is what the limits count: calls, and nano-USD.
func used(l []ledger.Balance) (calls, cost int64) {
	for _, b := range l {
		if b.Limit.Unit == ledger.UnitCalls {
			calls = b.Used + b.Held
		} else {
			cost = b.Used + b.Held
		}
	}
	return calls, cost
}

// What is old and read by all goes; the balances, an open call, a check, a restart and the index go on without it.
func TestRetentionRemovesWhatIsOldAndReadByAll(t *testing.T) {
	dir := t.TempDir()
	a := openAged(t, nil, dir, noon)
	a.call(t, 20, false)
	open := a.call(t, 1, true)
	read := journal.Position{}
	release := a.Keep("index", func() journal.Position { return read })
	a.now = noon.Add(10 * day)
	a.call(t, 20, false)

	removed := func(want bool, age time.Duration, why string) journal.Position {
		t.Helper()
		p, err := a.Trim(context.Background(), age)
		if err != nil || (p.Segment > 0) != want {
			t.Fatalf("%s: removed up to segment %d, %v", why, p.Segment, err)
		}
		return p
	}
	removed(false, 5*day, "a keeper has read nothing")
	read = a.End()
	removed(false, 20*day, "all is young")
	r := a.Reader(journal.Position{})
	removed(false, 5*day, "a reader is at the beginning")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	p := removed(true, 5*day, "old and read")
	release()
	if report, err := a.Check(context.Background()); err != nil || report.Removed != p.Segment || report.Calls >= 41 || report.Open != 1 {
		t.Errorf("check while it runs: %+v, %v", report, err)
	}
	if err := open.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 3}}); err != nil {
		t.Error(err)
	}
	if calls, cost := used(a.Balances()); calls != 41 || cost != 41*3 {
		t.Errorf("%d calls and %d nano-USD counted", calls, cost)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	stillWhole(t, a, dir, p)
}

// stillWhole reads a trimmed journal by every way there is, with the stored balances and without.
func stillWhole(t *testing.T, a *aged, dir string, begins journal.Position) {
	t.Helper()
	for _, without := range []string{"", "balances.checkpoint"} {
		storage, err := durable.Disk(dir)
		if err != nil {
			t.Fatal(err)
		}
		if without != "" {
			if err := storage.Remove(without); err != nil {
				t.Fatal(err)
			}
		}
		limits := map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, "1000 calls / 1Y", "1 USD / 1Y")}
		balances, err := ledger.Inspect(a.cfg, limits)
		if calls, cost := used(balances); err != nil || calls != 41 || cost != 41*3 {
			t.Errorf("without %q: inspected %d calls and %d nano-USD, %v", without, calls, cost, err)
		}
		report, err := ledger.Check(dir)
		if err != nil || report.Removed != begins.Segment {
			t.Errorf("without %q: %+v, %v", without, report, err)
		}
		ix, err := index.Read(dir)
		if err != nil {
			t.Fatalf("without %q: the index: %v", without, err)
		}
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
		r := ledger.NewReader(storage, journal.Position{Segment: 1, Offset: 68})
		if _, err := r.Next(); !errors.Is(err, journal.ErrTrimmed) {
			t.Errorf("a place that was removed: %v", err)
		}
		r.Close()
		a.reopen(t)
		if calls, cost := used(a.Balances()); calls != 41 || cost != 41*3 {
			t.Errorf("without %q: %d calls and %d nano-USD after a start", without, calls, cost)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "000000000001.journal*")); err != nil || len(names) > 0 {
		t.Errorf("%q are still there, %v", names, err)
	}
}

// Every operation of a removal fails or is the last before a kill or a power cut: the state opens, is whole, and counts
// what it counted before.
func TestRemovalSurvivesACrashAtEveryPoint(t *testing.T) {
	faults := []durabletest.Fault{durabletest.Lost, durabletest.Half, durabletest.Kept}
	build := func() (*durabletest.Disk, *aged) {
		disk := durabletest.New()
		a := openAged(t, disk, "", noon)
		a.call(t, 12, false)
		a.call(t, 1, true)
		a.now = noon.Add(10 * day)
		a.call(t, 12, false)
		return disk, a
	}
	run := func(failing int, fault durabletest.Fault) (operations int) {
		disk, a := build()
		defer a.Close()
		crash := map[string]*durabletest.Disk{}
		disk.Break(func(durabletest.Op, string) durabletest.Fault {
			operations++
			if operations == failing {
				return fault
			}
			return durabletest.None
		})
		p, err := a.Trim(context.Background(), 5*day)
		if failing == 0 && (err != nil || p.Segment < 2) {
			t.Fatalf("removed up to %d, %v", p.Segment, err)
		}
		disk.Break(nil)
		crash["kill"] = disk.Kill()
		for name, keep := range policies() {
			crash["power loss, "+name] = disk.PowerLoss(keep)
		}
		for when, left := range crash {
			again := &aged{cfg: a.cfg, now: a.now}
			again.cfg.Storage = left
			again.reopen(t)
			if calls, cost := used(again.Balances()); calls != 25 || cost != 24*3+5 {
				t.Errorf("%d fails %d, %s: %d calls, %d nano-USD", failing, fault, when, calls, cost)
			}
			if _, err := again.Check(context.Background()); err != nil {
				t.Errorf("%d fails %d, %s: %v", failing, fault, when, err)
			}
			if _, err := again.Trim(context.Background(), 5*day); err != nil {
				t.Errorf("%d fails %d, %s: the next removal: %v", failing, fault, when, err)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			report, err := ledger.CheckStorage(left)
			names, _ := left.List()
			if err != nil || report.Removed < 2 || strings.HasPrefix(names[0], "000000000001") {
				t.Errorf("%d fails %d, %s: at the end: %+v, %v, %q", failing, fault, when, report, err, names)
			}
		}
		return operations
	}
	total := run(0, durabletest.None)
	for n := 1; n <= total; n++ {
		for _, fault := range faults {
			run(n, fault)
		}
	}
	if total < 8 {
		t.Errorf("only %d operations seen", total)
	}
}

// policies are the subsets of unsynced writes that a power cut may leave.
func policies() map[string]func() bool {
	n := 0
	return map[string]func() bool{
		"nothing unsynced left": func() bool { return false },
		"all left":              func() bool { return true },
		"every other left":      func() bool { n++; return n%2 == 0 },
	}
}

// A beginning that no entry tells of is found, and so is a segment that is missing behind it.
func TestForgedBeginningIsFound(t *testing.T) {
	disk := durabletest.New()
	a := openAged(t, disk, "", noon)
	a.call(t, 12, false)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	forge := disk.Kill()
	a.cfg.Storage = forge
	a.now = noon.Add(10 * day)
	a.reopen(t)
	a.call(t, 1, false)
	if p, err := a.Trim(context.Background(), 5*day); err != nil || p.Segment == 0 {
		t.Fatal(p, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	begins, err := forge.ReadFile("trimmed")
	if err != nil {
		t.Fatal(err)
	}
	b, err := journal.ReadBeginning(forge)
	if err != nil {
		t.Fatal(err)
	}
	// The beginning of one journal put beside another's segments.
	if err := disk.Replace("trimmed", begins); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.CheckStorage(disk); err == nil || !strings.Contains(err.Error(), "no entry tells") && !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a beginning that no entry tells of: %v", err)
	}
	name := fmt.Sprintf("%012d.journal", b.Position.Segment+1)
	if err := forge.Remove(name); err != nil {
		t.Fatal(err)
	}
	var torn *journal.TornError
	if _, err := ledger.CheckStorage(forge); !errors.As(err, &torn) {
		t.Errorf("%s is missing: %v", name, err)
	}
	if err := forge.Replace("trimmed", begins[:len(begins)-1]); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(a.cfg); !errors.As(err, &torn) || torn.Segment != "trimmed" {
		t.Errorf("a damaged beginning: %v", err)
	}
}

// Retain looks every hour, and says what fails.
func TestRetainGoesOnByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.New()
		l, err := ledger.Open(ledger.Config{Storage: disk, DigestKey: []byte("key")})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		var failures []error
		go func() {
			defer close(done)
			l.Retain(ctx, 3*day, func(err error) { failures = append(failures, err) })
		}()
		for range 10 {
			r, err := l.Reserve(ctx, toolCall(), nil, ledger.Hold{Cost: 5})
			if err == nil {
				err = r.Post(ledger.Outcome{Status: ledger.OK})
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(day)
		}
		stop()
		<-done
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if len(failures) > 0 {
			t.Errorf("%v", failures)
		}
		report, err := ledger.CheckStorage(disk)
		if err != nil || report.Removed < 3 || report.Calls < 2 || report.Calls > 6 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}
