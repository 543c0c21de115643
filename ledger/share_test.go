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
type timeOf struct{ now time.Time }

func (p *timeOf) Now() time.Time                                                      { return p.now }
func (p *timeOf) Elapsed() time.Time                                                  { return p.now }
func (p *timeOf) Alive() error                                                        { return nil }
func (p *timeOf) Serve(*caps.Book, string, journal.Position, func() journal.Position) {}
func (p *timeOf) Others() (map[caps.Key]caps.Use, error)                              { return nil, nil }
func (p *timeOf) Leave()                                                              {}

// With others a ledger goes by the time that they share. A call that comes with another, of a machine whose clock is wrong,
// would move the windows of all that come after it.
func TestSharedLimitsGoByTheSharedTime(t *testing.T) {
	disk := durabletest.New()
	l := open(t, ledger.Config{Storage: disk, Pools: &timeOf{noon}})
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
