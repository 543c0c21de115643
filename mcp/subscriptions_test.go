package mcp

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// TestSubscribeHangs holds that a server which does not answer a subscription holds its caller's place for no longer than a
// call.
func TestSubscribeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("a")}, nil)
		w.fakes["srv"].watch = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		_, err := (*backend)(w.Gateway).Subscribe(t.Context(), &front.Call{
			Principal: &policy.Principal{Key: "k"}, Action: policy.ResourceSubscribe, Method: "resources/subscribe",
			Entry:   &catalog.Entry{Kind: catalog.Resources, Server: "srv", Name: "x://1", Tool: policy.Tool{Server: "srv", Name: "x://1", Kind: "resource"}},
			Context: &era.Context{Era: upstream.Legacy, Version: era.V2025Nov},
		}, func([]byte) {})
		if err == nil || !strings.Contains(err.Error(), "did not answer within") || time.Since(began) != callTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
