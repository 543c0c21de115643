package index_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/policy"
)

// crowd makes calls such as a company's agents make: 300 keys of 20 teams, each with a dozen favourites among 60 tools and
// models, the most common ones far ahead. It goes over a number of days in even steps.
type crowd struct {
	random *rand.Rand
	keys   *rand.Zipf
	things *rand.Zipf
	now    time.Time
	step   time.Duration
}

func newCrowd(calls int, days int) *crowd {
	r := rand.New(rand.NewPCG(1, 2))
	return &crowd{
		random: r, keys: rand.NewZipf(r, 1.1, 10, 299), things: rand.NewZipf(r, 1.3, 2, 11),
		now: noon.AddDate(0, 0, -days), step: time.Duration(days) * 24 * time.Hour / time.Duration(calls),
	}
}

func (c *crowd) call() *policy.Call {
	c.now = c.now.Add(c.step)
	key := c.keys.Uint64()
	thing := (c.things.Uint64()*7 + key*13) % 60
	var trace [16]byte
	binary.NativeEndian.PutUint64(trace[:], c.random.Uint64())
	binary.NativeEndian.PutUint64(trace[8:], c.random.Uint64())
	call := &policy.Call{
		Principal: &policy.Principal{
			Customer: fmt.Sprint("customer", key%5), Team: fmt.Sprint("team", key%20), Key: fmt.Sprint("key", key), KeyID: fmt.Sprint("id-key-", key),
		},
		Action: policy.ToolCall, Upstream: fmt.Sprint("server", thing%6), Target: fmt.Sprint("tool", thing),
		TraceID: fmt.Sprintf("%x", trace), Now: c.now,
	}
	if thing < 12 {
		call.Action, call.Upstream, call.Target = policy.Chat, fmt.Sprint("provider", thing%3), fmt.Sprint("model", thing)
	}
	return call
}

// fill writes a ledger of so many entries, two for most calls; some are refused, some go wrong, and of every ninth the end
// comes much later.
func (c *crowd) fill(dir string, entries int) error {
	l, err := ledger.Open(ledger.Config{Dir: dir, Durability: ledger.Relaxed, Now: func() time.Time { return c.now }})
	if err != nil {
		return err
	}
	defer l.Close()
	d := &policy.Decision{Rules: []string{"all"}, Revision: "0bc527d24d60d2faa2f16e364b95abb0"}
	var open []*ledger.Reservation
	post := func(r *ledger.Reservation) error {
		o := ledger.Outcome{Status: ledger.OK, Code: 200, Latency: time.Second, Usage: ledger.Usage{Cost: 12345, Quantities: ledger.Quantities{InputTokens: 1200, OutputTokens: 300}}}
		if c.random.IntN(30) == 0 {
			o.Status = ledger.ToolError
		}
		return r.Post(o)
	}
	for n := 0; n < entries; {
		call := c.call()
		if c.random.IntN(100) == 0 {
			n++
			if err := l.Deny(call, d, "not allowed"); err != nil {
				return err
			}
			continue
		}
		r, err := l.Reserve(context.Background(), call, d, ledger.Hold{Cost: 20000, Tokens: 2000})
		if err != nil {
			return err
		}
		n += 2
		if open = append(open, r); n%9 == 0 && len(open) < 2000 {
			continue
		}
		for _, r := range open[len(open)/2:] {
			if err := post(r); err != nil {
				return err
			}
		}
		open = open[:len(open)/2]
	}
	for _, r := range open {
		if err := post(r); err != nil {
			return err
		}
	}
	return nil
}

// reach opens the index of the ledger in dir and brings it up to the journal's end.
func (e *engine) reach(dir string) (*index.Index, error) {
	l, err := ledger.Open(ledger.Config{Dir: dir, Now: func() time.Time { return noon }})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	ix, err := e.open(dir, l)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	var failed error
	go func() {
		defer close(done)
		ix.Run(ctx, func(err error) { failed = err; stop() })
	}()
	err = ix.CatchUp(ctx)
	stop()
	<-done
	if failed != nil {
		return nil, failed
	}
	return ix, err
}

// benchEngines are the engines that are measured: PostgreSQL with its own settings, which sync.
func benchEngines(b *testing.B, run func(b *testing.B, on *engine)) {
	b.Run("sqlite", func(b *testing.B) { run(b, &engine{}) })
	b.Run("postgres", func(b *testing.B) {
		s := ownServer(b, "fsync=on", "synchronous_commit=on")
		db, err := postgres.Open(b.Context(), postgres.Config{URL: secret.New(s.URL("postgres")), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		run(b, &engine{db: db})
	})
}

// cpu is what this process has used of the processors, which other processes do not disturb; a database's use is not in it.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFeed is what an entry costs the index, from the journal on.
func BenchmarkFeed(b *testing.B) {
	benchEngines(b, func(b *testing.B, on *engine) {
		dir := b.TempDir()
		if err := newCrowd(b.N, 30).fill(dir, b.N); err != nil {
			b.Fatal(err)
		}
		before := cpu()
		b.ResetTimer()
		ix, err := on.reach(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		ix.Close()
		b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "own-cpu-µs/entry")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}

// scaleVariable is how many entries BenchmarkScale indexes; without it, it is left out.
const scaleVariable = "TOLLGATE_INDEX_ENTRIES"

// BenchmarkScale fills an index with many entries and then asks it what people ask. Run it with -benchtime 1x.
func BenchmarkScale(b *testing.B) {
	entries, _ := strconv.Atoi(os.Getenv(scaleVariable))
	if entries <= 0 {
		b.Skipf("set %s to a number of entries, such as 10000000", scaleVariable)
	}
	dir := b.TempDir()
	if err := newCrowd(entries/2, 90).fill(dir, entries); err != nil {
		b.Fatal(err)
	}
	benchEngines(b, func(b *testing.B, on *engine) {
		began, before := time.Now(), cpu()
		ix, err := on.reach(dir)
		if err != nil {
			b.Fatal(err)
		}
		defer ix.Close()
		b.Logf("%d entries in %s: %.0f a second, %d µs of this process each", entries, time.Since(began).Round(time.Second),
			float64(entries)/time.Since(began).Seconds(), (cpu()-before).Microseconds()/int64(entries))
		if info, err := os.Stat(index.Path(dir)); err == nil && on.db == nil {
			b.Logf("%d MB", info.Size()>>20)
		}
		askAll(b, ix)
	})
	if segments, err := filepath.Glob(filepath.Join(dir, "*.journal")); err == nil {
		b.Logf("the journal has %d segments", len(segments))
	}
}

// askAll asks an index of the crowd what people ask, each thing several times.
func askAll(b *testing.B, ix *index.Index) {
	page, err := ix.Calls(b.Context(), index.Filter{OldestFirst: true, From: noon.AddDate(0, 0, -45), Limit: 1000})
	if err != nil || len(page.Items) < 1000 {
		b.Fatal(len(page.Items), err)
	}
	some := page.Items[999]
	month := index.Filter{From: noon.AddDate(0, 0, -30)}
	denied := []ledger.Kind{ledger.Denied}
	for _, q := range []struct {
		name string
		ask  func() (int, error)
	}{
		{"usage by team and day", usage(b, ix, index.Filter{}, "team", "day")},
		{"usage by team and day of 30 days", usage(b, ix, month, "team", "day")},
		{"usage by model and month", usage(b, ix, index.Filter{}, "model", "month")},
		{"usage by team, model and day of 30 days", usage(b, ix, month, "team", "model", "day")},
		{"usage of a key by tool", usage(b, ix, index.Filter{Key: "key250"}, "tool")},
		{"usage by hour of a day", usage(b, ix, index.Filter{From: noon.AddDate(0, 0, -3), To: noon.AddDate(0, 0, -2)}, "hour")},
		{"newest entries", calls(b, ix, index.Filter{})},
		{"a page in the middle", calls(b, ix, index.Filter{After: page.Next, OldestFirst: true})},
		{"of a busy key", calls(b, ix, index.Filter{Key: "key0"})},
		{"of a rare key", calls(b, ix, index.Filter{Key: "key299"})},
		{"of a rare key and tool", calls(b, ix, index.Filter{Key: "key299", Target: "tool5*"})},
		{"of a team", calls(b, ix, index.Filter{Team: "team7"})},
		{"of a model", calls(b, ix, index.Filter{Model: "provider0/model3"})},
		{"of nobody", calls(b, ix, index.Filter{Team: "no such"})},
		{"refused ones", calls(b, ix, index.Filter{Kinds: denied})},
		{"refused ones of a key", calls(b, ix, index.Filter{Kinds: denied, Key: "key100"})},
		{"those that went wrong", calls(b, ix, index.Filter{Outcome: "tool_error"})},
		{"under way", calls(b, ix, index.Filter{Kinds: []ledger.Kind{ledger.Reserved}})},
		{"by id", calls(b, ix, index.Filter{ID: some.ID})},
		{"by trace", calls(b, ix, index.Filter{Trace: some.Trace})},
		{"by the id of a parent that has none", calls(b, ix, index.Filter{Parent: some.ID})},
	} {
		b.Run(q.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				if n, err = q.ask(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "rows")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/op")
		})
	}
}

func usage(b *testing.B, ix *index.Index, f index.Filter, by ...string) func() (int, error) {
	return func() (int, error) {
		page, err := ix.Usage(b.Context(), f, by...)
		return len(page.Items), err
	}
}

func calls(b *testing.B, ix *index.Index, f index.Filter) func() (int, error) {
	return func() (int, error) {
		page, err := ix.Calls(b.Context(), f)
		return len(page.Items), err
	}
}
