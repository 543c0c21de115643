package llm_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tollgate/tollgate/internal/ledgertest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/vendor"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// refusalPolicy has a model that is hidden, one that is denied for its arguments and one that nobody has approved.
const refusalPolicy = `version: 1
rules:
  - {id: all, effect: allow, models: ['*']}
  - {id: secret, effect: deny, models: ['*/hidden']}
  - {id: no-temperature, effect: deny, models: ['*/cold'], if: 'has(args.temperature)', message: leave temperature out}
  - {id: ask-first, effect: approve, models: ['*/asked'], if: 'true'}
`

// refusal is one request that is turned away.
type refusal struct {
	name    string
	body    string // MODEL is up/m
	method  string // empty: POST
	path    string // empty: the dialect's
	headers []string
	only    vendor.Dialect // empty: every dialect
	limits  []string
	pools   ledger.Pools
}

var refusals = []refusal{
	{name: "no key", headers: []string{"Authorization", ""}},
	{name: "bad key", headers: []string{"Authorization", "Bearer tg_sk_wrong"}},
	{name: "two keys", headers: []string{"X-Api-Key", otherKey}},
	{name: "foreign host", headers: []string{"Origin", "https://evil.example"}},
	{name: "hidden model", body: `{"model":"up/hidden"`},
	{name: "unknown provider", body: `{"model":"nowhere/m"`},
	{name: "denied", body: `{"model":"up/cold","temperature":1`},
	{name: "not approved", body: `{"model":"up/asked"`},
	{name: "no price", body: `{"model":"dear/m"`},
	{name: "calls limit", limits: []string{"0 calls / 1h"}},
	{name: "money limit", limits: []string{"0.000001 USD / 1d"}},
	{name: "cut off", pools: ledgertest.CutOff{}},
	{name: "other dialect", body: `{"model":"narrow/m"`},
	{name: "several providers", body: `{"model":"twin"`},
	{name: "no model", body: `{"max_tokens":5`},
	{name: "model is a number", body: `{"model":5`},
	{name: "two models", body: `{"model":"up/m","model":"up/hidden"`},
	{name: "Model and model", body: `{"model":"up/m","Model":"up/hidden"`},
	{name: "not an object", body: `["model"`},
	{name: "not JSON", body: `model=m`},
	{name: "deep", body: `{"model":"up/m","x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70)},
	{name: "bad UTF-8", body: "{\"model\":\"up/m\",\"x\":\"\xff\""},
	{name: "too large", body: `{"model":"up/m","x":"` + strings.Repeat("x", 64<<10) + `"`},
	{name: "long model", body: `{"model":"` + strings.Repeat("x", 300) + `"`},
	{name: "content type", headers: []string{"Content-Type", "text/plain"}},
	{name: "encoded", headers: []string{"Content-Encoding", "gzip"}},
	{name: "stream is a string", body: `{"model":"up/m","stream":"true"`, only: vendor.Chat},
	{name: "background", body: `{"model":"up/m","background":true`, only: vendor.Responses},
	{name: "websocket", method: http.MethodGet, headers: []string{"Upgrade", "websocket", "Connection", "Upgrade"}, only: vendor.Responses},
	{name: "method", method: http.MethodDelete},
	{name: "unserved path", path: "/v1/audio/speech", only: vendor.Chat},
	{name: "unserved path without v1", path: "/files", only: vendor.Chat},
	{name: "unserved path of the family", path: "/anthropic/v1/messages/batches", only: vendor.Messages},
	{name: "unknown path, no key", path: "/v1/nothing", headers: []string{"Authorization", ""}, only: vendor.Chat},
}

// refusedBody completes body to one of dialect d.
func refusedBody(body string, d vendor.Dialect) string {
	if body == "" {
		body = `{"model":"up/m"`
	}
	if !strings.HasPrefix(body, "{") {
		return body
	}
	switch d {
	case vendor.Messages:
		return body + `,"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	case vendor.Chat:
		return body + `,"messages":[{"role":"user","content":"hi"}]}`
	}
	return body + `,"input":"hi"}`
}

// Whatever is turned away is told why in the caller's own dialect, and leaves its line.
func TestRefusals(t *testing.T) {
	const file = "testdata/refusals.txtar"
	var got txtar.Archive
	for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings} {
		open, up := refusing(t, d, nil, nil)
		for _, r := range refusals {
			if r.only != "" && r.only != d {
				continue
			}
			w := open
			if r.limits != nil || r.pools != nil {
				w, up = refusing(t, d, r.limits, r.pools)
			}
			got.Files = append(got.Files, txtar.File{Name: string(d) + ": " + r.name, Data: []byte(transcript(w, up, r, d))})
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(&got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Files {
		i := slices.IndexFunc(want.Files, func(w txtar.File) bool { return w.Name == f.Name })
		if i < 0 || string(want.Files[i].Data) != string(f.Data) {
			t.Errorf("%s is now (-update writes it):\n%s", f.Name, f.Data)
		}
	}
}

// refusing is a world in which there is something to refuse to callers of dialect d.
func refusing(t *testing.T, d vendor.Dialect, limits []string, pools ledger.Pools) (*world, *peer) {
	up := newPeer(t)
	narrow := vendor.Embeddings
	if d == vendor.Embeddings {
		narrow = vendor.Chat
	}
	dear := every(t, "dear", up)
	dear.Terms.Price = nil
	twin1, twin2 := every(t, "twin1", up), every(t, "twin2", up)
	twin1.Models, twin2.Models = []string{"twin"}, []string{"twin"}
	return newWorld(t, setup{policy: refusalPolicy, bounds: llm.Limits{BodyBytesMax: 64 << 10}, limits: limits, pools: pools, providers: []llm.Provider{
		every(t, "up", up), dear, twin1, twin2, provider(t, "narrow", vendor.Custom, up.URL, narrow),
	}}), up
}

func transcript(w *world, up *peer, r refusal, d vendor.Dialect) string {
	before := len(w.entries())
	method, path := r.method, r.path
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = d.Path()
	}
	a := w.ask(method, path, refusedBody(r.body, d), r.headers...)
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", a.status, a.header.Get("Content-Type"))
	for _, name := range []string{"Retry-After", "Allow", "Upgrade"} {
		if v := a.header.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "%s\n", a.body)
	for _, e := range w.entries()[before:] {
		if e.Action.Own() {
			continue // asking which models there are
		}
		fmt.Fprintf(&b, "%s %s %s %s: %s\n", e.Kind, e.Who.Key, e.Action, e.Target, e.Detail)
	}
	if n := len(up.calls()); n != 0 {
		w.t.Errorf("%s: the provider was asked %d times", r.name, n)
	}
	return b.String()
}

// A model that is hidden and one that does not exist cannot be told apart, by name or by alias.
func TestHiddenIsUnknown(t *testing.T) {
	up := newPeer(t)
	w := newWorld(t, setup{
		policy:    "version: 1\nrules: [{id: all, effect: allow, models: ['up/m']}]\n",
		providers: []llm.Provider{every(t, "up", up)},
		aliases:   map[string][]llm.Target{"fast-alias": {{Use: "up/x"}, {Use: "up/y"}}},
	})
	for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"} {
		unknown := w.ask(http.MethodPost, path, `{"model":"none/secrets"}`)
		for _, name := range []string{"up/secrets", "fast-alias"} {
			hidden := w.ask(http.MethodPost, path, `{"model":"`+name+`"}`)
			same := strings.ReplaceAll(unknown.body, "none/secrets", name)
			if hidden.status != http.StatusNotFound || hidden.body != same {
				t.Errorf("%s: hidden %d %s\nunknown %d %s", path, hidden.status, hidden.body, unknown.status, unknown.body)
			}
			hidden.header.Del("Content-Length")
			if names := sortedNames(hidden.header); !slices.Equal(names, []string{"Content-Type", "Date"}) {
				t.Errorf("headers %v", names)
			}
		}
	}
	if n := len(of(w.entries(), ledger.Denied)); n != 12 {
		t.Errorf("%d denied entries, want one for each of 12 requests", n)
	}
	if len(up.calls()) != 0 {
		t.Error("the provider was asked")
	}
}
