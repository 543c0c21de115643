package llm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

const (
	ciKey    = "tg_sk_ci_canary_0123456789"
	otherKey = "tg_sk_other_canary_987654321"
	upKey    = "sk-upstream-canary-5555555555"
)

const allowAll = "version: 1\nrules: [{id: all, effect: allow, models: ['*']}]\n"

// peer is a provider that answers by the name of the model it is asked for.
type peer struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	seen    []seen
}

// seen is a request as it came to a provider.
type seen struct {
	method, path, query string
	header              http.Header
	body                []byte
}

func newPeer(t testing.TB) *peer {
	p := &peer{answers: map[string]http.HandlerFunc{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var asked struct {
		Model string `json:"model"`
	}
	_ = json.Unmarshal(body, &asked) // a GET has no body
	p.mu.Lock()
	p.seen = append(p.seen, seen{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), body})
	answer := p.answers[asked.Model]
	p.mu.Unlock()
	if answer == nil {
		http.Error(w, `{"error":{"message":"no such model here","type":"invalid_request_error","param":null,"code":"model_not_found"}}`, http.StatusNotFound)
		return
	}
	answer(w, r)
}

// on sets what p answers when it is asked for model; "" is the list of models.
func (p *peer) on(model string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[model] = answer
}

func (p *peer) requests() []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// calls are the requests for a model; the others ask which there are.
func (p *peer) calls() []seen {
	return slices.DeleteFunc(p.requests(), func(s seen) bool { return s.method != http.MethodPost })
}

func (p *peer) last(t testing.TB) seen {
	t.Helper()
	all := p.calls()
	if len(all) == 0 {
		t.Fatal("the provider was not asked")
	}
	return all[len(all)-1]
}

// says answers with a body of that content type.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// streams answers with a stream, one write and flush per part, and breaks off after it when cut.
func streams(cut bool, parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		if cut {
			panic(http.ErrAbortHandler)
		}
	}
}

// keys are the virtual keys of the tests.
type keys map[string]*policy.Principal

func (k keys) Authenticate(r *http.Request) (*policy.Principal, error) {
	text, problem := edge.Credential(r.Header)
	if problem != nil {
		return nil, &oauth.Refusal{Status: problem.Status, Text: problem.Text}
	}
	if p := k[text]; p != nil {
		return p, nil
	}
	return nil, &oauth.Refusal{Status: http.StatusUnauthorized, Text: "the key is missing or not valid"}
}

// vault holds the same key for every provider.
type vault map[string]oauth.Credential

func (v vault) Apply(p *gate.Permit, h http.Header) error {
	name := p.Call().Upstream
	if err := p.Allows(policy.Models, name); err != nil {
		return err
	}
	credential, ok := v[name]
	if !ok {
		return errors.New("no credential")
	}
	for name, value := range credential.Headers {
		h.Set(name, value.Reveal())
	}
	return nil
}

// setup is what a world is made of; zero fields have defaults.
type setup struct {
	providers []llm.Provider
	aliases   map[string][]llm.Target
	policy    string
	limits    []string // of the key ci
	bounds    llm.Limits
	pools     ledger.Pools
}

// world is a gateway with real gate, ledger and policy behind a real listener.
type world struct {
	*httptest.Server
	t      testing.TB
	dir    string
	ledger *ledger.Ledger
	gate   *gate.Gate
	proxy  *llm.Proxy
	logs   *bytes.Buffer
}

var embedded = sync.OnceValues(price.Embedded)

func provider(t testing.TB, name, kind, base string, dialects ...vendor.Dialect) llm.Provider {
	t.Helper()
	p, err := vendor.New(vendor.Declared{Name: name, Kind: kind, BaseURL: base, Dialects: dialects}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cheap, err := price.Parse(map[string]string{"input": "1 USD/1M", "output": "2 USD/1M"})
	if err != nil {
		t.Fatal(err)
	}
	return llm.Provider{Provider: p, Private: true, Terms: price.Terms{Provider: name, Kind: kind, Price: cheap}}
}

func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), logs: &bytes.Buffer{}}
	log := slog.New(slog.NewJSONHandler(&locked{w: w.logs}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.ledger, err = ledger.Open(ledger.Config{Dir: w.dir, SegmentBytes: 1 << 20, Pools: s.pools}); err != nil {
		t.Fatal(err)
	}
	var limits []ledger.Limit
	for _, text := range s.limits {
		l, err := ledger.ParseLimit(text)
		if err != nil {
			t.Fatal(err)
		}
		limits = append(limits, l)
	}
	w.ledger.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "id-ci"}: limits})
	if s.policy == "" {
		s.policy = allowAll
	}
	set, err := policy.Compile("r1", map[string][]byte{"a.yaml": []byte(s.policy)}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	upstreams, err := llm.Upstreams(s.providers)
	if err != nil {
		t.Fatal(err)
	}
	if w.gate, err = gate.New(gate.Config{Ledger: w.ledger, Policy: set, Upstreams: upstreams, Log: log}); err != nil {
		t.Fatal(err)
	}
	catalog, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	credentials := vault{}
	for _, p := range s.providers {
		credentials[p.Name] = llm.Credential(p.Vendor, secret.New(upKey))
	}
	w.proxy, err = llm.New(llm.Config{
		Gate: w.gate, Vault: credentials, Edge: &edge.Guard{}, Limits: s.bounds, Log: log, Version: "test",
		Auth: keys{
			ciKey:    {Customer: "acme", Team: "platform", Key: "ci", KeyID: "id-ci", Tags: []string{"ci"}},
			otherKey: {Customer: "other", Key: "other", KeyID: "id-other"},
		},
		Routes: llm.Routes{Providers: s.providers, Aliases: s.aliases, Prices: catalog},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	w.proxy.Register(mux)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.check)
	return w
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// check holds at the end of every test that each reservation was ended exactly once and that no credential was logged.
func (w *world) check() {
	w.Server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.proxy.Close(ctx); err != nil {
		w.t.Error("requests were still under way:", err)
	}
	ended := map[ledger.ID]int{}
	for _, e := range w.entries() {
		switch {
		case e.Kind == ledger.Reserved && e.Resolves.IsZero():
			ended[e.ID] += 0
		case e.Ends():
			ended[e.Resolves]++
		}
	}
	for id, n := range ended {
		if n != 1 {
			w.t.Errorf("reservation %s was ended %d times", id, n)
		}
	}
	if err := w.ledger.Close(); err != nil {
		w.t.Error(err)
	}
	for _, key := range []string{ciKey, otherKey, upKey} {
		if strings.Contains(w.logs.String(), key) {
			w.t.Errorf("the log holds the credential %s", key)
		}
	}
}

// entries reads the journal.
func (w *world) entries() []ledger.Entry {
	w.t.Helper()
	if err := w.ledger.Sync(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	dir, err := durable.Disk(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	cursor := journal.NewCursor(dir, journal.Position{})
	defer cursor.Close()
	var out []ledger.Entry
	for {
		frame, err := cursor.Next(journal.Written())
		if err == io.EOF {
			return out
		}
		if err != nil {
			w.t.Fatal(err)
		}
		entry, err := ledger.DecodeEntry(frame.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, entry)
	}
}

// lately are the entries of the last n calls.
func (w *world) lately(n int) []ledger.Entry {
	w.t.Helper()
	all := w.entries()
	for i := len(all) - 1; i >= 0; i-- {
		if e := all[i]; e.Kind == ledger.Reserved && e.Resolves.IsZero() && !e.Action.Own() {
			if n--; n == 0 {
				return all[i:]
			}
		}
	}
	return all
}

// of are the entries of one kind.
func of(entries []ledger.Entry, kind ledger.Kind) []ledger.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e ledger.Entry) bool { return e.Kind != kind })
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with the key ci; headers come in pairs and win over the usual ones.
func (w *world) ask(method, path, body string, headers ...string) answer {
	w.t.Helper()
	resp, err := w.send(context.Background(), method, path, body, headers...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("after %q: %v", text, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (w *world) send(ctx context.Context, method, path, body string, headers ...string) (*http.Response, error) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + ciKey}}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.Client().Do(req)
}

func sortedNames(h http.Header) []string { return slices.Sorted(maps.Keys(h)) }
