package policy

import (
	"fmt"
	"testing"
	"time"
)

// tenRules is a realistic file: the worked examples.
func tenRules(tb testing.TB) *Set {
	return compile(tb,
		`{id: eng-read, effect: allow, tools: ["github/*"], when: 'key.team == "eng" && tool.read_only && tool.trusted'}`,
		`{id: bot-issues, effect: allow, tools: ["github/create_issue"], when: '"ci-bot" in key.tags', if: 'args.repo in ["acme/web", "acme/api"] && len(args.title) <= 200'}`,
		`{id: off-hours, effect: deny, tools: ["k8s/*", "db/*"], when: not tool.read_only, if: 'args.env == "prod" && (now.weekday in ["sat", "sun"] || now.hour < 8 || now.hour >= 18)'}`,
		`{id: sre, effect: allow, tools: ["k8s/*", "db/*"], when: '"sre" in user.groups'}`,
		`{id: refund, effect: approve, tools: ["billing/refund"], if: args.amount > 500}`,
		`{id: support, effect: allow, tools: ["billing/refund"], when: 'key.team == "support"', if: 'args.currency in ["EUR", "USD"] && args.amount > 0'}`,
		`{id: rate, effect: limit, tools: ["web/search"], limit: 30 requests / 1m}`,
		`{id: search, effect: allow, tools: ["web/search"]}`,
		`{id: guard, effect: approve, tools: ["*"], when: 'tool.open_world && not tool.read_only', if: run.saw_untrusted}`,
		`{id: models, effect: allow, models: ["openai/*", "groq/*"], when: 'key.team != "guests"'}`)
}

var benchKey = &Principal{Key: "ci", KeyID: "id", Team: "eng", Customer: "acme", Tags: []string{"ci-bot", "nightly"}, Groups: []string{"sre"}}

func benchCalls() map[string]*Call {
	now := time.Date(2026, 1, 28, 12, 0, 0, 0, time.UTC)
	return map[string]*Call{
		"no-if":   {Principal: benchKey, Action: ToolCall, Tool: &Tool{Server: "github", Name: "get_issue", Kind: "tool", ReadOnly: true, Trusted: true}, Now: now},
		"model":   {Principal: benchKey, Action: Chat, Model: &Model{Provider: "openai", Name: "gpt-5"}, Now: now},
		"if":      {Principal: benchKey, Action: ToolCall, Tool: &Tool{Server: "web", Name: "search", Kind: "tool", OpenWorld: true}, Now: now},
		"if-args": {Principal: benchKey, Action: ToolCall, Tool: &Tool{Server: "github", Name: "create_issue", Kind: "tool"}, Args: []byte(`{"repo":"acme/web","title":"A title of some length","body":"text"}`), Now: now},
		"denied":  {Principal: benchKey, Action: ToolCall, Tool: &Tool{Server: "files", Name: "write", Kind: "tool"}, Now: now},
	}
}

func BenchmarkDecide10Rules(b *testing.B) {
	s := tenRules(b)
	for name, c := range benchCalls() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(c)
			}
		})
	}
}

// Another principal each time: nothing is answered from the cache.
func BenchmarkDecide10RulesUncached(b *testing.B) {
	s := tenRules(b)
	c := *benchCalls()["if"]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := *benchKey
		p.User = fmt.Sprint(i)
		c.Principal = &p
		s.Decide(&c)
	}
}

func BenchmarkVisible200Tools(b *testing.B) {
	s := tenRules(b)
	calls := make([]*Call, 200)
	for i := range calls {
		calls[i] = toolCall(benchKey, fmt.Sprintf("github/tool%d", i), "")
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range calls {
			s.Visible(c)
		}
	}
}

func BenchmarkCompile10Rules(b *testing.B) {
	for b.Loop() {
		tenRules(b)
	}
}

// What a decision may allocate, so that nobody makes the hot path dearer by accident.
func TestDecideAllocations(t *testing.T) {
	s := tenRules(t)
	for name, most := range map[string]float64{"no-if": 0, "model": 0, "denied": 0, "if": 2, "if-args": 14} {
		c := benchCalls()[name]
		if got := testing.AllocsPerRun(200, func() { s.Decide(c) }); got > most {
			t.Errorf("%s: %.0f allocations, at most %.0f", name, got, most)
		}
	}
}
