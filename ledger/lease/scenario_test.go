package lease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/policy"
)

// scene runs a test in a world of n replicas, in which time passes as it likes.
func scene(t *testing.T, n int, limits []string, play func(w *world)) {
	t.Helper()
	sceneAt(t, 12*time.Hour, n, limits, play)
}

// sceneAt is scene at a time of the day.
func sceneAt(t *testing.T, at time.Duration, n int, limits []string, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, n, limits...)
		time.Sleep(at)
		for _, s := range w.sites {
			s.machine.start = time.Now()
		}
		w.start()
		defer w.stop()
		defer func() {
			for _, s := range w.sites {
				s.link.breaks(nil)
			}
		}()
		play(w)
		w.check()
		w.granted()
	})
}

// all makes calls until one is refused, leaves them under way, and returns how many there were.
func (s *site) all() int {
	s.w.t.Helper()
	for n := 0; ; n++ {
		if _, err := s.call(1); err != nil {
			refusedByLimit(s.w.t, err)
			return n
		}
		if n > 1000 {
			s.w.t.Fatal("no end of calls")
		}
	}
}

func (s *site) want(what string, n int) {
	s.w.t.Helper()
	if got := s.all(); got != n {
		s.w.t.Errorf("%s: %s made %d calls, want %d", what, s.name, got, n)
	}
}

func (s *site) endAll() {
	s.w.mu.Lock()
	calls := append([]*call(nil), s.w.calls...)
	s.w.mu.Unlock()
	for _, c := range calls {
		if c.site == s {
			c.end(1)
		}
	}
}

func cut() fault { return hole }

// A replica that is cut off serves for as long as it may, then refuses; what it held comes back to the others when it is
// safe, and no earlier.
func TestWhatAReplicaThatIsCutOffHeldReturnsInItsTime(t *testing.T) {
	for _, test := range []struct {
		limit string
		after time.Duration // of silence, when it has not returned yet…
		then  time.Duration // …and when it has; 0: never in this period
	}{
		{limit: "10 concurrent", after: 6500 * time.Millisecond, then: 9 * time.Second},
		{limit: "10 calls / 1m", after: 66 * time.Second, then: 75 * time.Second},
		{limit: "10 calls / 1d", after: 30 * time.Second},
	} {
		t.Run(test.limit, func(t *testing.T) {
			scene(t, 2, []string{test.limit}, func(w *world) {
				a, b := w.sites[0], w.sites[1]
				for range 4 {
					if _, err := a.call(1); err != nil {
						t.Fatal(err)
					}
				}
				cap, since := a.cap(), time.Now()
				a.link.breaks(cut)
				b.want("what a does not hold", 10-cap)
				time.Sleep(4*time.Second - time.Since(since))
				if _, err := a.call(1); cap > 4 && err != nil {
					t.Errorf("a may serve on what it holds for a while: %v", err)
				}
				time.Sleep(5500*time.Millisecond - time.Since(since))
				if _, err := a.call(1); !errors.Is(err, ledger.ErrOffline) {
					t.Errorf("a may serve no more: %v", err)
				}
				time.Sleep(test.after - time.Since(since))
				own := 0 // of its own that came back
				if test.after > time.Minute {
					own = 10 - cap
				}
				if n := b.all(); n != own {
					t.Errorf("%d came back after %s, want %d", n, test.after, own)
				}
				if test.then > 0 {
					time.Sleep(test.then - time.Since(since))
					if b.all() == 0 {
						t.Errorf("nothing came back after %s", test.then)
					}
				}
				a.link.breaks(nil)
				a.joined()
				a.endAll()
			})
		})
	}
}

// cap is the replica's cap of its only pool in the database.
func (s *site) cap() (n int) {
	s.w.m.mu.Lock()
	defer s.w.m.mu.Unlock()
	for _, rows := range s.w.m.caps {
		n += int(rows[s.client.id].cap)
	}
	return n
}

// A replica that is killed with calls under way is recovered by its successor, at once: what they held is spent, the rest
// of its caps is in use again.
func TestASuccessorGoesOnWithWhatItsPredecessorHeld(t *testing.T) {
	scene(t, 2, []string{"20 calls / 1d", "6 concurrent"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		a.want("at once", 6)
		a.kill()
		before := time.Now()
		a.start()
		a.joined()
		if d := time.Since(before); d > time.Second {
			t.Errorf("it took %s", d)
		}
		if n := a.ledger.Recovery().Interrupted; n != 6 {
			t.Errorf("%d calls were interrupted", n)
		}
		a.want("the slots are free", 6)
		a.endAll()
		b.want("and elsewhere", 6)
		b.endAll()
		a.want("the day's", 2)
		b.want("no more", 0)
	})
}

// Without its data directory a replica is a new one; what the old one held is lost for as long as it may have been used.
func TestALostDataDirectoryIsTakenAsSpent(t *testing.T) {
	scene(t, 2, []string{"20 calls / 1d"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		for range 3 {
			if _, err := a.call(1); err != nil {
				t.Fatal(err)
			}
		}
		cap := a.cap()
		a.kill()
		a.id, a.journal = durabletest.New(), durabletest.New()
		a.start()
		a.joined()
		if n := a.all() + b.all(); n != 20-cap {
			t.Errorf("%d calls, want %d", n, 20-cap)
		}
	})
}

// A copy of a data directory from before is not taken for the replica: its journal does not say what was used since.
func TestAnOldCopyOfADataDirectoryIsANewReplica(t *testing.T) {
	scene(t, 1, []string{"20 calls / 1d"}, func(w *world) {
		a := w.sites[0]
		a.call(1)
		old := a.journal.Kill()
		a.want("after the copy", 19)
		time.Sleep(3 * time.Second)
		id := a.client.ReplicaID()
		a.kill()
		a.journal = old
		a.start()
		a.joined()
		if a.client.ReplicaID() == id {
			t.Error("it has the identity of before")
		}
		a.want("all is spent", 0)
	})
}

// A start on another machine, from a copy, cannot know that its predecessor is dead: it waits until that may serve no more.
func TestAStartElsewhereWaitsUntilItsPredecessorMayNotServe(t *testing.T) {
	scene(t, 2, []string{"20 calls / 1d", "12 concurrent"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		b.stop()
		for range 5 {
			if _, err := a.call(1); err != nil {
				t.Fatal(err)
			}
		}
		a.link.breaks(cut)
		b.id, b.journal, b.place = a.id.Kill(), a.journal.Kill(), "elsewhere"
		b.start()
		for range 40 { // a serves for five seconds on what it holds
			for _, s := range w.sites {
				_, _ = s.call(1)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.check()
		b.joined()
		a.link.breaks(nil)
		time.Sleep(2 * time.Second)
		if _, err := a.call(1); !errors.Is(err, ledger.ErrOffline) {
			t.Errorf("both serve: %v", err)
		}
	})
}

// A process that goes on twice, from a copy of the whole machine, is told apart: only one of the two serves.
func TestOfAMachineThatRunsTwiceOneServes(t *testing.T) {
	scene(t, 1, []string{"20 calls / 1d"}, func(w *world) {
		a := w.sites[0]
		a.want("all", 20)
		// The other has the same tokens. It speaks once; from then on the first is not the last to have spoken.
		w.m.mu.Lock()
		token := w.m.replicas[a.client.id].token
		w.m.mu.Unlock()
		if got := w.m.do(&request{id: a.client.id, incarnation: a.client.incarnation, tokens: []string{token}, next: "other", silence: 7 * time.Second}); got.verdict != done {
			t.Fatalf("%+v", got)
		}
		time.Sleep(2 * time.Second)
		if _, err := a.call(1); !errors.Is(err, ledger.ErrOffline) || !strings.Contains(err.Error(), "copy") {
			t.Errorf("%v", err)
		}
		if !a.client.dead {
			t.Error("it has not been told")
		}
	})
}

// Each day has its own.
func TestEachPeriodHasItsOwnRoom(t *testing.T) {
	sceneAt(t, 24*time.Hour-10*time.Second, 3, []string{"30 calls / 1d"}, func(w *world) {
		for day := range 2 {
			n := 0
			for _, s := range w.sites {
				n += s.all()
				s.endAll()
			}
			if n != 30 {
				t.Errorf("%d calls on day %d", n, day)
			}
			time.Sleep(15 * time.Second)
		}
	})
}

// While two revisions of the config are in force, the lower amount holds.
func TestTheLowerOfTwoAmountsHolds(t *testing.T) {
	scene(t, 2, []string{"100 calls / 1d"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		for range 8 {
			for _, s := range w.sites {
				if _, err := s.call(1); err != nil {
					t.Fatal(err)
				}
			}
		}
		a.ledger.SetLimits(limitsOf(t, "40 calls / 1d"))
		time.Sleep(2 * time.Second)
		if n := a.all() + b.all(); n != 24 {
			t.Errorf("%d more, want 24", n)
		}
		a.ledger.SetLimits(limitsOf(t, "100 calls / 1d"))
		time.Sleep(2 * time.Second)
		if n := a.all() + b.all(); n != 60 {
			t.Errorf("%d more, want 60", n)
		}
	})
}

// What was used before a limit was there counts, wherever it was used, and setting limits anew moves nothing.
func TestALimitThatAppearsFindsItsWindowFilledEverywhere(t *testing.T) {
	scene(t, 3, nil, func(w *world) {
		for _, s := range w.sites {
			for range 5 {
				c, err := s.call(1)
				if err != nil {
					t.Fatal(err)
				}
				c.end(1)
			}
		}
		w.limits = limitsOf(t, "20 calls / 1d", "30 calls / 1h")
		for range 2 {
			for _, s := range w.sites {
				s.ledger.SetLimits(w.limits)
			}
			time.Sleep(2 * time.Second)
		}
		w.sites[1].want("the rest", 5)
		w.sites[2].want("nothing", 0)
	})
}

// A limit laid by a rule is shared, too, and survives that the config is read anew while calls hold its slots.
func TestLimitsOfRulesAreShared(t *testing.T) {
	scene(t, 2, nil, func(w *world) {
		d := &policy.Decision{Limits: []policy.RuleLimit{{Rule: "few", Limit: "4 concurrent"}, {Rule: "rate", Limit: "100 calls / 1m", Per: "all"}}}
		var held []*ledger.Reservation
		try := func(s *site) bool {
			r, err := s.ledger.Reserve(context.Background(), &policy.Call{Principal: bot, Action: policy.ToolCall, Upstream: "tracker", Target: "search"}, d, ledger.Hold{})
			if err != nil {
				refusedByLimit(t, err)
				return false
			}
			held = append(held, r)
			return true
		}
		for i := range 10 {
			s := w.sites[i%2]
			if passed := try(s); passed != (i < 4) {
				t.Errorf("call %d: passed %t", i, passed)
			}
			s.ledger.SetLimits(nil)
			time.Sleep(time.Duration(i) * time.Second)
		}
		for _, r := range held {
			if err := r.Post(ledger.Outcome{Status: ledger.OK}); err != nil {
				t.Error(err)
			}
		}
		if !try(w.sites[1]) {
			t.Error("a slot is free")
		}
		if err := held[len(held)-1].Void(ledger.Outcome{Status: ledger.Unsent}); err != nil {
			t.Error(err)
		}
	})
}

// A call that costs more than it held asks for more while it runs, also of what others keep.
func TestAnExtensionAsksTheOthers(t *testing.T) {
	scene(t, 2, []string{"0.0000001 USD / 1d"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		for range 3 {
			if _, err := b.call(5); err != nil {
				t.Fatal(err)
			}
		}
		c, err := a.call(10)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.r.Extend(75, 0); err != nil {
			t.Errorf("there are 75 left: %v", err)
		}
		if err := c.r.Extend(1, 0); !refusedByLimit(t, err) {
			t.Errorf("%v", err)
		}
		c.end(85)
		b.want("all is spent", 0)
	})
}

// What others spent is read within a second or so, and Balances adds it up.
func TestReadingsCountAllReplicas(t *testing.T) {
	scene(t, 3, []string{"100 USD / 1M"}, func(w *world) {
		a := w.sites[0]
		a.ledger.Spend(bot, a.client.Now())
		for _, s := range w.sites {
			s.ledger.Spend(bot, a.client.Now())
			c, err := s.call(3 * ledger.USD)
			if err != nil {
				t.Fatal(err)
			}
			c.end(2 * ledger.USD)
			if _, err := s.call(ledger.USD); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		for _, s := range w.sites {
			if got := s.ledger.Spend(bot, s.client.Now()); got.KeyToday != 9 || got.CustomerMonth != 9 {
				t.Errorf("%s reads %+v", s.name, got)
			}
			b := s.ledger.Balances()[0]
			if b.Used != 6*int64(ledger.USD) || b.Held != 3*int64(ledger.USD) || b.Left != 91*int64(ledger.USD) {
				t.Errorf("%s: %+v", s.name, b)
			}
			s.endAll()
		}
	})
}

// A machine that sleeps does not think that it still has its lease, whichever of its clocks slept as well.
func TestAMachineThatSleptMayNotServe(t *testing.T) {
	for name, sleep := range map[string]func(m *machineOf){
		"only the wall knows": func(m *machineOf) { m.slept, m.noBoot = time.Hour, true },
		"the wall goes on":    func(m *machineOf) { m.slept = time.Hour },
		"the wall is set on":  func(m *machineOf) { m.set += time.Hour },
		"all but one is late": func(m *machineOf) { m.slept, m.set = time.Hour, m.set-time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			scene(t, 1, nil, func(w *world) {
				s := w.sites[0]
				s.link.breaks(cut)
				time.Sleep(2 * time.Second)
				s.machine.mu.Lock()
				s.machine.start = s.machine.start.Add(-time.Hour) // an hour passed
				sleep(s.machine)
				s.machine.mu.Unlock()
				time.Sleep(200 * time.Millisecond)
				if _, err := s.call(1); !errors.Is(err, ledger.ErrOffline) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// A database that was restored has forgotten what it granted: the replicas claim it again.
func TestWhatTheDatabaseLostIsClaimedAgain(t *testing.T) {
	scene(t, 2, []string{"100 calls / 1d"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		for range 30 {
			if _, err := a.call(1); err != nil {
				t.Fatal(err)
			}
		}
		w.m.mu.Lock()
		for k := range w.m.caps {
			delete(w.m.caps[k], a.client.id)
		}
		w.m.mu.Unlock()
		first := true
		a.link.breaks(func() fault { // the connections broke as well
			if first {
				first = false
				return lost
			}
			return none
		})
		time.Sleep(3 * time.Second)
		if n := a.all() + b.all(); n != 70 {
			t.Errorf("%d more, want 70", n)
		}
	})
}

// However fast the database's clock runs away, a window is as long as it says: in any minute of true time there are no more
// calls than the limit, wherever they are made and whoever leaves what it held to whom.
func TestNoWindowIsShortWhenTheDatabasesClockRunsAway(t *testing.T) {
	scene(t, 3, []string{"20 calls / 1m"}, func(w *world) {
		for i := range 1500 {
			s := w.sites[(i/70)%3] // one after the other has all the work
			if c, err := s.call(1); err == nil {
				c.end(1)
			} else {
				refusedByLimit(t, err)
			}
			time.Sleep(200 * time.Millisecond)
			w.m.mu.Lock()
			w.m.ahead += 10 * time.Millisecond
			w.m.mu.Unlock()
		}
		if n := w.passed(); n < 80 {
			t.Errorf("%d calls passed in five minutes: too few to mean anything", n)
		}
	})
}

// A replica with another calendar does not join.
func TestAllReplicasHaveOneCalendar(t *testing.T) {
	scene(t, 2, nil, func(w *world) {
		s := w.newSite("other")
		s.start()
		s.client.stop()
		s.client.running.Wait()
		s.client.zone, s.client.joined = "Europe/Berlin", false
		s.client.id = "another"
		if _, err := s.client.exchange(context.Background()); err != nil {
			t.Fatal(err)
		}
		if *s.client.cause.Load() == nil || !strings.Contains((*s.client.cause.Load()).Error(), "timezone") || s.client.joined {
			t.Errorf("%v", *s.client.cause.Load())
		}
		s.stop()
	})
}

// Everything goes back at an orderly end.
func TestALeavingReplicaGivesEverythingBack(t *testing.T) {
	scene(t, 2, []string{"50 calls / 1d", "9 concurrent", "50 calls / 1h"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		for range 9 {
			c, err := a.call(1)
			if err != nil {
				t.Fatal(err)
			}
			c.end(1)
		}
		a.stop()
		w.m.mu.Lock()
		for k, rows := range w.m.caps {
			if row := rows[a.client.id]; row.cap != row.used+row.held || row.kind == caps.Slots && row.cap > 0 {
				t.Errorf("%s: %+v", k.Limit, row)
			}
		}
		w.m.mu.Unlock()
		before := time.Now()
		b.want("without waiting for anybody", 9)
		if d := time.Since(before); d > time.Second {
			t.Errorf("it took %s", d)
		}
		a.start()
		a.joined()
		b.endAll()
		a.want("again", 9)
	})
}

// A replica that was started anew and has made no call since says nothing of the amount of a limit: the others may go on.
func TestAReplicaThatMakesNoCallsKeepsNoneFromOthers(t *testing.T) {
	scene(t, 2, []string{"10 calls / 1m"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		if _, err := b.call(1); err != nil {
			t.Fatal(err)
		}
		b.endAll()
		time.Sleep(2 * time.Minute)
		b.stop()
		b.start()
		b.joined()
		time.Sleep(2 * time.Minute)
		a.want("all of it", 10)
	})
}

// A limit is raised by restarts. A replica that was refused once, and makes no calls any more, does not keep the others at
// what the limit was.
func TestALimitThatWasRaisedByARestartIsRaisedForAll(t *testing.T) {
	scene(t, 2, []string{"10 calls / 1d"}, func(w *world) {
		a, b := w.sites[0], w.sites[1]
		a.want("all of it", 10)
		b.want("nothing", 0)
		w.limits = limitsOf(t, "20 calls / 1d")
		for _, s := range w.sites {
			s.stop()
			s.start()
			s.joined()
		}
		time.Sleep(2 * time.Second)
		a.want("what was added", 10)
	})
}
