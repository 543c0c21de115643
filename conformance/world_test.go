package conformance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/llmtest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// world is a gateway wired in this process, as cmd/tollgate wires it, on a disk in memory that can be broken, between a
// fake provider and a fake tool server that count what reaches them.
type world struct {
	url      string
	ledger   *ledger.Ledger
	disk     *durabletest.Disk
	provider *llmtest.Provider
	server   *mcptest.Server
	read     journal.Position // how far entries have been looked at
}

// The keys of the world differ in what may stop them.
const (
	free   = "free"   // nothing
	barred = "barred" // a rule that looks at the call
	blind  = "blind"  // no rule allows it anything
	poor   = "poor"   // a budget that pays a few calls
	broke  = "broke"  // a budget below the price of any call
	slow   = "slow"   // a rate of one call a minute
)

const doorRules = `version: 1
rules:
  - {id: all, effect: allow, tools: ["*"], models: ["*"], when: 'key.name != "blind"'}
  - {id: not-barred, effect: deny, tools: ["*"], models: ["*"], if: 'key.name == "barred"'}
`

// doorLimits are the limits of keys.
var doorLimits = map[string]string{poor: "0.01 USD / 1d", broke: "0.000001 USD / 1d", slow: "1 calls / 1m"}

// What the fakes cost, in nano-USD: a call of a tool, a token in, a token out.
const (
	toolPrice   = 1_000_000
	inputPrice  = 100_000
	outputPrice = 500_000
)

// newWorld wires a world that lasts as long as the test.
func newWorld(t *testing.T, durability ledger.Durability) *world {
	t.Helper()
	w := &world{disk: durabletest.New(), provider: llmtest.New(t), server: mcptest.SDK(t, mcptest.Modern)}
	providers := w.providers(t)
	servers := []mcp.Server{{Name: "tools", URL: w.server.URL, Private: true, PricePerCall: toolPrice}}
	upstreams, err := llm.Upstreams(providers)
	must(t, err)
	w.ledger, err = ledger.Open(ledger.Config{Storage: w.disk, Durability: durability})
	must(t, err)
	keys := w.keys(t)
	auth := oauth.NewAuthenticator(keys, "")
	g, err := gate.New(gate.Config{Ledger: w.ledger, Policy: gatetest.Rules(t, doorRules), Upstreams: append(upstreams, mcp.Upstreams(servers)...)})
	must(t, err)
	guard := &edge.Guard{}
	vault := &oauth.Vault{}
	catalog, err := price.Embedded()
	must(t, err)
	models, err := llm.New(llm.Config{Gate: g, Auth: auth, Vault: vault, Edge: guard, Routes: llm.Routes{Providers: providers, Prices: catalog}})
	must(t, err)
	tools, err := mcp.New(mcp.Config{Gate: g, Auth: auth, Vault: vault, Guard: guard, Servers: servers})
	must(t, err)
	mux := http.NewServeMux()
	models.Register(mux)
	mux.Handle("/mcp", tools.Handler())
	http := httptest.NewServer(mux)
	w.url = http.URL
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		http.Close()
		must(t, tools.Close(ctx))
		must(t, models.Close(ctx))
		g.Close()
		must(t, keys.Close())
		_ = w.ledger.Close() // fails when the test broke the disk; what is on it is checked by the test
	})
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// providers is one fake that speaks everything, at a price.
func (w *world) providers(t *testing.T) []llm.Provider {
	t.Helper()
	p, err := vendor.New(vendor.Declared{Name: "models", Kind: vendor.Custom, BaseURL: w.provider.URL + "/v1",
		Dialects: []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings}}, func(string) string { return "" })
	must(t, err)
	cost, err := price.Parse(map[string]string{"input": "100 USD/1M", "output": "500 USD/1M"})
	must(t, err)
	return []llm.Provider{{Provider: p, Private: true, Models: []string{"fake"}, Terms: price.Terms{Provider: "models", Kind: vendor.Custom, Price: cost}}}
}

// keys declares the keys and attaches their limits.
func (w *world) keys(t *testing.T) *oauth.Keys {
	t.Helper()
	var specs []oauth.KeySpec
	attached := map[ledger.Scope][]ledger.Limit{}
	for _, name := range []string{free, barred, blind, poor, broke, slow} {
		specs = append(specs, oauth.KeySpec{Name: name, ID: name, Secret: secret.New(secretOf(name))})
		if text := doorLimits[name]; text != "" {
			l, err := ledger.ParseLimit(text)
			must(t, err)
			attached[ledger.Scope{Level: ledger.KeyLevel, Name: name}] = []ledger.Limit{l}
		}
	}
	keys, err := oauth.OpenKeys(t.Context(), oauth.KeysConfig{Path: filepath.Join(t.TempDir(), "keys.db"), Pepper: make([]byte, 32), Declared: specs})
	must(t, err)
	w.ledger.SetLimits(attached)
	return keys
}

// reached is how many calls have reached the fakes: requests for a model, and calls of tools.
func (w *world) reached() int {
	n := 0
	for _, r := range w.provider.Requests() {
		if r.Model != "" {
			n++
		}
	}
	for _, r := range w.server.Requests() {
		if r.Method == "tools/call" {
			n++
		}
	}
	return n
}

// lines are the entries since the last time they were asked for, of calls that principals made, in short form.
func (w *world) lines(t *testing.T) []string {
	t.Helper()
	must(t, w.ledger.Sync(t.Context()))
	r := w.ledger.Reader(w.read)
	defer r.Close()
	var out []string
	mine := map[ledger.ID]bool{}
	for e, err := range r.All() {
		must(t, err)
		if policy.Action(e.Action).Own() || e.Action == policy.ToolList || e.Ends() && !mine[e.Resolves] {
			continue
		}
		mine[e.ID] = true
		out = append(out, gatetest.Line(e))
	}
	w.read = r.Position()
	return out
}
