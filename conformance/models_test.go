package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/internal/llmtest"
)

// modelRules let everybody call every model.
const modelRules = "version: 1\nrules: [{id: models, effect: allow, models: [\"*\"]}]\n"

// oneProvider is a gateway over a fake provider that speaks every dialect, with a key of plenty and a key of a cent.
func oneProvider(t *testing.T) (*launch.Gateway, *llmtest.Provider) {
	t.Helper()
	p := llmtest.New(t)
	yaml := fmt.Sprintf(`
providers:
  fake:
    kind: custom
    base_url: %s/v1
    dialects: [chat, responses, messages, embeddings, count_tokens]
    models: [fake]
    price: {input: 2 USD/1M, output: 10 USD/1M}
  dear:
    kind: custom
    base_url: %s/v1
    dialects: [chat, responses, messages, embeddings]
    models: [fake]
    price: {input: 2000 USD/1M, output: 10000 USD/1M}
models:
  quick: [{use: fake/fake}]
keys:
  plenty: {secret: env:PLENTY, limits: [100 USD / 1d]}
  cent:   {secret: env:CENT, limits: [0.01 USD / 1d]}
`, p.URL, p.URL)
	return gateway(t, yaml, modelRules, "PLENTY="+secretOf("plenty"), "CENT="+secretOf("cent")), p
}

// said is what a script reports of a good answer.
type said struct {
	Text          string
	Input, Output int64
	Events        int
}

// exchange is one thing that an SDK is asked for, and what must come of it. The fake says "Hello", " world" and counts 10
// tokens in and 2 out, which cost 20 and 20 µUSD.
type exchange struct {
	step   step
	action string // of its ledger line; empty: a list, which need not have one of this form
	text   string
	input  int64
	output int64
	cost   int64 // nano-USD
}

var exchanges = []exchange{
	{step{"sdk": "openai", "do": "chat", "model": "fake/fake", "prompt": "hello"}, "llm.chat", "Hello world", 10, 2, 40_000},
	{step{"sdk": "openai", "do": "chat", "model": "fake/fake", "prompt": "hello", "stream": true}, "llm.chat", "Hello world", 10, 2, 40_000},
	{step{"sdk": "openai", "do": "chat", "model": "quick", "prompt": "hello", "stream": true, "prefix": "/openai"}, "llm.chat", "Hello world", 10, 2, 40_000},
	{step{"sdk": "openai", "do": "responses", "model": "fake/fake", "prompt": "hello"}, "llm.responses", "Hello world", 10, 2, 40_000},
	{step{"sdk": "openai", "do": "responses", "model": "fake/fake", "prompt": "hello", "stream": true}, "llm.responses", "Hello world", 10, 2, 40_000},
	{step{"sdk": "openai", "do": "embeddings", "model": "fake/fake", "prompt": "hello"}, "llm.embeddings", "dimensions", 10, 0, 20_000},
	{step{"sdk": "openai", "do": "models"}, "", "fake/fake", 0, 0, 0},
	{step{"sdk": "anthropic", "do": "messages", "model": "fake/fake", "prompt": "hello"}, "llm.messages", "Hello world", 10, 2, 40_000},
	{step{"sdk": "anthropic", "do": "messages", "model": "fake/fake", "prompt": "hello", "stream": true}, "llm.messages", "Hello world", 10, 2, 40_000},
	{step{"sdk": "anthropic", "do": "messages", "model": "quick", "prompt": "hello", "prefix": "/anthropic"}, "llm.messages", "Hello world", 10, 2, 40_000},
	{step{"sdk": "anthropic", "do": "count_tokens", "model": "fake/fake", "prompt": "hello"}, "llm.count_tokens", "", 10, 0, 0},
	{step{"sdk": "anthropic", "do": "models"}, "", "fake/fake", 0, 0, 0},
}

// sdks are the languages of the official SDKs.
var sdks = []struct {
	language, script string
	peers            func(*testing.T) runner
}{
	{"javascript", "models.mjs", func(t *testing.T) runner { return node(t) }},
	{"python", "models.py", func(t *testing.T) runner { return python(t) }},
}

func TestOfficialSDKs(t *testing.T) {
	withPeers(t)
	for _, sdk := range sdks {
		t.Run(sdk.language, func(t *testing.T) {
			peers := sdk.peers(t)
			g, p := oneProvider(t)
			var steps []step
			for _, x := range exchanges {
				steps = append(steps, x.step)
			}
			out := run(t, peers, sdk.script, job{URL: g.URL(), Key: secretOf("plenty"), Steps: steps})
			for i, x := range exchanges {
				t.Run(name(x.step), func(t *testing.T) { x.check(t, &out[i]) })
			}
			if found := p.Contains(secretOf("plenty")); len(found) > 0 {
				t.Error("the agent's key reached the provider")
			}
			checkLines(t, g)
		})
	}
}

func name(s step) string {
	parts := []string{fmt.Sprint(s["sdk"]), fmt.Sprint(s["do"])}
	if s["stream"] == true {
		parts = append(parts, "streamed")
	}
	if s["prefix"] != nil {
		parts = append(parts, strings.Trim(fmt.Sprint(s["prefix"]), "/"))
	}
	return strings.Join(parts, " ")
}

func (x *exchange) check(t *testing.T, o *outcome) {
	t.Helper()
	var got said
	o.read(t, &got)
	if !strings.Contains(got.Text, x.text) || got.Input != x.input || got.Output != x.output {
		t.Errorf("got %+v, want %q and %d + %d tokens", got, x.text, x.input, x.output)
	}
	if streamed := x.step["stream"] == true; streamed && got.Events < 3 {
		t.Errorf("%d events of a stream", got.Events)
	}
}

// checkLines compares the ledger with the exchanges: a posted line for each, with its tokens and its cost.
func checkLines(t *testing.T, g *launch.Gateway) {
	t.Helper()
	var lines []line
	for _, l := range calls(t, g) {
		if strings.HasPrefix(l.Action, "llm.") {
			lines = append(lines, l)
		}
	}
	var want []exchange
	for _, x := range exchanges {
		if x.action != "" {
			want = append(want, x)
		}
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines for %d calls: %+v", len(lines), len(want), lines)
	}
	for i, x := range want {
		l := lines[i]
		if l.Kind != "posted" || l.Action != x.action || l.Outcome != "ok" || l.Principal.Key != "plenty" || l.Estimated {
			t.Errorf("%s: %+v", name(x.step), l)
		}
		if l.Cost != x.cost || x.cost > 0 && (l.Quantities.Input != x.input || l.Quantities.Output != x.output) {
			t.Errorf("%s: cost %d, tokens %+v; want %d for %d + %d", name(x.step), l.Cost, l.Quantities, x.cost, x.input, x.output)
		}
	}
}

func TestAKeyOfACentIsRefusedBeforeTheProviderIsCalled(t *testing.T) {
	withPeers(t)
	g, p := oneProvider(t)
	for _, sdk := range sdks {
		t.Run(sdk.language, func(t *testing.T) {
			out := run(t, sdk.peers(t), sdk.script, job{URL: g.URL(), Key: secretOf("cent"), Steps: []step{
				{"sdk": "openai", "do": "chat", "model": "dear/fake", "prompt": "hello"},
				{"sdk": "openai", "do": "chat", "model": "dear/fake", "prompt": "hello", "stream": true},
				{"sdk": "openai", "do": "responses", "model": "dear/fake", "prompt": "hello"},
				{"sdk": "anthropic", "do": "messages", "model": "dear/fake", "prompt": "hello"},
			}})
			for i := range out {
				if out[i].Error == nil || out[i].Error.Code != 402 || !strings.Contains(out[i].Error.Message, "0.01 USD / 1d") {
					t.Errorf("step %d: %s", i, &out[i])
				}
			}
		})
	}
	for _, r := range p.Requests() {
		if r.Model != "" {
			t.Errorf("the provider was asked: %s %s", r.Path, r.Body)
		}
	}
}
