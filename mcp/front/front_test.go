package front

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/flights"
	"github.com/tollgate/tollgate/mcp/front/owned"
	"github.com/tollgate/tollgate/mcp/seal"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// hall is a Backend with one server, whose every answer is {}.
type hall struct {
	catalog *catalog.Catalog
	visible catalog.Visible // nil: everything is
	legacy  bool            // what Legacy says
	local   bool            // what Local says
	refused []string
	call    func(context.Context, *Call) (*era.Result, error) // nil: {} after one progress

	subscribe func(context.Context, *Call, func([]byte)) (func(), error) // nil: nothing is ever updated

	mu   sync.Mutex
	told []string // what Tell got

	left chan string // takes the first clients that have left
}

func newHall(more ...[]byte) *hall {
	shelf := catalog.Digest(catalog.Source{Server: "srv"}, &upstream.Offer{
		Era: upstream.Modern, Capabilities: []byte(`{"resources":{},"completions":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`),
		Tools:     append(more, []byte(`{"name":"t","inputSchema":{"type":"object"}}`)),
		Prompts:   [][]byte{[]byte(`{"name":"p"}`)},
		Resources: [][]byte{[]byte(`{"uri":"x://1","name":"n"}`)},
	})
	return &hall{left: make(chan string, 16), catalog: catalog.New([]string{"srv"}, map[string]*catalog.Shelf{"srv": shelf}, nil)}
}

func (h *hall) Catalog() *catalog.Catalog { return h.catalog }
func (h *hall) Legacy(string) bool        { return h.legacy }
func (h *hall) Local(string) bool         { return h.local }

func (h *hall) Again(context.Context, *Call) (*era.Result, error) { return nil, nil }

func (h *hall) Changed() <-chan struct{}           { return nil }
func (h *hall) Settle(context.Context, []string)   {}
func (h *hall) Policy() *policy.Set                { return nil }
func (h *hall) Degraded(servers []string) [][]byte { return make([][]byte, len(servers)) }
func (h *hall) Visible(*policy.Principal) catalog.Visible {
	if h.visible != nil {
		return h.visible
	}
	return func(*policy.Tool) bool { return true }
}
func (h *hall) Refuse(_ context.Context, c policy.Call, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = append(h.refused, string(c.Action)+" "+reason)
}

func (h *hall) Call(ctx context.Context, c *Call) (*era.Result, error) {
	if h.call != nil {
		return h.call(ctx, c)
	}
	if c.Notify != nil {
		c.Notify("notifications/progress", []byte(`{"progressToken":1,"progress":1}`))
	}
	return era.ReadResult([]byte(`{}`))
}

// everybody is one principal.
type everybody struct{ policy.Principal }

func (e *everybody) Authenticate(*http.Request) (*policy.Principal, error) { return &e.Principal, nil }

func newFront() (*Front, *hall) {
	h := newHall()
	return New(Config{Auth: &everybody{policy.Principal{Key: "k", KeyID: "1"}}, Backend: h, Version: "1", Sealer: sealer(1)}), h
}

func sealer(fill byte) *seal.Sealer {
	s, err := seal.New(bytes.Repeat([]byte{fill}, seal.KeyBytes))
	if err != nil {
		panic(err)
	}
	return s
}

// post sends one request to f over loopback.
func post(t testing.TB, url, body string, headers ...string) (status int, got string, session string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
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
	return resp.StatusCode, string(b), resp.Header.Get("Mcp-Session-Id")
}

// TestMethodTable walks every method of the specification, in both eras, and some that are not in it.
func TestMethodTable(t *testing.T) {
	f, _ := newFront()
	defer f.Close()
	srv := httptest.NewServer(f)
	defer srv.Close()
	_, _, session := post(t, srv.URL, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
	const both, legacy, modern, none = "legacy modern", "legacy", "modern", ""
	methods := map[string]string{
		"tools/list": both, "tools/call": both, "prompts/list": both, "prompts/get": both, "resources/list": both,
		"resources/templates/list": both, "resources/read": both, "completion/complete": both,
		"initialize": legacy, "ping": legacy, "logging/setLevel": legacy, "resources/subscribe": legacy, "resources/unsubscribe": legacy,
		"server/discover": modern, "subscriptions/listen": modern,
		"tasks/get": modern, "tasks/update": modern, "tasks/cancel": modern,
		// Not offered: no capability declares them.
		"tasks/list": none, "tasks/result": none,
		// A server's requests to its client.
		"sampling/createMessage": none, "elicitation/create": none, "roots/list": none,
		// Nobody's.
		"tools/Call": none, "tools/call ": none, "rpc.discover": none, "": none,
	}
	for name := range methodTable() {
		if _, ok := methods[name]; !ok {
			t.Errorf("%s is served and not listed here", name)
		}
	}
	for name, row := range methodTable() {
		if row.action.Own() {
			t.Errorf("%s would be an action of the gateway's own", name)
		}
	}
	params := map[string]string{
		"tools/call": `"name":"srv__t",`, "prompts/get": `"name":"srv__p",`, "resources/read": `"uri":"x://1",`,
		"resources/subscribe": `"uri":"x://1",`, "resources/unsubscribe": `"uri":"x://1",`, "logging/setLevel": `"level":"info",`,
		"completion/complete": `"ref":{"type":"ref/prompt","name":"srv__p"},`, "initialize": `"protocolVersion":"2025-11-25",`,
	}
	id := f.seal(task{owner{keyID: "1", key: "k"}, "srv", "t", "1", ""})
	names := map[string]string{"tools/call": "srv__t", "prompts/get": "srv__p", "resources/read": "x://1"}
	for _, m := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		params[m], names[m] = `"taskId":"`+id+`",`, id
	}
	for name, eras := range methods {
		if name == "" {
			continue
		}
		for _, in := range []string{legacy, modern} {
			meta, headers := `{}`, []string{"Mcp-Session-Id: " + session}
			if in == modern {
				meta = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
				headers = []string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + name, "Mcp-Name: " + names[name], "Accept: application/json, text/event-stream"}
			} else if name == "server/discover" {
				headers = append(headers, "MCP-Protocol-Version: 2025-11-25")
			}
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s"_meta":%s}}`, name, params[name], meta)
			status, got, _ := post(t, srv.URL, body, headers...)
			served := strings.Contains(eras, in)
			if in == modern && name == "tools/call " {
				continue // the header cannot say it: refused as a mismatch
			}
			if served && (status != 200 || !strings.Contains(got, `"result"`)) || !served && !strings.Contains(got, `"code":-32601`) || !served && in == modern && status != 404 {
				t.Errorf("%s in the %s era: %d %s", name, in, status, got)
			}
		}
	}
}

func TestSessionBounds(t *testing.T) {
	ss := newSessions(t.Context(), newHall(), owned.ID)
	o := owner{keyID: "1"}
	first := ss.open(hello{owner: o, version: "v"})
	busy := ss.open(hello{owner: o, version: "v"})
	if err := busy.inFlight.Enter([]byte("1"), flights.Flight{}); err != nil {
		t.Fatal(err)
	}
	for range sessionsOwnerMax {
		if ss.open(hello{owner: o, version: "v"}) == nil {
			t.Fatal("no room")
		}
	}
	if ss.counts[o] != sessionsOwnerMax {
		t.Errorf("%d sessions of one owner", ss.counts[o])
	}
	if ss.find(first.id, o, "") != nil || first.ended.Err() == nil {
		t.Error("the oldest idle session was not ended")
	}
	if ss.find(busy.id, o, "") == nil {
		t.Error("a busy session was evicted")
	}
	for name, tt := range map[string]struct {
		o     owner
		space string
	}{"other key": {owner{keyID: "2"}, ""}, "other user": {owner{keyID: "1", user: "u"}, ""}, "other path": {o, "srv"}} {
		if ss.find(busy.id, tt.o, tt.space) != nil {
			t.Errorf("%s finds the session", name)
		}
	}
	for range streamsMax {
		if !busy.read() {
			t.Fatal("no stream")
		}
	}
	if busy.read() {
		t.Error("no bound on streams")
	}
	ss.close(busy)
	ss.close(busy)
	if ss.counts[o] != sessionsOwnerMax-1 {
		t.Errorf("%d sessions counted", ss.counts[o])
	}
}

// TestAllBusy holds that a principal whose sessions are all busy gets no further one, and takes none from others.
func TestAllBusy(t *testing.T) {
	ss := newSessions(t.Context(), newHall(), owned.ID)
	o := owner{keyID: "1"}
	other := ss.open(hello{owner: owner{keyID: "2"}, version: "v"})
	for range sessionsOwnerMax {
		s := ss.open(hello{owner: o, version: "v"})
		_ = s.inFlight.Enter([]byte("1"), flights.Flight{})
	}
	if ss.open(hello{owner: o, version: "v"}) != nil {
		t.Error("a session beyond the bound")
	}
	if other.ended.Err() != nil {
		t.Error("another principal's session was ended")
	}
}

// FuzzFront holds that whatever comes in, what goes out is JSON-RPC or nothing, and that nothing panics.
func FuzzFront(f *testing.F) {
	const meta = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	f.Add(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__t","arguments":{},"_meta":`+meta+`}}`, "2026-07-28", "tools/call", "srv__t")
	f.Add(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"srv__p"},"_meta":`+meta+`}}`, "2026-07-28", "completion/complete", "")
	f.Add(`{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-03-26","clientInfo":{"name":"n"}}}`, "", "", "")
	f.Add(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"YQ"}}]`, "2025-03-26", "", "")
	f.Add(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, "", "", "")
	f.Add(`{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}`, "", "", "")
	f.Add(`[{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}},{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}]`, "", "", "")
	f.Add(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"x://1"}}`, "", "", "")
	front, _ := newFront()
	f.Fuzz(func(t *testing.T, body, version, method, name string) {
		// A session of 2025-03-26, which has the most forms.
		s := front.sessions.open(hello{owner: owner{"1", "k", ""}, version: era.V2025Mar, capabilities: []byte(`{"roots":{}}`)})
		defer front.sessions.close(s)
		q, _, _ := s.questions.Pose("srv", []byte(`{"_meta":{"progressToken":"t"}}`))
		check(t, played(gone(t), front, "POST", body, http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Session-Id": {s.id},
			"Mcp-Protocol-Version": {version}, "Mcp-Method": {method}, "Mcp-Name": {name}}))
		select {
		case a := <-q.Answer:
			if a.Error == nil && !json.Valid(a.Result) || a.Error != nil && !json.Valid(a.Error.Raw) {
				t.Fatalf("answered %+v", a)
			}
		default:
		}
	})
}

// gone is the context of a client that has gone away already, so that a stream ends at once.
func gone(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// played is what the front answers.
func played(ctx context.Context, f *Front, method, body string, headers http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1/mcp", strings.NewReader(body))
	r = r.WithContext(localAddr(ctx))
	r.Header = headers
	w := &recorder{ResponseRecorder: httptest.NewRecorder()}
	f.ServeHTTP(w, r)
	return w.ResponseRecorder
}

// FuzzLastEventID holds that what a client says it has seen last is either an event of its session or refused.
func FuzzLastEventID(f *testing.F) {
	for _, seed := range []string{"c1-0", "c1-1", "c2-0", "s1-0", "c1-99", "1"} {
		f.Add(seed)
	}
	front, _ := newFront()
	f.Fuzz(func(t *testing.T, id string) {
		s := front.sessions.open(hello{owner: owner{"1", "k", ""}, version: era.V2025Nov})
		defer front.sessions.close(s)
		call := http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}, "Mcp-Session-Id": {s.id}}
		if w := played(t.Context(), front, "POST", callT, call); !strings.Contains(w.Body.String(), "id: c1-2") {
			t.Fatal(w.Body)
		}
		w := played(gone(t), front, "GET", "", http.Header{"Accept": {"text/event-stream"}, "Mcp-Session-Id": {s.id}, "Last-Event-Id": {id}})
		check(t, w)
		if _, _, _, ok := s.Events().Find(id); !ok && id != "" && w.Code == 200 {
			t.Fatalf("%q is taken for an event", id)
		}
	})
}

func check(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	body := w.Body.Bytes()
	if w.Header().Get("Content-Type") != "text/event-stream" {
		if len(body) > 0 && !json.Valid(body) {
			t.Fatalf("%d: not JSON: %q", w.Code, body)
		}
		return
	}
	for r := sse.NewReader(bytes.NewReader(body), 0); ; {
		e, err := r.Next()
		if err != nil {
			return
		}
		if len(e.Data) > 0 && !json.Valid(e.Data) {
			t.Fatalf("not JSON: %q", e.Data)
		}
	}
}

// recorder is a ResponseRecorder with deadlines, which the edge insists on.
type recorder struct {
	*httptest.ResponseRecorder
	discard bool

	mu sync.Mutex // guards what follows and the body
	n  int        // bytes discarded
}

// text is what has been written so far.
func (w *recorder) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Body.String()
}

func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }

func (w *recorder) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.discard {
		w.n += len(b)
		return len(b), nil
	}
	return w.ResponseRecorder.Write(b)
}

// localAddr makes a request one of the loopback listener.
func localAddr(ctx context.Context) context.Context {
	return context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
}

func (h *hall) Subscribe(ctx context.Context, c *Call, updated func([]byte)) (func(), error) {
	if h.subscribe != nil {
		return h.subscribe(ctx, c, updated)
	}
	return func() {}, nil
}

func (h *hall) Tell(server, client, method string, params []byte) {
	h.note(fmt.Sprintf("tell %s %s %s %s", server, client, method, params))
}

func (h *hall) Leave(client string) {
	select {
	case h.left <- client:
	default:
	}
}

func (h *hall) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, what)
}

// takes returns what Tell got since it was last asked.
func (h *hall) takes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told
	h.told = nil
	return told
}
