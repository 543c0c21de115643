package canary

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
)

// world is the gateway, upstreams that echo what they are sent, and a collector of telemetry.
type world struct {
	t       *testing.T
	dir     string
	log     *record
	sent    *record // to the collector
	gateway *launch.Gateway
	answers places
	told    string // id of a tool call whose payload is kept
}

// record keeps what is written to it. Safe for concurrent use.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

const config = `
providers:
  model: {kind: custom, base_url: "URL-OF-PROVIDER/v1", dialects: [chat], api_key: env:CANARY_PROVIDER, price: {input: 1 USD/1M, output: 1 USD/1M}, models: [whole, stream, refused, badrequest, broken]}
servers:
  tools: {url: "URL-OF-SERVER/mcp?token=QUERY-SECRET", era: legacy, auth: {bearer: env:CANARY_BEARER, headers: {X-Api-Key: env:CANARY_HEADER}}}
  child: {command: [/bin/sh, -c, "echo starting with $TOKEN >&2; exit 3"], env: {TOKEN: env:CANARY_CHILD}}
users:
  THE-USER: {limits: [1000 calls / 1d]}
keys:
  dev: {secret: env:CANARY_KEY, user: THE-USER}
payloads: {mode: full, kek: env:CANARY_KEK}
sinks:
  copy: {type: file, path: ./copy.jsonl, own: true}
  collector: {type: otlp, url: URL-OF-COLLECTOR, own: true}
`

const rules = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`

func start(t *testing.T, binary string) *world {
	w := &world{t: t, dir: t.TempDir(), log: &record{}, sent: &record{}, answers: places{}}
	provider := httptest.NewServer(http.HandlerFunc(model))
	server := httptest.NewServer(http.HandlerFunc(tools))
	collector := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		answer.Header().Set("Content-Type", "application/x-protobuf") // an empty message: all was taken
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		fmt.Fprintln(w.sent, r.URL.Path)
		_, _ = io.Copy(w.sent, body)
	}))
	for _, s := range []*httptest.Server{provider, server, collector} {
		t.Cleanup(s.Close)
	}
	var err error
	w.gateway, err = launch.Start(t.Context(), launch.Config{
		Binary: binary, Dir: w.dir, Policies: map[string]string{"all.yaml": rules}, Log: w.log, Flags: []string{"--log-level", "debug"},
		YAML: strings.NewReplacer("URL-OF-PROVIDER", provider.URL, "URL-OF-SERVER", server.URL, "QUERY-SECRET", serverURLQuery, "THE-USER", userName, "URL-OF-COLLECTOR", collector.URL).Replace(config),
		Env: []string{
			"CANARY_PROVIDER=" + providerKey, "CANARY_BEARER=" + bearer, "CANARY_HEADER=" + header, "CANARY_CHILD=" + childEnv,
			"CANARY_KEY=" + keySecret, "CANARY_KEK=" + kek,
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_BSP_SCHEDULE_DELAY=100",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.gateway.Stop() })
	return w
}

// model is a provider: what it answers says the completion, its errors repeat what it was sent.
func model(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var ask struct{ Model string }
	_ = json.Unmarshal(body, &ask)
	echo := fmt.Sprintf("bad key %s for %s", r.Header.Get("Authorization"), body)
	fail := func(status int) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": echo}})
	}
	const end = `"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}`
	switch ask.Model {
	case "refused":
		fail(http.StatusUnauthorized)
	case "badrequest":
		fail(http.StatusBadRequest)
	case "broken":
		fail(http.StatusInternalServerError)
	case "stream":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", streamed)
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],%s}\n\ndata: [DONE]\n\n", end)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],%s}`, completion, end)
	}
}

// tools is a tool server of the legacy era: echo answers, leak and broken repeat the credentials they were sent.
func tools(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	if r.Method != http.MethodPost || json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if len(m.ID) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	echo := fmt.Sprintf("%s %s %s %s", r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.URL.RawQuery, body)
	answer := func(member string, v any) {
		b, _ := json.Marshal(v)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%q:%s}`, m.ID, member, b)
	}
	switch m.Method + " " + m.Params.Name {
	case "initialize ":
		answer("result", map[string]any{"protocolVersion": "2025-06-18", "capabilities": map[string]any{"tools": map[string]any{}}, "serverInfo": map[string]string{"name": "t", "version": "1"}})
	case "tools/list ":
		var list []map[string]any
		for _, name := range []string{"echo", "leak", "broken"} {
			list = append(list, map[string]any{"name": name, "inputSchema": map[string]any{"type": "object"}})
		}
		answer("result", map[string]any{"tools": list})
	case "tools/call echo":
		answer("result", map[string]any{"content": []map[string]string{{"type": "text", "text": result}}})
	case "tools/call leak":
		answer("error", map[string]any{"code": -32000, "message": echo, "data": echo})
	case "tools/call broken":
		http.Error(w, echo, http.StatusInternalServerError)
	default:
		answer("error", map[string]any{"code": -32601, "message": "no such method"})
	}
}

// post sends a request and keeps the answer as a place.
func (w *world) post(name, path, key, body string) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.gateway.URL()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Cookie", "session="+cookie)
	if strings.HasPrefix(path, "/mcp") {
		req.Header.Set("MCP-Protocol-Version", "2026-07-28")
		var m struct {
			Method string
			Params struct{ Name string }
		}
		_ = json.Unmarshal([]byte(body), &m)
		req.Header.Set("Mcp-Method", m.Method)
		if m.Params.Name != "" {
			req.Header.Set("Mcp-Name", m.Params.Name)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	head := &strings.Builder{}
	_ = resp.Header.Write(head)
	w.answers["answer: "+name] = resp.Status + "\n" + head.String() + string(b)
	return string(b)
}

func chat(model string) string {
	return fmt.Sprintf(`{"model":"model/%s","stream":%v,"max_tokens":9,"messages":[{"role":"user","content":%q}]}`, model, model == "stream", prompt)
}

func tool(name string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tools__%s","arguments":{"text":%q},"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}}}`, name, argument)
}

// everything sends all there is through the gateway.
func (w *world) everything() {
	w.t.Helper()
	const completions, mcp = "/v1/chat/completions", "/mcp"
	for _, m := range []string{"whole", "stream", "refused", "badrequest", "broken"} {
		w.post("chat "+m, completions, keySecret, chat(m))
	}
	w.post("chat with a secret in its URL", completions+"?key="+querySecret+"&access_token="+querySecret, keySecret, chat("whole"))
	for _, name := range []string{"echo", "leak", "broken"} {
		w.post("tool "+name, mcp, keySecret, tool(name))
	}
	w.post("tool with a secret in its URL", mcp+"?token="+querySecret, keySecret, tool("echo"))
	for name, body := range map[string]string{
		"no JSON":        malformed,
		"broken JSON":    `{"model":"model/whole","messages":"` + malformed,
		"a name twice":   `{"` + malformed + `":1,"` + malformed + `":2,"model":"model/whole"}`,
		"a wrong type":   `{"model":{"a":"` + malformed + `"},"messages":[]}`,
		"no such method": `{"jsonrpc":"2.0","id":1,"method":"` + malformed + `"}`,
	} {
		w.post("chat, "+name, completions, keySecret, body)
		w.post("tools, "+name, mcp, keySecret, body)
	}
	w.post("a wrong key", completions, wrongSecret, chat("whole"))
	w.post("a wrong key for tools", mcp, wrongSecret, tool("echo"))
	w.post("nowhere", "/"+malformed, keySecret, "{}")
}

// command runs a command and returns what it printed.
func (w *world) command(args ...string) string {
	w.t.Helper()
	out, err := w.gateway.Command(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

// lag is how far a sink is behind.
type lag struct {
	Entries int64 `json:"lag_entries"`
}

// delivered waits until every sink has sent all there is.
func (w *world) delivered() {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		var sinks []lag
		if err := json.Unmarshal([]byte(w.command("sinks", "list", "--format", "json")), &sinks); err != nil {
			w.t.Fatal(err)
		}
		if !slices.ContainsFunc(sinks, func(s lag) bool { return s.Entries > 0 }) {
			return
		}
		<-tick.C
	}
	w.t.Fatalf("a sink has not sent all in ten seconds:\n%s", w.command("sinks", "list", "--format", "json"))
}

// look gathers what there is to see.
func (w *world) look() places {
	w.t.Helper()
	w.delivered()
	p := places{}
	for _, args := range [][]string{
		{"audit", "query", "--entries", "--limit", "0", "--format", "json"}, {"audit", "query", "--limit", "0", "--format", "csv"},
		{"usage", "--by", "user,key", "--format", "json"}, {"limits", "show", "--format", "json"}, {"key", "list", "--format", "json"},
		{"check"},
	} {
		p["command: "+strings.Join(args, " ")] = w.command(args...)
	}
	resp, err := http.Get("http://" + w.gateway.Admin + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	export := filepath.Join(w.t.TempDir(), "export")
	p["command: audit export"] = w.command("audit", "export", "--out", export)
	p.files(w.t, export)
	p["metrics"], p["log"], p["telemetry"] = string(b), w.log.String(), w.sent.String()
	p.files(w.t, filepath.Join(w.dir, "data"))
	copied, err := filepath.Glob(filepath.Join(w.dir, "copy*"))
	if err != nil || len(copied) == 0 {
		w.t.Fatal("the sink has written nothing", err)
	}
	for _, name := range copied {
		b, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		p["sink: "+filepath.Base(name)] = string(b)
	}
	for place, text := range w.answers {
		p[place] = text
	}
	return p
}

// shown checks that the places held what was to be looked through, and that who may see something sees it.
func (w *world) shown(p places) {
	w.t.Helper()
	for place, want := range map[string]string{
		"log": `"level":"WARN"`, "telemetry": "tools/call", "sink: copy.jsonl": `"action":"tool.call"`, "metrics": "tollgate_refusals",
		"answer: chat whole": completion, "answer: chat stream": streamed, "answer: tool echo": result,
		"command: audit query --entries --limit 0 --format json": userName, "command: limits show --format json": "user " + userName,
	} {
		if !strings.Contains(p[place], want) {
			w.t.Errorf("%s has no %q:\n%.2000s", place, want, p[place])
		}
	}
	for _, signal := range []string{"/v1/traces", "/v1/metrics", "/v1/logs"} {
		if !strings.Contains(p["telemetry"], signal) {
			w.t.Errorf("the collector got no %s: %s", signal, w.command("sinks", "list", "--format", "json"))
		}
	}
	var calls []struct{ ID, Action, Target, Payload string }
	var page json.RawMessage = []byte(w.command("audit", "query", "--action", "tool.call", "--user", userName, "--format", "json"))
	if err := json.Unmarshal(page, &calls); err != nil {
		w.t.Fatalf("%v\n%s", err, page)
	}
	for _, c := range calls {
		if c.Target == "echo" && c.Payload == "full" {
			w.told = c.ID
		}
	}
	if w.told == "" {
		w.t.Fatalf("no call of %s keeps its payload: %s", userName, page)
	}
	if out := w.command("audit", "payload", w.told, "--reason", "ticket 4711"); !strings.Contains(out, argument) || !strings.Contains(out, result) {
		w.t.Errorf("the payload: %s", out)
	}
	if out := w.command("audit", "query", "--action", "payload.read", "--format", "json"); !strings.Contains(out, "ticket 4711") || !strings.Contains(out, w.told) {
		w.t.Errorf("that it was read stands nowhere: %s", out)
	}
}

// verified holds that the evidence still holds.
func (w *world) verified() {
	w.t.Helper()
	var key struct{ Verifier string }
	text := w.command("audit", "keys", "--format", "json")
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	export := filepath.Join(w.t.TempDir(), "export")
	w.command("audit", "export", "--out", export)
	w.command("audit", "verify", export, "--key", key.Verifier)
}
