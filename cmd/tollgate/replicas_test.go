package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/llm/demo"
)

// replica is a gateway in a process of its own.
type replica struct {
	t          *testing.T
	dir        string
	url, admin string
	cmd        *exec.Cmd
	logs       *logs
	ended      chan struct{}
}

// among is what replicas have in common.
type among struct{ database, model, server string }

const replicaConfig = `version: 1
listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0}
data: data
database: DATABASE
secret_key: file:../secret.key
advertise: 127.0.0.1:0
offline: 1s
providers:
  demo: {kind: custom, base_url: "MODEL/v1", dialects: [chat, messages], price: {input: 1 USD/1M, output: 1 USD/1M}, models: [demo]}
servers:
  srv: {url: "SERVER"}
teams:
  eng: {limits: [40 calls / 1d]}
keys:
  dev: {secret: file:../dev.key}
policies: ../policies
`

// newAmong makes what the replicas of a test have in common: a database, a model and a directory above theirs.
func newAmong(t *testing.T, database string) (*among, string) {
	t.Helper()
	model := httptest.NewServer(demo.New(time.Now, 0))
	t.Cleanup(model.Close)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"secret.key": strings.Repeat("s3cret", 8), "dev.key": devKey,
		"policies/base.yaml": `{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &among{database: database, model: model.URL, server: "http://127.0.0.1:1/mcp"}, dir
}

// startReplica starts a gateway of that name in its own directory below dir, and waits until it is ready.
func startReplica(t *testing.T, a *among, dir, name string) *replica {
	t.Helper()
	r := newReplica(t, a, dir, name)
	r.start()
	r.ready()
	return r
}

func newReplica(t *testing.T, a *among, dir, name string) *replica {
	t.Helper()
	r := &replica{t: t, dir: filepath.Join(dir, name)}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("DATABASE", a.database, "MODEL", a.model, "SERVER", a.server).Replace(replicaConfig)
	if err := os.WriteFile(filepath.Join(r.dir, "tollgate.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// program is this very program, run by the name of the real one.
func (r *replica) program(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"tollgate"}, args...)
	cmd.Args = append(cmd.Args, "--config", filepath.Join(r.dir, "tollgate.yaml"))
	cmd.Dir = r.dir
	return cmd
}

// start starts the process and waits until it listens.
func (r *replica) start() {
	r.t.Helper()
	r.cmd, r.logs, r.ended = r.program("serve"), new(logs), make(chan struct{})
	r.cmd.Stderr = r.logs
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	cmd, ended := r.cmd, r.ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", filepath.Base(r.dir), r.logs)
		}
	})
}

// ready waits until the gateway may take calls.
func (r *replica) ready() {
	r.t.Helper()
	until(r.t, "a gateway that serves", func() bool {
		for line := range strings.Lines(r.logs.String()) {
			var said struct{ Msg, Agents, Admin string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
				r.url, r.admin = "http://"+said.Agents, "http://"+said.Admin
			}
		}
		status, _, err := request("GET", r.url+"/readyz", "")
		return err == nil && status == http.StatusOK
	})
}

// kill ends the process as a crash does.
func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	<-r.ended
}

// run runs a command of the program and returns what it printed.
func (r *replica) run(args ...string) string {
	r.t.Helper()
	cmd := r.program(args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("tollgate %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// until polls for what comes by itself in a moment.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not seen", what)
		}
	}
}

// request sends one request; headers are "Name: value". With a body it is JSON.
func request(method, url, body string, headers ...string) (status int, answer string, err error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// chat asks the model and returns the status.
func (r *replica) chat(key string) (int, string) {
	r.t.Helper()
	status, answer, err := request("POST", r.url+"/v1/chat/completions", `{"model":"demo/demo","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, "Authorization: Bearer "+key)
	if err != nil {
		r.t.Error(err)
	}
	return status, answer
}

func TestReplicasShareKeysAndLimits(t *testing.T) {
	common, dir := newAmong(t, postgrestest.Database(t))
	a := newReplica(t, common, dir, "a")
	early := a.run("key", "mint", "early") // no gateway runs: the command speaks to the database itself
	a.start()
	a.ready()
	b := startReplica(t, common, dir, "b")
	if status, answer := b.chat(early); status != http.StatusOK {
		t.Errorf("a key that was minted before: %d %s", status, answer)
	}
	key := a.run("key", "mint", "bot", "--team", "eng")
	until(t, "a key of another replica", func() bool { status, _ := b.chat(key); return status == http.StatusOK })
	// One call is made, so 39 are left to all together.
	var through atomic.Int32
	through.Store(1)
	var work sync.WaitGroup
	for i := range 6 {
		work.Go(func() {
			for range 20 {
				switch status, answer := []*replica{a, b}[i%2].chat(key); status {
				case http.StatusOK:
					through.Add(1)
				case http.StatusTooManyRequests:
				default:
					t.Errorf("%d %s", status, answer)
				}
			}
		})
	}
	work.Wait()
	if through.Load() != 40 {
		t.Errorf("%d calls got through a limit of 40", through.Load())
	}
	if shown := b.run("limits", "show"); !strings.Contains(shown, "40") {
		t.Errorf("limits show says\n%s", shown)
	}
	// A revocation that is done is done everywhere.
	free := b.run("key", "mint", "free")
	until(t, "a key of another replica", func() bool { status, _ := a.chat(free); return status == http.StatusOK })
	a.run("key", "revoke", "free")
	for name, r := range map[string]*replica{"a": a, "b": b} {
		if status, answer := r.chat(free); status != http.StatusUnauthorized {
			t.Errorf("a revoked key at %s: %d %s", name, status, answer)
		}
	}
	until(t, "the calls of both in the index that they share", func() bool {
		return strings.Count(b.run("audit", "query", "--limit", "0", "--outcome", "ok", "--format", "jsonl"), `"key":"bot"`) == 40
	})
}

// The three replicas of the examples start as they are, but for their ports and directories.
func TestExampleReplicas(t *testing.T) {
	t.Setenv("TOLLGATE_DATABASE", postgrestest.Database(t))
	t.Setenv("TOLLGATE_SECRET_KEY", strings.Repeat("s3cret", 8))
	t.Setenv("OPENAI_API_KEY", "the-openai-key-of-a-test")
	dir := t.TempDir()
	rules, err := os.ReadFile("../../examples/policies/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policies/base.yaml"), rules, 0o600); err != nil {
		t.Fatal(err)
	}
	ports := regexp.MustCompile(`(listen|advertise): 127\.0\.0\.1:\d+`)
	var all []*replica
	for _, name := range []string{"a", "b", "c"} {
		text, err := os.ReadFile("../../examples/replicas/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		r := &replica{t: t, dir: filepath.Join(dir, name)}
		if err := os.MkdirAll(r.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir, "tollgate.yaml"), ports.ReplaceAll(text, []byte("$1: 127.0.0.1:0")), 0o600); err != nil {
			t.Fatal(err)
		}
		if shown := r.run("check"); !strings.Contains(shown, "one of several replicas") {
			t.Errorf("check of %s says\n%s", name, shown)
		}
		r.start()
		r.ready()
		all = append(all, r)
	}
	for _, r := range all {
		until(t, "the two others", func() bool {
			_, answer, err := request("GET", r.url+"/readyz", "")
			return err == nil && strings.Contains(answer, `"others":2`)
		})
	}
}

// A replica that is killed in mid-call finds its calls when it starts again, and the others see what became of them.
func TestKilledReplicaFindsItsCalls(t *testing.T) {
	common, dir := newAmong(t, postgrestest.Database(t))
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(model.Close)
	t.Cleanup(func() { close(release) })
	common.model = model.URL
	a, b := startReplica(t, common, dir, "a"), startReplica(t, common, dir, "b")
	var open sync.WaitGroup
	for range 3 {
		open.Go(func() {
			_, _, _ = request("POST", a.url+"/v1/chat/completions", `{"model":"demo/demo","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, "Authorization: Bearer "+devKey)
		})
	}
	for range 3 {
		<-arrived
	}
	a.kill()
	open.Wait()
	a.start()
	a.ready()
	for name, r := range map[string]*replica{"a": a, "b": b} {
		until(t, "the calls that were cut, at "+name, func() bool {
			return strings.Count(r.run("audit", "query", "--outcome", "interrupted", "--format", "jsonl"), `"outcome":"interrupted"`) == 3
		})
	}
	if !strings.Contains(a.logs.String(), `"calls_posted_as_interrupted":3`) {
		t.Error("the start does not say that it has mended the ledger")
	}
}

var stateOf = regexp.MustCompile(`"requestState":"([^"]+)"`)

// A session, its stream, what its server asks and a call that waits are served by the replica that has them, whichever a
// request comes to.
func TestRequestsFindTheirReplica(t *testing.T) {
	common, dir := newAmong(t, postgrestest.Database(t))
	server := mcptest.Raw(t, mcptest.Script{Version: "2025-11-25", Sessions: true, Tools: []string{`{"name":"ask","inputSchema":{"type":"object"}}`},
		On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
			answer := q.Ask("elicitation/create", `{"message":"may I?","requestedSchema":{"type":"object","properties":{}}}`)
			q.Result(fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, answer))
		}}})
	common.server = server.URL.String()
	a, b := startReplica(t, common, dir, "a"), startReplica(t, common, dir, "b")
	auth := []string{"Authorization: Bearer " + devKey, "Accept: application/json, text/event-stream"}
	post := func(r *replica, body string, headers ...string) (int, string) {
		t.Helper()
		status, answer, err := request("POST", r.url+"/mcp", body, append(headers, auth...)...)
		if err != nil {
			t.Fatal(err)
		}
		return status, answer
	}
	session := openSession(t, a.url)
	named := "Mcp-Session-Id: " + session
	until(t, "the tool, at another replica", func() bool {
		_, got := post(b, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, named)
		return strings.Contains(got, "srv__ask")
	})
	// The stream is at b, the call at a, and the answer comes to b.
	stream := listen(t, b.url, session)
	answered := make(chan string, 1)
	go func() {
		_, got, err := request("POST", a.url+"/mcp", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"srv__ask","arguments":{}}}`,
			"Authorization: Bearer "+devKey, "Accept: application/json", named)
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	var question struct {
		ID     json.RawMessage
		Method string
	}
	if err := json.Unmarshal([]byte(<-stream), &question); err != nil || question.Method != "elicitation/create" {
		t.Fatalf("%+v, %v", question, err)
	}
	if status, got := post(b, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"decline"}}`, question.ID), named); status != http.StatusAccepted {
		t.Errorf("an answer: %d %s", status, got)
	}
	if got := <-answered; !strings.Contains(got, "decline") {
		t.Errorf("the call came to %s", got)
	}
	modern := func(r *replica, more string) (int, string) {
		return post(r, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__ask","arguments":{}`+more+
			`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}}}}`,
			"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: srv__ask")
	}
	_, got := modern(a, "")
	state := stateOf.FindStringSubmatch(got)
	if state == nil {
		t.Fatalf("not asked: %s", got)
	}
	status, got := modern(b, `,"requestState":"`+state[1]+`","inputResponses":{"elicitation-1":{"action":"cancel"}}`)
	if status != http.StatusOK || !strings.Contains(got, "cancel") {
		t.Errorf("the retry: %d %s", status, got)
	}
	// What was passed on is in the ledger once.
	until(t, "two calls, of the other replica", func() bool {
		return strings.Count(b.run("audit", "query", "--action", "tool.call", "--format", "jsonl"), `"target":"ask"`) == 2
	})
	// The door of replicas is no door for others.
	if status, got, err := request("POST", b.url+"/replica", `{}`, auth...); err != nil || status != http.StatusForbidden {
		t.Errorf("%d %s, %v", status, got, err)
	}
	_, metrics, err := request("GET", b.admin+"/metrics", "")
	for _, want := range []string{"tollgate_replica_contact", "tollgate_replica_silence", "tollgate_replica_others", "tollgate_index_lag", `way="forwarded"`} {
		if err != nil || !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s: %v", want, err)
		}
	}
	a.kill()
	until(t, "the end of the session", func() bool {
		status, _ := post(b, `{"jsonrpc":"2.0","id":3,"method":"ping"}`, named)
		return status == http.StatusNotFound
	})
}

// openSession opens a legacy session of the declared key.
func openSession(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequest("POST", url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{"form":{}}},"clientInfo":{"name":"t","version":"1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+devKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("initialize: %d", resp.StatusCode)
	}
	return resp.Header.Get("Mcp-Session-Id")
}

// listen opens the session's stream and returns what comes on it.
func listen(t *testing.T, url, session string) <-chan string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+devKey)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Session-Id", session)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %d", resp.StatusCode)
	}
	messages := make(chan string, 16)
	go func() {
		defer close(messages)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && data != "" {
				messages <- data
			}
		}
	}()
	return messages
}

// Without the database replicas go on for a second, by their config; then they refuse in the caller's form, say why, and go
// on by themselves when it is back. One that starts meanwhile waits.
func TestReplicasWithoutTheirDatabase(t *testing.T) {
	if _, err := postgrestest.Binaries(); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	at, err := os.MkdirTemp("", "tollgate-replicas") // t.TempDir lets no other user through, whom the server runs as
	if err != nil {
		t.Fatal(err)
	}
	database, err := postgrestest.New(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(database.Stop(), os.RemoveAll(at)) })
	common, dir := newAmong(t, database.URL("postgres"))
	a, b := startReplica(t, common, dir, "a"), startReplica(t, common, dir, "b")
	minted := a.run("key", "mint", "bot")
	if err := database.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*replica{"a": a, "b": b} {
		until(t, "a refusal at "+name, func() bool { status, _ := r.chat(devKey); return status == http.StatusServiceUnavailable })
		until(t, "a refusal of minted keys at "+name, func() bool {
			status, answer := r.chat(minted)
			return status == http.StatusServiceUnavailable && strings.Contains(answer, "the key cannot be checked now")
		})
		_, answer := r.chat(devKey)
		if !openAIError([]byte(answer)) || !strings.Contains(answer, "has lost the database") {
			t.Errorf("chat at %s: %s", name, answer)
		}
		_, answer, err := request("POST", r.url+"/v1/messages", `{"model":"demo/demo","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, "x-api-key: "+devKey, "anthropic-version: 2023-06-01")
		if err != nil || !anthropicError([]byte(answer)) || !strings.Contains(answer, "has lost the database") {
			t.Errorf("messages at %s: %s, %v", name, answer, err)
		}
		status, answer, err := request("GET", r.url+"/readyz", "")
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(answer, "not in contact") || !strings.Contains(answer, "minted keys are refused") {
			t.Errorf("readyz at %s: %d %s, %v", name, status, answer, err)
		}
	}
	late := newReplica(t, common, dir, "late")
	late.start()
	until(t, "a gateway that waits", func() bool { return strings.Contains(late.logs.String(), "waits for its database") })
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*replica{a, b, late} {
		r.ready()
		if status, answer := r.chat(devKey); status != http.StatusOK {
			t.Errorf("with the database again: %d %s", status, answer)
		}
		until(t, "the minted key", func() bool { status, _ := r.chat(minted); return status == http.StatusOK })
	}
	// A clean stop is one even while the database is gone.
	if err := database.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-a.ended
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the stop without a database ended with %d", code)
	}
}
