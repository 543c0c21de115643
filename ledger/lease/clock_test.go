package lease

import (
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// hand is a timer that a test moves.
type hand struct{ monotonic, wall, boots time.Duration }

func (h *hand) read() (monotonic, wall time.Duration) { return h.monotonic, h.wall }
func (h *hand) boot() time.Duration                   { return h.boots }

// The shared time follows the database's: never back, at most a hundredth faster or slower, at once when it is far ahead.
func TestTheSharedTimeFollowsTheDatabases(t *testing.T) {
	began := time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		moved time.Duration // the database's clock, once
		after time.Duration
		off   time.Duration // how far behind the database the shared time is then
	}{
		{"it stands", 0, time.Minute, 0},
		{"a little ahead", 500 * time.Millisecond, 10 * time.Second, 400 * time.Millisecond},
		{"caught up", 500 * time.Millisecond, time.Minute, 0},
		{"a little back", -500 * time.Millisecond, 10 * time.Second, -400 * time.Millisecond},
		{"far ahead", time.Hour, time.Second, 0},
		{"far back", -time.Hour, 100 * time.Second, -time.Hour + time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &hand{monotonic: time.Hour}
			c := clock{timer: h}
			db := began
			pass := func(d time.Duration) { h.monotonic, db = h.monotonic+d, db.Add(d) }
			sample := func() {
				sent := h.monotonic
				pass(time.Millisecond)
				at := db
				pass(time.Millisecond)
				c.sample(sent, h.monotonic, at)
			}
			sample()
			db = db.Add(test.moved)
			sample()
			last := c.now()
			for passed := time.Duration(0); passed < test.after; passed += time.Second {
				pass(time.Second - 2*time.Millisecond)
				sample()
				now := c.now()
				if d := now.Sub(last); d < 989*time.Millisecond || d > 1011*time.Millisecond {
					t.Fatalf("a second took %s", d)
				}
				last = now
			}
			if off := db.Sub(c.now()) - test.off; off.Abs() > 25*time.Millisecond {
				t.Errorf("it is off by %s more than it should be", off)
			}
		})
	}
}

// One bad round trip does not spoil what good ones told.
func TestASlowAnswerMovesNoClock(t *testing.T) {
	h := &hand{}
	c := clock{timer: h}
	began := time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)
	c.sample(0, 2*time.Millisecond, began.Add(time.Millisecond))
	h.monotonic = 2 * time.Second
	c.sample(time.Second, 2*time.Second, began.Add(time.Second)) // the way there took no time, the way back a second
	if off := c.now().Sub(began.Add(2 * time.Second)); off.Abs() > 2*time.Millisecond {
		t.Errorf("off by %s", off)
	}
}

func TestAnIdentityIsKept(t *testing.T) {
	dir := durabletest.New()
	id, err := identity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := identity(dir); err != nil || again != id {
		t.Errorf("%s, %v", again, err)
	}
	if err := dir.Replace(idName, []byte("what")); err != nil {
		t.Fatal(err)
	}
	if _, err := identity(dir); err == nil {
		t.Error("any text is an identity")
	}
}
