package mcp

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// TestRoundsAreDecidedAnew holds that a call does not go on when it has become forbidden while its caller was asked.
func TestRoundsAreDecidedAnew(t *testing.T) {
	asks := oneTool("a")
	asks.Answers = map[string]answer{"tools/call a": {
		Result: []byte(`{"resultType":"input_required","inputRequests":{"q":{"method":"roots/list"}}}`),
		Then:   []answer{{Result: []byte(`{"resultType":"complete","content":[]}`)}},
	}}
	for rules, want := range map[string]int{allowAll: 2, `{version: 1, rules: [{id: none, effect: deny, tools: ["*"]}]}`: 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": asks}, nil)
			synctest.Wait()
			b := (*backend)(w.Gateway)
			_, err := b.Call(t.Context(), &front.Call{
				Principal: &policy.Principal{Key: "k"}, Action: policy.ToolCall, Method: "tools/call", Params: []byte(`{"name":"a"}`),
				Entry:   b.Catalog().Space("").Tool("srv__a"),
				Context: &era.Context{Era: upstream.Legacy, Version: era.V2025Nov},
				Ask: func(context.Context, string, []byte) *upstream.Answer {
					if err := w.gate.Gate.Reload(gatetest.Rules(t, rules), w.upstreams); err != nil {
						t.Error(err)
					}
					return &upstream.Answer{Result: []byte(`{"roots":[]}`)}
				},
			})
			if got := w.fakes["srv"].took(); len(got) != want || (err == nil) != (want == 2) {
				t.Errorf("%s: %v, %q", rules, err, got)
			}
		})
	}
}
