package mcp

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// TestRoundsAreDecidedAnew holds that a call, or the task it became, does not go on when it has become forbidden while its caller was asked.
func TestRoundsAreDecidedAnew(t *testing.T) {
	const question = `"inputRequests":{"q":{"method":"roots/list"}}}`
	asks := oneTool("a")
	asks.Answers = map[string]answer{"tools/call a": {
		Result: []byte(`{"resultType":"input_required",` + question),
		Then:   []answer{{Result: []byte(`{"resultType":"complete","content":[]}`)}},
	}}
	becomes := oneTool("a")
	becomes.Capabilities = []byte(`{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`)
	becomes.Answers = map[string]answer{
		"tools/call a": {Result: []byte(`{"resultType":"task","taskId":"t","status":"working"}`)},
		"tasks/get t": {
			Result: []byte(`{"resultType":"complete","taskId":"t","status":"input_required",` + question),
			Then:   []answer{{Result: []byte(`{"resultType":"complete","taskId":"t","status":"completed","result":{"content":[]}}`)}},
		},
		"tasks/update t": {Result: []byte(`{"resultType":"complete"}`)},
		"tasks/cancel t": {Result: []byte(`{"resultType":"complete"}`)},
	}
	const none = `{version: 1, rules: [{id: none, effect: deny, tools: ["*"]}]}`
	for _, tt := range []struct {
		name   string
		server script
		rules  string
		ok     bool
		last   string // that the server is sent
	}{
		{"allowed", asks, allowAll, true, "tools/call"}, {"forbidden", asks, none, false, "tools/call"},
		{"a task, allowed", becomes, allowAll, true, "tasks/get"}, {"a task, forbidden", becomes, none, false, "tasks/cancel"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": tt.server}, nil)
			synctest.Wait()
			b := (*backend)(w.Gateway)
			_, err := b.Call(t.Context(), &front.Call{
				Principal: &policy.Principal{Key: "k"}, Action: policy.ToolCall, Method: "tools/call", Params: []byte(`{"name":"a"}`),
				Entry:   b.Catalog().Space("").Tool("srv__a"),
				Context: &era.Context{Era: upstream.Legacy, Version: era.V2025Nov},
				Ask: func(context.Context, string, []byte) *upstream.Answer {
					if err := w.gate.Gate.Reload(gatetest.Rules(t, tt.rules), w.upstreams); err != nil {
						t.Error(err)
					}
					return &upstream.Answer{Result: []byte(`{"roots":[]}`)}
				},
			})
			got := w.fakes["srv"].took()
			answered := slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, "inputResponses") })
			if answered != tt.ok || (err == nil) != tt.ok || !strings.HasPrefix(got[len(got)-1], "srv "+tt.last+" ") {
				t.Errorf("%s: %v, %q", tt.name, err, got)
			}
		})
	}
}
