package gate_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/telemetry"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// tenRules are what a platform team has: allows by team and tag, a deny on arguments, a limit.
func tenRules() string {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range 6 {
		fmt.Fprintf(&b, "  - {id: team%d, effect: allow, tools: [\"s%d/*\"], models: [\"p%d/*\"], when: key.team == \"t%d\"}\n", i, i, i, i)
	}
	b.WriteString(`  - {id: eng, effect: allow, tools: ["srv/*"], when: 'key.team == "eng" && "ci" in key.tags'}
  - {id: models, effect: allow, models: ["gpu/*"], when: 'key.team == "eng"'}
  - {id: writes, effect: deny, tools: ["*"], when: 'tool.destructive && key.team != "eng"'}
  - {id: contractors, effect: deny, tools: ["*"], models: ["*"], when: '"contractor" in key.tags'}
`)
	return b.String()
}

// BenchmarkDo is the overhead of a call with everything on: ten rules, four limits, journal, metrics, trace ids.
func BenchmarkDo(b *testing.B) {
	for _, size := range []int{1536, 100 << 10} {
		for _, parallel := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dB/parallel=%v", size, parallel), func(b *testing.B) { benchmarkDo(b, size, parallel) })
		}
	}
}

// everythingOn returns a call through a gate with everything on.
func everythingOn(tb testing.TB, size int) func(context.Context) error {
	tel, err := telemetry.Start(tb.Context(), "bench")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	f := gatetest.New(tb, gatetest.Options{
		Rules: tenRules(), Durability: ledger.Overlap,
		Upstreams: []gate.Upstream{{Side: policy.Models, Name: "gpu"}},
		Gate:      gate.Config{Tracer: tel.Tracer, Meter: tel.Meter},
		Limits: map[ledger.Scope][]string{
			{Level: ledger.CustomerLevel, Name: "acme"}: {"500000 USD / 1M"},
			{Level: ledger.TeamLevel, Name: "eng"}:      {"100000 USD / 1M"},
			{Level: ledger.KeyLevel, Name: "k-bench"}:   {"100000000 requests / 1m", "100000 concurrent"},
		},
	})
	who := &policy.Principal{Customer: "acme", Team: "eng", Key: "bench", KeyID: "k-bench", Tags: []string{"ci"}}
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", size-60) + `"}]}`)
	model := &policy.Model{Provider: "gpu", Name: "m"}
	return func(ctx context.Context) error {
		call := policy.Call{Principal: who, Action: policy.Chat, Upstream: "gpu", Target: "m", Model: model, Args: body}
		return f.Gate.Do(ctx, call, ledger.Hold{Cost: 1000, Worst: 2000, Tokens: 500, WorstTokens: 900}, func(_ context.Context, p *gate.Permit) error {
			p.Sent()
			p.Done(ledger.OK, 200, "")
			return p.Charge(ledger.Usage{Cost: 900, Quantities: ledger.Quantities{InputTokens: 300, OutputTokens: 100, Calls: 1}})
		})
	}
}

// The overhead of a call is the product's headline figure; what it allocates is not left to chance.
func TestCallAllocatesLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector allocates for itself")
	}
	once := everythingOn(t, 1536)
	least := math.Inf(1) // the journal's own goroutine allocates too, now and then
	for range 8 {
		least = min(least, testing.AllocsPerRun(200, func() {
			if err := once(t.Context()); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least > 12 {
		t.Errorf("%v allocations per call, at most 12", least)
	}
}

func benchmarkDo(b *testing.B, size int, parallel bool) {
	once := everythingOn(b, size)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	b.ResetTimer()
	if parallel {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := once(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
		return
	}
	for b.Loop() {
		if err := once(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
