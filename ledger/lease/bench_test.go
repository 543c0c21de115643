package lease

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/policy"
)

// BenchmarkColdAsk is a call that finds no room at its replica and asks the database for it, as each principal's first
// does. With many callers it is how many grants one replica gets in a second.
func BenchmarkColdAsk(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			w := newReal(b, postgrestest.Database(b), 1, false)
			w.start()
			l := w.sites[0].ledger
			var n atomic.Int64
			d := &policy.Decision{Limits: []policy.RuleLimit{{Rule: "rate", Limit: "100 calls / 1d"}}}
			call := func() {
				who := &policy.Principal{KeyID: "k" + strconv.FormatInt(n.Add(1), 10)}
				r, err := l.Reserve(context.Background(), &policy.Call{Principal: who, Action: policy.ToolCall, Upstream: "tracker", Target: "search"}, d, ledger.Hold{})
				if err != nil {
					b.Error(err)
					return
				}
				if err := r.Post(ledger.Outcome{Status: ledger.OK}); err != nil {
					b.Error(err)
				}
			}
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			if callers == 1 {
				for b.Loop() {
					call()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						call()
					}
				})
			}
			b.StopTimer()
			w.stop()
		})
	}
}

// BenchmarkCall is the ledger's part of one call with four limits, by a process that is alone and by a replica whose caps
// have room: set one against the other.
func BenchmarkCall(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%t", shared), func(b *testing.B) {
			cfg := ledger.Config{Dir: b.TempDir(), Durability: ledger.Relaxed}
			if shared {
				w := newWorld(b, 1)
				c := newClient(w.store(w.sites[0]), w.sites[0].id, machine{time.Now()}, 0, quiet)
				if err := c.open(context.Background()); err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				cfg.Pools = c
			}
			l, err := ledger.Open(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			l.SetLimits(limitsOf(b, "9000 USD / 1M", "9000 USD / 1d hard", "5000M calls / 1m", "500 concurrent"))
			call := func() {
				r, err := l.Reserve(context.Background(), &policy.Call{Principal: bot, Action: policy.ToolCall, Upstream: "tracker", Target: "search"},
					nil, ledger.Hold{Cost: 1000, Worst: 2000})
				if err == nil {
					err = r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 900}})
				}
				if err != nil && !errors.Is(err, ledger.ErrOffline) {
					b.Error(err)
				}
			}
			for began := time.Now(); time.Since(began) < 2*time.Second; { // until the caps have grown to the rate
				call()
			}
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

// BenchmarkExchange is one transaction of a replica, with so many pools in which it asks for more.
func BenchmarkExchange(b *testing.B) {
	for _, pools := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("pools=%d", pools), func(b *testing.B) {
			w := newReal(b, postgrestest.Database(b), 1, false)
			s := w.store(w.sites[0])
			r := &request{id: uuid.NewString(), incarnation: uuid.NewString(), next: "first", silence: margin, join: true}
			exchange := func() {
				got, err := s.exchange(context.Background(), r)
				if err != nil || got.verdict != done {
					b.Fatalf("%+v, %v", got, err)
				}
				r.join, r.tokens, r.next = false, []string{r.next}, uuid.NewString()
			}
			exchange()
			for i := range pools {
				r.changes = append(r.changes, caps.Change{Key: caps.Key{Limit: strconv.Itoa(i)}, Kind: caps.Slots, Amount: 1_000_000, Need: 1, Want: 10})
			}
			for b.Loop() {
				exchange()
			}
			b.ReportMetric(float64(pools)*float64(b.N)/b.Elapsed().Seconds(), "grants/s")
		})
	}
}
