package llm_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/llmtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
)

// What a request calls a model, and what is asked of whom.
func TestNames(t *testing.T) {
	up, other := llmtest.New(t), llmtest.New(t)
	up.SetModels("listed", "both")
	other.SetModels("both", "unseen")
	declared := fake(t, "declared", other)
	declared.Models = []string{"meta/own", "both"}
	chatOnly := provider(t, "narrow", vendor.Custom, up.URL, vendor.Chat)
	chatOnly.Models = []string{"n"}
	w := newWorld(t, setup{
		policy:    "version: 1\nrules: [{id: all, effect: allow, models: ['*']}, {id: no, effect: deny, models: ['declared/both', 'up/no*']}]\n",
		providers: []llm.Provider{fake(t, "up", up), declared, chatOnly},
		aliases: map[string][]llm.Target{
			"fast":      {{Use: "up/no-1"}, {Use: "up/yes"}}, // the first is not for this key
			"up/yes":    {{Use: "declared/alias-wins"}},
			"mixed":     {{Use: "narrow/n"}, {Use: "up/messages-too"}},
			"chat-only": {{Use: "narrow/n"}},
		},
	})
	tests := []struct {
		name   string
		d      vendor.Dialect
		asked  string // provider/model as the provider was asked
		status int
		has    string
	}{
		{name: "up/some/model:x", asked: "up/some/model:x"},
		{name: "meta/own", asked: "declared/meta/own"},
		{name: "listed", asked: "up/listed"},
		{name: "both", asked: "up/both"}, // the other one is hidden
		{name: "unseen", status: 404},    // it is declared without it
		{name: "fast", asked: "up/yes"},
		{name: "up/yes", asked: "declared/alias-wins"},
		{name: "mixed", d: vendor.Messages, asked: "up/messages-too"},
		{name: "chat-only", d: vendor.Messages, status: 400, has: "it is at POST /v1/chat/completions"},
	}
	for _, test := range tests {
		if test.d == "" {
			test.d = vendor.Chat
		}
		a := w.ask(http.MethodPost, test.d.Path(), requestOf(test.d, test.name, false))
		if test.asked == "" {
			if a.status != test.status || !strings.Contains(a.body, test.has) {
				t.Errorf("%s: %d %s", test.name, a.status, a.body)
			}
			continue
		}
		reserved := of(w.entries(), ledger.Reserved)
		last := reserved[len(reserved)-1]
		if got := last.Upstream + "/" + last.Target; a.status != 200 || got != test.asked {
			t.Errorf("%s: %d, asked %s, want %s: %s", test.name, a.status, got, test.asked, a.body)
		}
	}
}

// All turns of a conversation go to one target, the shares of targets follow their weights, and higher tiers wait.
func TestWeights(t *testing.T) {
	up := llmtest.New(t)
	w := newWorld(t, setup{
		providers: []llm.Provider{fake(t, "up", up)},
		aliases:   map[string][]llm.Target{"a": {{Use: "up/fake", Weight: 3}, {Use: "up/fake-no-usage"}, {Use: "up/fake-zero", Tier: 2}}},
	})
	const conversations = 200
	shares := map[string]int{}
	for i := range conversations {
		first := ""
		for turn := range 2 {
			up := fmt.Sprintf(`{"model":"a","messages":[{"role":"system","content":"s"},{"role":"user","content":"question %d"}`, i)
			if turn > 0 {
				up += `,{"role":"assistant","content":"x"},{"role":"user","content":"more"}`
			}
			w.ask(http.MethodPost, "/v1/chat/completions", up+"]}")
		}
		all := of(w.lately(2), ledger.Reserved)
		if len(all) != 2 || all[0].Target != all[1].Target {
			t.Fatalf("the turns of one conversation went to %+v", all)
		}
		first = all[0].Target
		shares[first]++
	}
	if shares["fake-zero"] != 0 || shares["fake"] < conversations*65/100 || shares["fake"] > conversations*85/100 {
		t.Errorf("shares %v", shares)
	}
}

// Whatever names a conversation keeps it at its target; the surest name wins.
func TestConversations(t *testing.T) {
	up := llmtest.New(t)
	targets := []llm.Target{}
	for i := range 16 {
		targets = append(targets, llm.Target{Use: fmt.Sprintf("up/fake-%d", i)})
	}
	up.Script("", llmtest.Script{})
	w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}, aliases: map[string][]llm.Target{"a": targets}})
	target := func(d vendor.Dialect, body string, headers ...string) string {
		t.Helper()
		if a := w.ask(http.MethodPost, d.Path(), body, headers...); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return of(w.lately(1), ledger.Reserved)[0].Target
	}
	for _, same := range [][2][]string{
		{{`{"model":"a","input":"x","prompt_cache_key":"k1"}`}, {`{"model":"a","input":"quite another","prompt_cache_key":"k1"}`}},
		{{`{"model":"a","input":"x"}`, "Session-Id", "s1"}, {`{"model":"a","input":"y","prompt_cache_key":"k2"}`, "Session-Id", "s1"}},
		{{`{"model":"a","input":"x"}`, "X-Claude-Code-Session-Id", "s2"}, {`{"model":"a","input":"y"}`, "X-Claude-Code-Session-Id", "s2", "Session-Id", "s9"}},
	} {
		one, two := target(vendor.Responses, same[0][0], same[0][1:]...), target(vendor.Responses, same[1][0], same[1][1:]...)
		if one != two {
			t.Errorf("%v at %s, %v at %s", same[0], one, same[1], two)
		}
	}
	seen := map[string]bool{}
	for i := range 20 {
		seen[target(vendor.Responses, fmt.Sprintf(`{"model":"a","input":"x","prompt_cache_key":"key %d"}`, i))] = true
	}
	if len(seen) < 5 {
		t.Errorf("20 conversations at %d targets", len(seen))
	}
}

// An answer that a provider keeps is for the key it was given to, and stays where it is.
func TestKeptAnswers(t *testing.T) {
	up := newPeer(t)
	for _, m := range []string{"one", "two", "three"} {
		up.on(m, func(w http.ResponseWriter, r *http.Request) {
			says(200, "application/json", strings.Replace(responsesBody, `"r1"`, `"resp_`+m+`"`, 1))(w, r)
		})
	}
	w := newWorld(t, setup{
		providers: []llm.Provider{every(t, "up", up)},
		aliases:   map[string][]llm.Target{"a": {{Use: "up/one"}, {Use: "up/two"}, {Use: "up/three"}}},
	})
	first := w.ask(http.MethodPost, "/v1/responses", `{"model":"a","input":"hi"}`)
	var answer struct{ ID string }
	if err := json.Unmarshal([]byte(first.body), &answer); err != nil {
		t.Fatal(err)
	}
	next := `{"model":"a","input":"more","previous_response_id":"` + answer.ID + `"}`
	for range 3 {
		if a := w.ask(http.MethodPost, "/v1/responses", next); a.body != first.body {
			t.Errorf("it went elsewhere: %d %s", a.status, a.body)
		}
	}
	if a := w.ask(http.MethodPost, "/v1/responses", next, "Authorization", "Bearer "+otherKey); a.status != 400 || !strings.Contains(a.body, "previous_response_not_found") {
		t.Errorf("another key got %d %s", a.status, a.body)
	}
	w.ask(http.MethodPost, "/v1/responses", `{"model":"a","input":"hi","store":false,"prompt_cache_key":"other"}`)
	if n := len(of(w.entries(), ledger.Denied)); n != 1 {
		t.Errorf("%d denied entries", n)
	}
}

// A target that is out of order is left alone for a while, but the last one is always asked.
func TestResting(t *testing.T) {
	one, two := newPeer(t), newPeer(t)
	one.on("m", says(429, "application/json", `{"error":{"message":"busy"}}`))
	two.on("m", says(200, "application/json", chatBody))
	w := newWorld(t, setup{
		providers: []llm.Provider{every(t, "one", one), every(t, "two", two)},
		aliases:   map[string][]llm.Target{"a": {{Use: "one/m"}, {Use: "two/m", Tier: 2}}, "alone": {{Use: "one/m"}}},
	})
	for range 5 {
		if a := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("a", false)); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := len(one.calls()); n != 1 {
		t.Errorf("the busy one was asked %d times", n)
	}
	if h := w.proxy.Health(); !slices.Equal(h[0].Resting, []string{"m"}) || h[1].Resting != nil {
		t.Errorf("health %+v", h)
	}
	if a := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("alone", false)); a.status != 429 || len(one.calls()) != 2 {
		t.Errorf("the only target: %d %s", a.status, a.body)
	}
}

func TestModelLists(t *testing.T) {
	up := llmtest.New(t)
	up.SetModels("claude-9", "gpt-9")
	declared := provider(t, "narrow", vendor.Custom, up.URL, vendor.Chat)
	declared.Models = []string{"llama/x"}
	w := newWorld(t, setup{
		policy:    "version: 1\nrules: [{id: all, effect: allow, models: ['*']}, {id: no, effect: deny, models: ['up/gpt-9']}]\n",
		providers: []llm.Provider{fake(t, "up", up), declared},
		aliases:   map[string][]llm.Target{"fast": {{Use: "narrow/llama/x"}}, "secret": {{Use: "up/gpt-9"}}},
	})
	get := func(path string, headers ...string) answer {
		return w.ask(http.MethodGet, path, "", headers...)
	}
	const created = `"object":"model","created":0`
	tests := []struct {
		path    string
		headers []string
		status  int
		want    string
	}{
		{"/v1/models", nil, 200, `{"object":"list","data":[{"id":"fast",` + created + `,"owned_by":"tollgate"},{"id":"up/claude-9",` + created + `,"owned_by":"up"},{"id":"narrow/llama/x",` + created + `,"owned_by":"narrow"}]}`},
		{"/openai/models/up/claude-9", nil, 200, `{"id":"up/claude-9",` + created + `,"owned_by":"up"}`},
		{"/v1/models/narrow%2Fllama%2Fx", nil, 200, `{"id":"narrow/llama/x",` + created + `,"owned_by":"narrow"}`},
		{"/v1/models/claude-9", nil, 200, `{"id":"claude-9",` + created + `,"owned_by":"up"}`},
		{"/v1/models/gpt-9", nil, 404, `{"error":{"message":"the model \"gpt-9\" does not exist or this key may not use it; GET /v1/models lists those it may","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{"/v1/models?limit=1000", []string{"Anthropic-Version", "2023-06-01"}, 200,
			`{"data":[{"type":"model","id":"claude-9","display_name":"claude-9","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,"first_id":"claude-9","last_id":"claude-9"}`},
		{"/anthropic/v1/models/claude-9", nil, 200, `{"type":"model","id":"claude-9","display_name":"claude-9","created_at":"1970-01-01T00:00:00Z"}`},
		{"/anthropic/v1/models?limit=x", nil, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"limit must be a number from 1 to 1000"}}`},
	}
	for _, test := range tests {
		if a := get(test.path, test.headers...); a.status != test.status || a.body != test.want {
			t.Errorf("%s: %d\n%s\nwant\n%s", test.path, a.status, a.body, test.want)
		}
	}
	var codex struct {
		Models []struct {
			Slug       string `json:"slug"`
			ApplyPatch string `json:"apply_patch_tool_type"`
		}
	}
	if err := json.Unmarshal([]byte(get("/v1/models?client_version=0.169.0").body), &codex); err != nil || len(codex.Models) != 1 || codex.Models[0].Slug != "claude-9" || codex.Models[0].ApplyPatch != "freeform" {
		t.Errorf("%+v, %v", codex, err)
	}
	probes := slices.DeleteFunc(of(w.entries(), ledger.Reserved), func(e ledger.Entry) bool { return !e.Action.Own() })
	if len(probes) != 1 || probes[0].OnBehalf != "ci" {
		t.Errorf("the list was read %d times: %+v", len(probes), probes)
	}
}

func TestPagesOfModels(t *testing.T) {
	up := llmtest.New(t)
	to := fake(t, "up", up)
	for i := range 50 {
		to.Models = append(to.Models, fmt.Sprintf("m%02d", i))
	}
	w := newWorld(t, setup{providers: []llm.Provider{to}})
	var got []string
	after := ""
	for {
		var page struct {
			Data []struct {
				ID string
			}
			HasMore bool   `json:"has_more"`
			LastID  string `json:"last_id"`
		}
		if err := json.Unmarshal([]byte(w.ask(http.MethodGet, "/anthropic/v1/models?after_id="+after, "").body), &page); err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Data {
			got = append(got, m.ID)
		}
		if !page.HasMore {
			break
		}
		after = page.LastID
	}
	if !slices.Equal(got, to.Models) {
		t.Errorf("pages hold %v", got)
	}
}

func TestCountTokens(t *testing.T) {
	up := newPeer(t)
	up.on("m", says(200, "application/json", `{"input_tokens":42}`))
	can, cannot := every(t, "can", up), provider(t, "cannot", vendor.Custom, up.URL, vendor.Messages)
	w := newWorld(t, setup{providers: []llm.Provider{can, cannot}, limits: []string{"0 calls / 1h", "0.000001 USD / 1d"}})
	body := `{"model":"%s/m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 400) + `"}]}`
	if a := w.ask(http.MethodPost, "/v1/messages/count_tokens", fmt.Sprintf(body, "can")); a.body != `{"input_tokens":42}` || a.header.Get("X-Tollgate-Estimated") != "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	a := w.ask(http.MethodPost, "/anthropic/v1/messages/count_tokens", fmt.Sprintf(body, "cannot"))
	var count struct {
		N int64 `json:"input_tokens"`
	}
	if err := json.Unmarshal([]byte(a.body), &count); err != nil || count.N < 400 || count.N > 700 || a.header.Get("X-Tollgate-Estimated") != "true" {
		t.Errorf("%v %v %s", err, a.header, a.body)
	}
	entries := w.entries()
	for _, e := range entries {
		if e.Cost != 0 || e.Counted || e.Quantities.Tokens() != 0 {
			t.Errorf("%+v", e)
		}
	}
	if len(entries) != 4 || len(up.calls()) != 1 {
		t.Errorf("%d entries, the provider was asked %d times", len(entries), len(up.calls()))
	}
}

func TestHello(t *testing.T) {
	w := newWorld(t, setup{})
	if a := w.ask(http.MethodHead, "/api/hello", "", "Authorization", ""); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	if len(w.entries()) != 0 {
		t.Error("a greeting left an entry")
	}
}

// A reload takes all of the new routes or none.
func TestReload(t *testing.T) {
	up := llmtest.New(t)
	w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}, aliases: map[string][]llm.Target{"a": {{Use: "up/fake"}}}})
	catalog, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	good := llm.Routes{Providers: []llm.Provider{fake(t, "up", up)}, Aliases: map[string][]llm.Target{"b": {{Use: "up/fake"}}}, Prices: catalog}
	for name, bad := range map[string]llm.Routes{
		`model x: use "nowhere/m" names no declared provider`: {Providers: good.Providers, Aliases: map[string][]llm.Target{"b": {{Use: "up/m"}}, "x": {{Use: "nowhere/m"}}}, Prices: catalog},
		"provider up is declared twice":                       {Providers: append(good.Providers, good.Providers...), Prices: catalog},
		"no price catalog":                                    {Providers: good.Providers},
		"model x: it needs 1 to 64 targets":                   {Providers: good.Providers, Aliases: map[string][]llm.Target{"x": {}}, Prices: &price.Catalog{}},
		"must not be negative":                                {Providers: good.Providers, Aliases: map[string][]llm.Target{"x": {{Use: "up/m", Weight: -1}}}, Prices: catalog},
		"a provider without its vendor's row":                 {Providers: []llm.Provider{{}}, Prices: catalog},
	} {
		if err := w.proxy.Reload(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if a := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("a", false)); a.status != 200 {
			t.Errorf("after a bad reload: %d %s", a.status, a.body)
		}
	}
	if err := w.proxy.Reload(good); err != nil {
		t.Fatal(err)
	}
	for name, status := range map[string]int{"a": 404, "b": 200} {
		if a := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest(name, false)); a.status != status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// Nothing is made without what it needs.
func TestNewRefuses(t *testing.T) {
	if _, err := llm.New(llm.Config{}); err == nil {
		t.Error("a proxy without a gate")
	}
}

func TestClosedProxyRefuses(t *testing.T) {
	up := llmtest.New(t)
	w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}})
	if err := w.proxy.Ready(); err != nil {
		t.Error(err)
	}
	if err := w.proxy.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := w.ask(http.MethodPost, "/v1/messages", requestOf(vendor.Messages, "up/fake", false)); a.status != 503 || w.proxy.Ready() == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
}
