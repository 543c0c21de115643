package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/llm/demo"
	"github.com/tollgate/tollgate/llm/price"
)

// running is a gateway started from a config file, with the demo model as its provider.
type running struct {
	*process
	path string
	url  string
	logs *logs
}

// logs are written by the gateway and read by the test.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const config = `version: 1
listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0}
data: data
providers:
  demo: {kind: custom, base_url: "MODEL/v1", dialects: [chat, messages, responses], price: {input: 1 USD/1M, output: 1 USD/1M}, models: [demo]}
models:
  fast: [{use: demo/demo}]
teams:
  eng: {}
keys:
  dev: {secret: file:dev.key, team: eng, limits: [LIMIT]}
policies: policies
`

const devKey = "a-declared-key-of-the-test"

func startRunning(t *testing.T, limit string) *running {
	t.Helper()
	return startRunningIn(t, t.TempDir(), limit)
}

// startRunningIn keeps its files and data in dir. more are lines of its config.
func startRunningIn(t *testing.T, dir, limit string, more ...string) *running {
	t.Helper()
	model := httptest.NewServer(demo.New(time.Now, 0))
	t.Cleanup(model.Close)
	r := &running{path: filepath.Join(dir, "tollgate.yaml"), logs: new(logs)}
	r.write(t, "tollgate.yaml", strings.NewReplacer("MODEL", model.URL, "LIMIT", limit).Replace(config)+strings.Join(more, "\n"))
	r.write(t, "dev.key", devKey)
	r.write(t, "policies/base.yaml", `{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`)
	catalog, err := price.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(r.path, catalog)
	if err != nil {
		t.Fatal(err)
	}
	mask := &redact.Mask{}
	log := slog.New(mask.Handler(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if r.process, err = start(t.Context(), s, catalog, "test", log, mask); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.close(ctx); err != nil {
			t.Error(err)
		}
	})
	r.url = "http://" + r.doors.agents.Addr().String()
	return r
}

func (r *running) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(r.path), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// chat asks a model and returns the status.
func (r *running) chat(t *testing.T, key, model string) int {
	t.Helper()
	status, _ := r.ask(t, r.url+"/v1/chat/completions", key, fmt.Sprintf(`{"model":%q,"max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`, model))
	return status
}

func (r *running) ask(t *testing.T, url, token, body string) (int, string) {
	t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestGatewayServesWhatItsFileSays(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	for _, tt := range []struct {
		key, model string
		want       int
	}{
		{devKey, "demo/demo", 200}, {devKey, "fast", 200}, {devKey, "demo/nosuch", 404}, {devKey, "nosuch", 404},
		{"wrong-key-wrong-key-wrong", "demo/demo", 401}, {"", "demo/demo", 401},
	} {
		if got := r.chat(t, tt.key, tt.model); got != tt.want {
			t.Errorf("%q asks for %s: %d, want %d", tt.key, tt.model, got, tt.want)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nowhere": 404, "/metrics": 404, "/api/v1/keys": 404} {
		if got, body := r.ask(t, r.url+path, "", ""); got != want || !json.Valid([]byte(body)) {
			t.Errorf("agents' %s: %d %s", path, got, body)
		}
	}
}

func TestAdminNeedsItsToken(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	admin := "http://" + r.doors.admin.Addr().String()
	token, err := os.ReadFile(r.file(tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(r.file(tokenFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token file: %v %v", info.Mode(), err)
	}
	good := strings.TrimSpace(string(token))
	for _, tt := range []struct {
		path, token string
		want        int
	}{
		{"/api/v1/keys", "", 401}, {"/api/v1/keys", good + "x", 401}, {"/api/v1/keys", devKey, 401}, {"/api/v1/keys", good, 200},
		{"/metrics", "", 200}, {"/readyz", "", 200}, {"/v1/models", good, 404},
	} {
		if got, body := r.ask(t, admin+tt.path, tt.token, ""); got != tt.want {
			t.Errorf("%s with %q: %d, want %d: %s", tt.path, tt.token, got, tt.want, body)
		}
	}
	if got, _ := r.ask(t, admin+"/api/v1/keys", good, `{"name":"x"}`); got != 201 {
		t.Errorf("minting: %d", got)
	}
}

func TestRevokedKeyIsRefusedAtOnce(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	op, err := (&options{config: r.path}).operate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer op.close()
	if op.http == nil {
		t.Fatal("the command line does not speak to the running gateway")
	}
	var m minted
	if err := op.post(t.Context(), "/api/v1/keys", map[string]any{"name": "ci", "team": "eng", "limits": []string{"1 calls / 1d"}}, &m); err != nil {
		t.Fatal(err)
	}
	if got := r.chat(t, m.Secret, "fast"); got != 200 {
		t.Errorf("a minted key: %d", got)
	}
	if got := r.chat(t, m.Secret, "fast"); got != 429 {
		t.Errorf("past the limit it was minted with: %d", got)
	}
	if err := op.post(t.Context(), "/api/v1/keys/ci/revoke", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.chat(t, m.Secret, "fast"); got != 401 {
		t.Errorf("a revoked key: %d", got)
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	r := startRunning(t, "1 calls / 1d")
	before, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	stop := r.watch(t.Context(), r.path)
	defer stop()
	if got := r.chat(t, devKey, "fast"); got != 200 {
		t.Fatalf("%d", got)
	}
	if got := r.chat(t, devKey, "fast"); got != 429 {
		t.Fatalf("past the limit: %d", got)
	}

	// A file with one good and one bad change changes nothing.
	r.write(t, "tollgate.yaml", strings.Replace(string(before), "1 calls / 1d", "5 calls / 1d", 1)+"nonsense: 1\n")
	hangup(t)
	eventually(t, func() bool { return strings.Contains(r.logs.String(), "unknown key") })
	if got := r.chat(t, devKey, "fast"); got != 429 {
		t.Errorf("after a refused reload: %d", got)
	}

	// A good one is in force, and what was spent is still spent.
	r.write(t, "tollgate.yaml", strings.Replace(string(before), "1 calls / 1d", "2 calls / 1d", 1))
	hangup(t)
	eventually(t, func() bool { return strings.Count(r.logs.String(), `"reloaded"`) >= 1 })
	if first, second := r.chat(t, devKey, "fast"), r.chat(t, devKey, "fast"); first != 200 || second != 429 {
		t.Errorf("with a limit of 2, one spent: %d, then %d", first, second)
	}

	// A changed rule file needs no signal.
	r.write(t, "policies/base.yaml", `{version: 1, rules: [{id: none, effect: deny, models: ["*"]}]}`)
	eventually(t, func() bool { return r.chat(t, devKey, "fast") == 404 })

	// What cannot change while it runs is told.
	r.write(t, "tollgate.yaml", strings.Replace(string(before), "data: data", "data: elsewhere", 1))
	hangup(t)
	eventually(t, func() bool { return strings.Contains(r.logs.String(), "needs a restart") })
}

func hangup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if done() {
			return
		}
		<-tick.C
	}
	t.Fatal("it did not happen within 10 seconds")
}

func TestNoCredentialIsLogged(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	r.chat(t, devKey, "fast")
	r.log.Warn("an upstream quoted " + devKey)
	if strings.Contains(r.logs.String(), devKey) {
		t.Errorf("the log has the key: %s", r.logs)
	}
}

// A token file of nothing but blanks is none: with an empty token the admin API would ask for none.
func TestAdminTokenIsNeverBlank(t *testing.T) {
	path := filepath.Join(t.TempDir(), tokenFile)
	if err := os.WriteFile(path, []byte(strings.Repeat(" \n", tokenBytes)), secretMode); err != nil {
		t.Fatal(err)
	}
	made, err := adminToken(path)
	if err != nil || len(made) < tokenBytes {
		t.Fatalf("%q, %v", made, err)
	}
	if again, err := adminToken(path); err != nil || again != made {
		t.Errorf("%q, %v: want the one that was made", again, err)
	}
}

// Somebody who looks on does not keep the gateway from stopping.
func TestTailEndsWithTheGateway(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	op, err := (&options{config: r.path}).operate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer op.close()
	entries, err := op.stream(t.Context(), http.MethodGet, "/api/v1/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer entries.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, entries); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
}
