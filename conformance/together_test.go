package conformance

import (
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/internal/llmtest"
)

// One agent calls a tool and a model for one customer. Both lines stand under the trace that the agent sent, and both are
// paid from the customer's budget.
func TestToolsAndModelsUnderOneTraceAndOneBudget(t *testing.T) {
	withPeers(t)
	n := node(t)
	p := llmtest.New(t)
	g := gateway(t, fmt.Sprintf(`
providers:
  fake: {kind: custom, base_url: %s/v1, dialects: [chat], models: [fake], price: {input: 2 USD/1M, output: 10 USD/1M}}
servers:
  everything: {command: %s, price: {call: 0.001 USD}}
customers: {acme: {limits: [1 USD / 1M]}}
teams: {platform: {customer: acme}}
keys: {agent: {team: platform, secret: env:AGENT}}
`, p.URL, argv(n.Server("@modelcontextprotocol/server-everything", "stdio"))), `{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`,
		"AGENT="+secretOf("agent"))

	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	headers := map[string]string{"traceparent": "00-" + trace + "-00f067aa0ba902b7-01"}
	out := run(t, n, "mcp.mjs", job{URL: g.URL() + "/mcp", Key: secretOf("agent"), Era: "2026-07-28", Headers: headers,
		Steps: []step{{"do": "call", "name": "everything__echo", "args": step{"message": "hello"}}}})
	if !out[0].says("hello") {
		t.Fatalf("the tool: %s", &out[0])
	}
	out = run(t, n, "models.mjs", job{URL: g.URL(), Key: secretOf("agent"), Headers: headers,
		Steps: []step{{"sdk": "openai", "do": "chat", "model": "fake/fake", "prompt": "hello", "stream": true}}})
	if !out[0].says("Hello world") {
		t.Fatalf("the model: %s", &out[0])
	}

	const toolCost, modelCost = 1_000_000, 10*2_000 + 2*10_000 // nano-USD
	want := []struct {
		action, target string
		cost           int64
	}{{"tool.call", "echo", toolCost}, {"llm.chat", "fake", modelCost}}
	lines := calls(t, g, "--trace", trace, "--key", "agent")
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %+v", len(lines), lines)
	}
	for i, w := range want {
		l := lines[i]
		if l.Action != w.action || l.Target != w.target || l.Cost != w.cost || l.Trace != trace || l.Principal.Customer != "acme" || l.Kind != "posted" {
			t.Errorf("want %+v, got %+v", w, l)
		}
	}
	budget := limit(t, g, "customer acme", "1 USD / 1M")
	if budget.Used != toolCost+modelCost || budget.Held != 0 || budget.Used+budget.Left != 1_000_000_000 {
		t.Errorf("the budget: %+v", budget)
	}
}
