package upstream_test

import (
	"context"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// The benchmarks measure Call alone, under one permit: what this package adds to a server's own time.

func benchmark(b *testing.B, f *fixture) {
	call := policy.Call{Principal: alice, Action: policy.ToolCall, Upstream: "tracker", Target: "echo", Tool: &policy.Tool{Server: "tracker", Name: "echo"}}
	err := f.Gate.Do(context.Background(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		x := tool("echo", `{"text":"hello"}`)
		x.Permit = permit
		if _, err := f.Server.Call(ctx, x); err != nil { // opens the session
			return err
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Server.Call(ctx, x); err != nil {
				return err
			}
		}
		permit.Done(ledger.OK, 0, "")
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func benchmarkHTTP(b *testing.B, script mcptest.Script) {
	script.Tools = []string{echoTool}
	script.On = map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		q.Result(`{"content":[{"type":"text","text":"hello"}]}`)
	}}
	f, _ := httpFixture(b, mcptest.Raw(b, script).Server)
	benchmark(b, f)
}

func BenchmarkCallModern(b *testing.B) { benchmarkHTTP(b, mcptest.Script{}) }

func BenchmarkCallLegacy(b *testing.B) { benchmarkHTTP(b, legacy(mcptest.Script{Sessions: true})) }

func BenchmarkCallStdio(b *testing.B) {
	f, _ := stdioFixture(b)
	benchmark(b, f)
}
