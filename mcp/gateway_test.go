package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/ledgertest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

func TestMain(m *testing.M) { mcptest.Main(m) }

const allowAll = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`

// alice is everybody who comes with her key.
type alice struct{ p policy.Principal }

func (a *alice) Authenticate(r *http.Request) (*policy.Principal, error) {
	if r.Header.Get("Authorization") != "Bearer alice" {
		return nil, &oauth.Refusal{Status: http.StatusUnauthorized, Text: "no such key"}
	}
	return &a.p, nil
}

// fixture is a gateway on real servers, real gate, real ledger.
type fixture struct {
	*gatetest.Fixture
	*mcp.Gateway
	url string
}

func at(name string, u *url.URL) mcp.Server { return mcp.Server{Name: name, URL: u, Private: true} }

func newFixture(t testing.TB, rules string, servers ...mcp.Server) *fixture {
	t.Helper()
	return newFixtureOn(t, gatetest.Options{Rules: rules}, servers...)
}

func newFixtureOn(t testing.TB, o gatetest.Options, servers ...mcp.Server) *fixture {
	t.Helper()
	o.Upstreams = mcp.Upstreams(servers)
	f := &fixture{Fixture: gatetest.New(t, o)}
	g, err := mcp.New(mcp.Config{
		Gate: f.Gate, Auth: &alice{policy.Principal{Key: "alice", KeyID: "k1"}}, Servers: servers, Version: "1",
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Gateway = g
	srv := httptest.NewServer(g.Handler())
	f.url = srv.URL + "/mcp"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return f
}

// client is the SDK's client as an agent, in the era of version.
func (f *fixture) client(t testing.TB, version string, more ...client.ClientOption) *client.Client {
	t.Helper()
	wire, err := transport.NewStreamableHTTP(f.url, transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer alice"}))
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewClient(wire, append(more, client.WithProtocolVersion(version))...)
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	req := sdk.InitializeRequest{}
	req.Params.ProtocolVersion = version
	req.Params.ClientInfo = sdk.Implementation{Name: "agent", Version: "1"}
	if _, err := c.Initialize(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := c.ProtocolVersion(); got != version {
		t.Fatalf("the client speaks %s, want %s", got, version)
	}
	return c
}

// TestFourCells drives both eras of clients against both eras of servers and stdio, with the SDK on both sides.
func TestFourCells(t *testing.T) {
	f := newFixture(t, allowAll,
		at("old", mcptest.SDK(t, sdk.LATEST_LEGACY_PROTOCOL_VERSION).URL),
		at("new", mcptest.SDK(t, mcptest.Modern).URL),
		mcp.Server{Name: "pipe", Command: mcptest.Command("sdk")},
	)
	for _, version := range []string{sdk.LATEST_LEGACY_PROTOCOL_VERSION, "2025-06-18", mcptest.Modern} {
		t.Run(version, func(t *testing.T) {
			c := f.client(t, version)
			for _, server := range []string{"old", "new", "pipe"} {
				t.Run(server, func(t *testing.T) { converse(t, c, server) })
			}
		})
	}
	for _, h := range f.Health() {
		if h.State != mcp.Ready || h.Tools != 3 || h.Prompts != 1 || h.Resources != 1 || len(h.Withheld) > 0 {
			t.Errorf("%+v", h)
		}
	}
}

// converse lists, calls, reads and prompts one server of mcptest.SDK through the gateway.
func converse(t *testing.T, c *client.Client, server string) {
	tools, err := c.ListTools(t.Context(), sdk.ListToolsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tools.Tools, func(x sdk.Tool) bool { return x.Name == server+"__echo" }) {
		t.Errorf("%s__echo is not listed", server)
	}
	call := func(name string, args map[string]any) *sdk.CallToolResult {
		req := sdk.CallToolRequest{}
		req.Params.Name, req.Params.Arguments = server+"__"+name, args
		result, err := c.CallTool(t.Context(), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return result
	}
	for name, args := range map[string]map[string]any{"echo": {"text": "héllo"}, "region": {"region": "eu west"}} {
		r := call(name, args)
		if text := r.Content[0].(sdk.TextContent).Text; r.IsError || text != args["text"] && text != args["region"] {
			t.Errorf("%s says %q", name, text)
		}
	}
	if r := call("fail", nil); !r.IsError {
		t.Error("a failure is none any more")
	}
	read := sdk.ReadResourceRequest{}
	read.Params.URI = "test://note"
	if r, err := c.ReadResource(t.Context(), read); err != nil || r.Contents[0].(sdk.TextResourceContents).Text != "a note" {
		t.Errorf("read %+v, %v", r, err)
	}
	get := sdk.GetPromptRequest{}
	get.Params.Name, get.Params.Arguments = server+"__greet", map[string]string{"who": "you"}
	if r, err := c.GetPrompt(t.Context(), get); err != nil || r.Messages[0].Content.(sdk.TextContent).Text != "hello you" {
		t.Errorf("prompt %+v, %v", r, err)
	}
}

// post sends one modern request with curl's means and returns status and body.
func (f *fixture) post(t testing.TB, method, name, params string) (int, string) {
	t.Helper()
	if params != "" {
		params += ","
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p"}}}`, method, params)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"Authorization": "Bearer alice", "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name,
	} {
		if v != "" {
			req.Header.Set(k, v)
		}
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

const plainTool = `{"name":"t","inputSchema":{"type":"object"}}`

// TestHostileServers holds that whatever a server answers, the caller gets an error in the wire format, the ledger its
// line, and the next call works.
func TestHostileServers(t *testing.T) {
	for _, version := range []string{mcptest.Modern, "2025-11-25"} {
		for name, answer := range mcptest.Hostile() {
			t.Run(version+" "+name, func(t *testing.T) {
				t.Parallel()
				var calls atomic.Int32
				s := mcptest.Raw(t, mcptest.Script{Version: version, Tools: []string{plainTool}, On: map[string]func(*mcptest.Request){
					"tools/call": func(q *mcptest.Request) {
						if calls.Add(1) == 1 {
							answer(q)
							return
						}
						q.Result(`{"content":[]}`)
					},
				}})
				srv := at("srv", s.URL)
				srv.Timeout = 2 * time.Second
				f := newFixture(t, allowAll, srv)
				status, body := f.post(t, "tools/call", "srv__t", `"name":"srv__t"`)
				if data, ok := strings.CutPrefix(body[strings.LastIndex(body, "data: ")+1:], "ata: "); ok {
					body = data
				}
				var m struct {
					ID    int
					Error *struct {
						Code    int
						Message string
						Data    struct{ Tollgate struct{ Kind string } }
					}
				}
				if err := json.Unmarshal([]byte(body), &m); err != nil || m.ID != 1 || m.Error == nil || status != 200 {
					t.Fatalf("%d %.300s", status, body)
				}
				if m.Error.Code != -32603 || m.Error.Data.Tollgate.Kind == "" || strings.Contains(body, "127.0.0.1") || strings.Contains(body, "secret") {
					t.Errorf("%.300s", body)
				}
				if _, body := f.post(t, "tools/call", "srv__t", `"name":"srv__t"`); !strings.Contains(body, `"resultType":"complete"`) {
					t.Errorf("the next call: %s", body)
				}
			})
		}
	}
}

// TestNotificationsComeInOrderBeforeTheResult holds it for many calls at once: each gets its own, none gets another's.
func TestNotificationsComeInOrderBeforeTheResult(t *testing.T) {
	for _, version := range []string{mcptest.Modern, "2025-11-25"} {
		s := mcptest.Raw(t, mcptest.Script{Version: version, Tools: []string{plainTool}, On: map[string]func(*mcptest.Request){
			"tools/call": func(q *mcptest.Request) {
				var p struct {
					Arguments struct{ N int }
					Meta      struct{ ProgressToken json.RawMessage } `json:"_meta"`
				}
				_ = json.Unmarshal(q.Params, &p)
				for i := range 10 {
					q.Notify("notifications/progress", fmt.Sprintf(`{"progressToken":%s,"progress":%d,"message":"of %d"}`, p.Meta.ProgressToken, i, p.Arguments.N))
				}
				q.Result(`{"content":[]}`)
			},
		}})
		f := newFixture(t, allowAll, at("srv", s.URL))
		done := make(chan struct{})
		for n := range 20 {
			go func() {
				defer func() { done <- struct{}{} }()
				_, body := f.post(t, "tools/call", "srv__t", fmt.Sprintf(`"name":"srv__t","arguments":{"N":%d}`, n))
				at := 0
				for i := range 10 {
					want := fmt.Sprintf(`{"progressToken":"p","progress":%d,"message":"of %d"}`, i, n)
					j := strings.Index(body[at:], want)
					if j < 0 {
						t.Errorf("call %d: progress %d is missing or out of order in\n%s", n, i, body)
						return
					}
					at += j
				}
				if !strings.Contains(body[at:], `"result"`) || strings.Count(body, "notifications/progress") != 10 {
					t.Errorf("call %d: %s", n, body)
				}
			}()
		}
		for range 20 {
			<-done
		}
	}
}

// TestListsAreWhole holds that all pages of a server are there, behind two others, and that a changed list is told.
func TestListsAreWhole(t *testing.T) {
	var tools []string
	for i := range 25 {
		tools = append(tools, fmt.Sprintf(`{"name":"t%c","inputSchema":{"type":"object"},"x":12345678901234567890}`, 'a'+i))
	}
	paged := mcptest.Raw(t, mcptest.Script{Tools: tools, PageSize: 10})
	broken := mcptest.Raw(t, mcptest.Script{On: map[string]func(*mcptest.Request){
		"server/discover": func(q *mcptest.Request) { q.Status(405) }, "initialize": func(q *mcptest.Request) { q.ErrorText(200, "{}") },
	}})
	f := newFixture(t, allowAll, at("alpha", mcptest.SDK(t, mcptest.Modern).URL), at("broken", broken.URL), at("paged", paged.URL))
	_, body := f.post(t, "tools/list", "", "")
	if n := strings.Count(body, `"paged__t`); n != 25 || strings.Count(body, "12345678901234567890") != 25 {
		t.Errorf("%d of 25 tools in %.500s", n, body)
	}
	if !strings.Contains(body, `"alpha__echo"`) || !strings.Contains(body, `{"server":"broken","state":"unavailable"`) {
		t.Errorf("%.500s", body)
	}
}

// TestCallTool is the way of scripts: the same door.
func TestCallTool(t *testing.T) {
	s := mcptest.Raw(t, mcptest.Script{Tools: []string{plainTool, `{"name":"hidden","inputSchema":{"type":"object"}}`}, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{"content":[],"x":12345678901234567890}`) },
	}})
	f := newFixture(t, `{version: 1, rules: [{id: t, effect: allow, tools: ["srv/t"]}, {id: no, effect: deny, tools: ["srv/t"], if: '"bad" in args', message: no bad ones}]}`, at("srv", s.URL))
	f.post(t, "tools/list", "", "") // waits for the server
	p := &policy.Principal{Key: "script", KeyID: "k2"}
	got, err := f.CallTool(t.Context(), p, "srv__t", []byte(`{"a":1}`))
	if err != nil || string(got) != `{"content":[],"x":12345678901234567890}` {
		t.Errorf("%s, %v", got, err)
	}
	got, err = f.CallTool(t.Context(), p, "srv__t", []byte(`{"bad":1}`))
	if err != nil || !strings.Contains(string(got), `"isError":true`) || !strings.Contains(string(got), "no bad ones") {
		t.Errorf("%s, %v", got, err)
	}
	_, hidden := f.CallTool(t.Context(), p, "srv__hidden", nil)
	_, unknown := f.CallTool(t.Context(), p, "srv__none", nil)
	if hidden == nil || unknown == nil || hidden.Error() != unknown.Error() {
		t.Errorf("hidden: %v, unknown: %v", hidden, unknown)
	}
	for _, args := range []string{`[]`, `{"a":1,"a":2}`, `x`, ` `} {
		if _, err := f.CallTool(t.Context(), p, "srv__t", []byte(args)); err == nil {
			t.Errorf("arguments %s are taken", args)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
	var calls []string
	for _, line := range f.Lines(t) {
		if strings.Contains(line, "tool.call") {
			calls = append(calls, line)
		}
	}
	want := []string{"reserved tool.call srv t t", "denied tool.call srv t no", "denied tool.call srv hidden", "denied tool.call srv__none"}
	if !slices.Equal(calls, want) {
		t.Errorf("ledger %q, want %q", calls, want)
	}
}

// TestUnwritableLedgerMakesNoCall holds that a call without an entry does not leave.
func TestUnwritableLedgerMakesNoCall(t *testing.T) {
	s := mcptest.Raw(t, mcptest.Script{Tools: []string{plainTool}, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{"content":[]}`) },
	}})
	f := newFixture(t, allowAll, at("srv", s.URL))
	f.post(t, "tools/list", "", "")
	f.CloseLedger(t)
	status, body := f.post(t, "tools/call", "srv__t", `"name":"srv__t"`)
	if status != 200 || !strings.Contains(body, `"kind":"ledger"`) || slices.Contains(s.Methods(), "tools/call") {
		t.Errorf("%d %s; the server saw %v", status, body, s.Methods())
	}
}

// A replica that has lost the others makes no call, and says when to try again.
func TestReplicaThatIsCutOffMakesNoCall(t *testing.T) {
	s := mcptest.Raw(t, mcptest.Script{Tools: []string{plainTool}, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{"content":[]}`) },
	}})
	f := newFixtureOn(t, gatetest.Options{Rules: allowAll, Pools: ledgertest.CutOff{}}, at("srv", s.URL))
	f.post(t, "tools/list", "", "")
	status, body := f.post(t, "tools/call", "srv__t", `"name":"srv__t"`)
	if status != 200 || !strings.Contains(body, `"kind":"offline","retry_after":1`) || slices.Contains(s.Methods(), "tools/call") {
		t.Errorf("%d %s; the server saw %v", status, body, s.Methods())
	}
}

func TestNewRefuses(t *testing.T) {
	g := gatetest.New(t, gatetest.Options{}).Gate
	auth := &alice{}
	cmd := []string{"x"}
	u := &url.URL{Scheme: "http", Host: "h"}
	tests := []struct {
		name string
		cfg  mcp.Config
	}{
		{"no gate", mcp.Config{Auth: auth}},
		{"no authenticator", mcp.Config{Gate: g}},
		{"no name", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Command: cmd}}}},
		{"neither url nor command", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "a"}}}},
		{"both", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "a", Command: cmd, URL: u}}}},
		{"upper case", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "A", Command: cmd}}}},
		{"separator", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "git__hub", Command: cmd}}}},
		{"ends in _", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "git_", Command: cmd}}}},
		{"reserved", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "code", Command: cmd}}}},
		{"twice", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "a", Command: cmd}, {Name: "a", URL: u}}}},
		{"look alike", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "al", Command: cmd}, {Name: "a1", URL: u}}}},
		{"era", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "a", Command: cmd, Era: "new"}}}},
		{"profile named as a server", mcp.Config{Gate: g, Auth: auth, Servers: []mcp.Server{{Name: "a", Command: cmd}}, Profiles: []mcp.Profile{{Name: "a"}}}},
		{"profile of nothing", mcp.Config{Gate: g, Auth: auth, Profiles: []mcp.Profile{{Name: "p", Servers: []string{"a"}}}}},
	}
	for _, tt := range tests {
		if gw, err := mcp.New(tt.cfg); err == nil {
			t.Errorf("%s: taken", tt.name)
			_ = gw.Close(t.Context())
		} else if !strings.HasPrefix(err.Error(), "mcp: ") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
