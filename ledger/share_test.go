package ledger_test

import (
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
)

// timeOf is pools that are shared with nobody: they have the time, and nothing to give.
type timeOf struct {
	now  time.Time
	book *caps.Book // of the ledger
}

func (p *timeOf) Now() time.Time                         { return p.now }
func (p *timeOf) Elapsed() time.Time                     { return p.now }
func (p *timeOf) Alive() error                           { return nil }
func (p *timeOf) Others() (map[caps.Key]caps.Use, error) { return nil, nil }
func (p *timeOf) Leave()                                 {}

func (p *timeOf) Serve(b *caps.Book, _ string, _ journal.Position, _ func() journal.Position) {
	p.book = b
}

// With others a ledger goes by the time that they share. A call that comes with another, of a machine whose clock is wrong,
// would move the windows of all that come after it.
func TestSharedLimitsGoByTheSharedTime(t *testing.T) {
	disk := durabletest.New()
	l := open(t, ledger.Config{Storage: disk, Pools: &timeOf{now: noon}})
	c := toolCall()
	for _, wrong := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		c.Now = noon.Add(wrong)
		if err := l.Deny(c, nil, "no"); err != nil {
			t.Fatal(err)
		}
		r, _ := reserve(t, l, c, nil, ledger.Hold{})
		post(t, r, 0)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	reader := ledger.NewReader(disk, journal.Position{})
	defer reader.Close()
	entries := 0
	for e, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		if entries++; !e.Time.Equal(noon) {
			t.Errorf("%s at %s", e.Kind, e.Time)
		}
	}
	if entries != 6 {
		t.Errorf("%d entries", entries)
	}
}

// What others are told of a limit knows calls that were under way before the limit was there, and each call once, under
// however many amounts the limit stands.
func TestOthersAreToldOfCallsUnderWay(t *testing.T) {
	pools := &timeOf{now: noon}
	l := open(t, ledger.Config{Storage: durabletest.New(), Pools: pools})
	told := func(used, held int64) {
		t.Helper()
		changes, _ := pools.book.Plan(true)
		if len(changes) != 1 || changes[0].Used != used || changes[0].Held != held {
			t.Errorf("%+v, want %d used, %d held", changes, used, held)
		}
		pools.book.Lost(changes)
	}
	before, _ := reserve(t, l, toolCall(), nil, ledger.Hold{})
	other, _ := reserve(t, l, toolCall(), nil, ledger.Hold{})
	l.SetLimits(at(t, ledger.KeyLevel, "9 calls / 1d", "8 calls / 1d"))
	told(0, 2)
	post(t, before, 0)
	told(1, 1)
	l.SetLimits(nil)
	post(t, other, 0)
	l.SetLimits(at(t, ledger.KeyLevel, "9 calls / 1d", "8 calls / 1d"))
	told(2, 0)
}
