package ledger_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/policy"
)

// BenchmarkCall is the ledger's part of one call with four limits and 1.5 KB of arguments: Reserve and Post. Each
// caller waits for its line to be synced where its durability says so.
func BenchmarkCall(b *testing.B) {
	for _, durability := range []ledger.Durability{ledger.Overlap, ledger.Strict, ledger.Relaxed} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", durability, callers), func(b *testing.B) {
				l := benchLedger(b, durability)
				c := toolCall()
				c.Args = bytes.Repeat([]byte("a"), 1500)
				d := &policy.Decision{Rules: []string{"tools"}, Revision: "3f786850e387550fdab836ed7e6dc881de23001b"}
				h := ledger.Hold{Cost: 1000, Worst: 2000, Tokens: 1000, WorstTokens: 4000}
				o := ledger.Outcome{Status: ledger.OK, Code: 200, Latency: time.Second,
					Usage: ledger.Usage{Cost: 900, Quantities: ledger.Quantities{InputTokens: 700, OutputTokens: 200, Calls: 1}}}
				call := func() {
					r, err := l.Reserve(context.Background(), c, d, h)
					if err != nil {
						b.Error(err)
						return
					}
					if err := r.Post(o); err != nil {
						b.Error(err)
					}
				}
				b.ReportAllocs()
				if callers == 1 {
					for b.Loop() {
						call()
					}
					return
				}
				b.SetParallelism(callers / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						call()
					}
				})
			})
		}
	}
}

func benchLedger(b *testing.B, durability ledger.Durability) *ledger.Ledger {
	l, err := ledger.Open(ledger.Config{Dir: b.TempDir(), Durability: durability})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	at := map[ledger.Scope][]ledger.Limit{}
	for scope, text := range map[ledger.Scope]string{
		{Level: ledger.CustomerLevel, Name: "acme"}: "9000 USD / 1M", {Level: ledger.TeamLevel, Name: "platform"}: "9000 USD / 1d hard",
		{Level: ledger.KeyLevel, Name: "k1"}: "5000M calls / 1m", {Level: ledger.UserLevel, Name: "ann"}: "500 concurrent",
	} {
		limit, err := ledger.ParseLimit(text)
		if err != nil {
			b.Fatal(err)
		}
		at[scope] = append(at[scope], limit)
	}
	l.SetLimits(at)
	return l
}

// BenchmarkFloor is what a call cannot cost less than: two writes to the kernel, the digest of 1.5 KB and the chain over
// two entries. Set BenchmarkCall against it in the same run; both move with the machine.
func BenchmarkFloor(b *testing.B) {
	dir, err := durable.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	f, err := dir.Create("floor")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const entry, size = 350, 32 << 20
	if err := f.Reserve(size); err != nil {
		b.Fatal(err)
	}
	args, wire := bytes.Repeat([]byte("a"), 1500), make([]byte, entry)
	mac := hmac.New(sha256.New, []byte("key"))
	var sum []byte
	offset := int64(0)
	for b.Loop() {
		mac.Reset()
		mac.Write(args)
		sum = mac.Sum(sum[:0])
		for range 2 {
			chain := sha256.Sum256(wire)
			copy(wire, chain[:])
			if _, err := f.WriteAt(wire, offset); err != nil {
				b.Fatal(err)
			}
			offset = (offset + entry) % (size - entry)
		}
	}
}

// BenchmarkRead is what an entry costs a start, a checkpoint, the index and each sink.
func BenchmarkRead(b *testing.B) {
	disk := durabletest.New()
	l, err := ledger.Open(ledger.Config{Storage: disk, Durability: ledger.Relaxed})
	if err != nil {
		b.Fatal(err)
	}
	for range 1000 {
		r, err := l.Reserve(context.Background(), toolCall(), &policy.Decision{Rules: []string{"all"}, Revision: "r1"}, ledger.Hold{Cost: 5})
		if err == nil {
			err = r.Post(ledger.Outcome{Status: ledger.OK})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := ledger.NewReader(disk, journal.Position{})
		n := 0
		for range r.All() {
			n++
		}
		if r.Close(); n != 2000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/entry")
}
