package mcp

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// TestCloseSettlesWhatItCuts holds that a call which is cut is in the ledger before Close returns: the ledger is closed next.
func TestCloseSettlesWhatItCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": hangs("a")}, nil)
		f := w.fakes["srv"]
		f.play = func(ctx context.Context, _ *upstream.Exchange) (*upstream.Answer, error) {
			close(f.called)
			<-ctx.Done()
			time.Sleep(time.Second) // as one does that tells its server first
			return nil, ctx.Err()
		}
		go func() { _, _ = w.CallTool(t.Context(), &policy.Principal{Key: "k"}, "srv__a", nil) }()
		<-f.called
		now, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Close(now); err == nil || !strings.Contains(err.Error(), "cut") {
			t.Error(err)
		}
		w.gate.WantLast(t, "posted cut cost 0 estimated")
	})
}
