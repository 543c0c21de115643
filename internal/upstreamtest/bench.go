package upstreamtest

import (
	"context"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// Benchmark measures Call alone, under one permit: what an exchange adds to a server's own time.
func Benchmark(b *testing.B, f *Fixture) {
	call := policy.Call{Principal: Alice, Action: policy.ToolCall, Upstream: "tracker", Target: "echo", Tool: &policy.Tool{Server: "tracker", Name: "echo"}}
	err := f.Gate.Do(context.Background(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		x := Tool("echo", `{"text":"hello"}`)
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
