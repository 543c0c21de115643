package lease

import (
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

var (
	seeds = flag.Int("lease.seeds", 4, "how many random worlds to run")
	seed  = flag.Uint64("lease.seed", 1, "the first of them")
)

// chaos breaks things in a world of replicas, at random, while they call.
type chaos struct {
	*world
	rng  *rand.Rand
	down map[*site]bool // killed

	mu               sync.Mutex // guards the counts
	refused, offline int
	running          sync.WaitGroup
}

// Whatever happens to replicas, network and clocks, no limit is exceeded in any window of true time.
func TestNoLimitIsExceededWhateverHappens(t *testing.T) {
	passed, refused := 0, 0
	for n := range *seeds {
		s := *seed + uint64(n)
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", s)
				}
			}()
			c := &chaos{rng: rand.New(rand.NewPCG(s, 7)), down: map[*site]bool{}}
			c.world = newWorld(t, 3+c.rng.IntN(3), "300 calls / 1m", "2000 calls / 1d", "7 concurrent", "0.0000006 USD / 1h hard")
			c.m.mute = s%2 == 0
			time.Sleep(time.Duration(c.rng.Int64N(int64(24 * time.Hour))))
			for _, s := range c.sites {
				s.machine.start, s.machine.rate = time.Now(), 1+(c.rng.Float64()-0.5)/1000
			}
			c.start()
			for range 150 {
				c.step()
			}
			c.running.Wait()
			for _, s := range c.sites {
				s.link.breaks(nil)
				if c.down[s] {
					s.start()
				}
			}
			time.Sleep(10 * time.Second)
			c.check()
			c.granted()
			c.stop()
			passed, refused = passed+c.passed(), refused+c.refused
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d calls passed, %d were refused by a limit", passed, refused)
	if passed < 200*(*seeds) || refused < 10*(*seeds) {
		t.Errorf("too few of one to mean anything")
	}
}

// burst begins to make calls on all replicas that run, for a while.
func (c *chaos) burst(d time.Duration) {
	until := time.Now().Add(d)
	for _, s := range c.sites {
		if c.down[s] {
			continue
		}
		gap := time.Duration(1+c.rng.IntN(400)) * time.Millisecond
		for range 1 + c.rng.IntN(3) {
			rng := rand.New(rand.NewPCG(c.rng.Uint64(), 1))
			c.running.Go(func() {
				for time.Now().Before(until) {
					c.one(s, rng)
					time.Sleep(time.Duration(rng.Int64N(int64(gap))))
				}
			})
		}
	}
}

func (c *chaos) one(s *site, rng *rand.Rand) {
	made, err := s.call(ledger.Nano(1 + rng.IntN(3)))
	if err != nil {
		limited := refusedByLimit(c.t, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		if limited {
			c.refused++
		} else {
			c.offline++
		}
		return
	}
	long := []time.Duration{100 * time.Millisecond, time.Second, 20 * time.Second}[min(rng.IntN(12), 11)/5]
	time.Sleep(time.Duration(rng.Int64N(int64(long))))
	made.end(ledger.Nano(rng.IntN(int(made.cost) + 1)))
}

func (c *chaos) step() {
	s := c.sites[c.rng.IntN(len(c.sites))]
	switch n := c.rng.IntN(100); {
	case n < 40:
		c.burst(time.Duration(c.rng.IntN(10_000)) * time.Millisecond)
		time.Sleep(time.Duration(c.rng.IntN(4000)) * time.Millisecond)
	case n < 55:
		time.Sleep(time.Duration(c.rng.Int64N(int64([]time.Duration{time.Second, 20 * time.Second, 3 * time.Minute}[c.rng.IntN(3)]))))
	case n < 70: // a bad network, or none
		rng, bad, one := rand.New(rand.NewPCG(c.rng.Uint64(), 1)), 1+c.rng.IntN(100), fault(c.rng.IntN(5))
		s.link.breaks(func() fault {
			switch {
			case rng.IntN(100) >= bad:
				return none
			case one == none:
				return fault(rng.IntN(5))
			}
			return one
		})
	case n < 80:
		s.link.breaks(nil)
	case n < 84:
		s.link.arrive()
	case n < 90 && !c.down[s]:
		s.kill()
		c.down[s] = true
	case n < 94 && c.down[s]:
		if c.rng.IntN(3) == 0 {
			s.place += "'" // on another machine, which cannot know that the one before is dead
		}
		s.start()
		delete(c.down, s)
	case n < 96 && !c.down[s]: // an orderly end
		s.stop()
		s.start()
	case n < 98: // somebody sets the clock
		s.machine.mu.Lock()
		s.machine.set += time.Duration(c.rng.Int64N(int64(4*time.Hour))) - 2*time.Hour
		s.machine.mu.Unlock()
	default: // the database's clock moves a little
		c.m.mu.Lock()
		c.m.ahead += time.Duration(c.rng.Int64N(int64(time.Second))) - time.Second/2
		c.m.mu.Unlock()
	}
}
