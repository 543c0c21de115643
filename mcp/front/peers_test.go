package front

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

func emptyHall() *hall { return newHall() }

// replicas are fronts that share a sealer and pass requests on to each other.
type replicas struct {
	fronts  map[string]*Front
	halls   map[string]*hall
	urls    map[string]string
	servers map[string]*httptest.Server

	mu    sync.Mutex
	alive map[peer.ID]string // address by id
}

// bearers authenticates by the name that a request comes with.
type bearers struct{}

func (bearers) Authenticate(r *http.Request) (*policy.Principal, error) {
	switch name := r.Header.Get("X-Who"); name {
	case "":
		return &policy.Principal{Key: "k", KeyID: "1"}, nil
	case "bob":
		return &policy.Principal{Key: "bob", KeyID: "2"}, nil
	}
	return nil, &oauth.Refusal{Status: http.StatusUnauthorized, Text: "no"}
}

// serveReplicas serves a replica of each name, with a hall that make makes.
func serveReplicas(t *testing.T, make func() *hall, names ...string) *replicas {
	t.Helper()
	rs := &replicas{fronts: map[string]*Front{}, halls: map[string]*hall{}, urls: map[string]string{}, servers: map[string]*httptest.Server{}, alive: map[peer.ID]string{}}
	for _, name := range names {
		id := peer.ID{name[0]}
		peers := peer.New(peer.Config{Self: id, Key: bytes.Repeat([]byte{9}, 32), Address: rs.address, Log: slog.New(slog.DiscardHandler)})
		h := make()
		guard := &edge.Guard{Hosts: []string{name + ".example"}}
		f := New(Config{Auth: bearers{}, Backend: h, Version: "1", Sealer: sealer(1), Peers: peers, Guard: guard})
		mux := http.NewServeMux()
		mux.Handle("/", f)
		mux.Handle(peer.Path, peers.Handler(f))
		srv := httptest.NewServer(mux)
		t.Cleanup(func() {
			f.Close()
			srv.Close()
			peers.Close()
		})
		rs.fronts[name], rs.halls[name], rs.urls[name], rs.servers[name] = f, h, srv.URL, srv
		rs.alive[id] = strings.TrimPrefix(srv.URL, "http://")
	}
	return rs
}

func (rs *replicas) address(id peer.ID) (string, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	address, ok := rs.alive[id]
	return address, ok
}

// die takes a replica out as the database does, and ends it.
func (rs *replicas) die(name string) {
	rs.mu.Lock()
	delete(rs.alive, peer.ID{name[0]})
	rs.mu.Unlock()
	rs.fronts[name].Close()
}

// at is c as a client of another replica.
func (rs *replicas) at(c *client, name string) *client {
	there := *c
	there.url = rs.urls[name]
	return &there
}

func (rs *replicas) untouched(t *testing.T, name string) {
	t.Helper()
	h := rs.halls[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.refused) != 0 {
		t.Errorf("replica %s has recorded %q", name, h.refused)
	}
}

func TestSessionIsServedWhereItIs(t *testing.T) {
	rs := serveReplicas(t, func() *hall {
		return asking(era.Elicit, `{"message":"m","requestedSchema":{"type":"object","properties":{}}}`)
	}, "a", "b")
	c := connect(t, rs.urls["a"], era.V2025Nov, allCapabilities)
	b := rs.at(c, "b")
	if status, got := b.post(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); status != http.StatusOK || !strings.Contains(got, `"name":"srv__t"`) {
		t.Fatalf("tools/list at another replica: %d %s", status, got)
	}
	if status, got := b.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); status != http.StatusAccepted {
		t.Errorf("a notification at another replica: %d %s", status, got)
	}
	// The stream is at b, the call at a, the answer comes to b again: all of it is one session.
	stream := b.events(b.send(t.Context(), "GET", ""))
	plain := *c
	plain.accept = "application/json"
	answered := make(chan string, 1)
	go func() {
		_, got := plain.post(callT)
		answered <- got
	}()
	m := stream.message()
	if m.Method != "elicitation/create" {
		t.Fatalf("%+v", m)
	}
	if status, got := b.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"decline"}}`, m.ID)); status != http.StatusAccepted {
		t.Fatalf("an answer at another replica: %d %s", status, got)
	}
	if got := <-answered; !strings.Contains(got, "decline") {
		t.Errorf("the call came to %s", got)
	}
	// A call at b asks on its own stream.
	call := b.events(b.send(t.Context(), "POST", callT))
	m = call.message()
	if status, got := c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"cancel"}}`, m.ID)); status != http.StatusAccepted {
		t.Fatalf("an answer: %d %s", status, got)
	}
	if got := call.next(); !strings.Contains(got, "cancel") {
		t.Errorf("the call at another replica came to %s", got)
	}
	rs.untouched(t, "a")
	rs.untouched(t, "b")
	// An id is worth nothing to others, wherever they try it.
	resp := b.send(t.Context(), "POST", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "X-Who: bob")
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("somebody else's session: %d", resp.StatusCode)
	}
	rs.untouched(t, "b")
	if resp := b.send(t.Context(), "DELETE", ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("the end at another replica: %d", resp.StatusCode)
	}
	if status, _ := c.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); status != http.StatusNotFound {
		t.Errorf("a session that was ended at another replica: %d", status)
	}
}

// Each replica has the names that its own clients call it by; what it passes on has been let in by one of them.
func TestEachReplicaHasItsOwnNames(t *testing.T) {
	rs := serveReplicas(t, emptyHall, "a", "b")
	c := connect(t, rs.urls["a"], era.V2025Nov, `{}`)
	for host, want := range map[string]int{"b.example": http.StatusOK, "a.example": http.StatusForbidden} {
		req, err := http.NewRequest("POST", rs.urls["b"]+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Mcp-Session-Id", c.session)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, resp); resp.StatusCode != want {
			t.Errorf("%s: %d %s", host, resp.StatusCode, got)
		}
		resp.Body.Close()
	}
}

func TestBatchIsServedWhereItsSessionIs(t *testing.T) {
	rs := serveReplicas(t, emptyHall, "a", "b")
	c := rs.at(connect(t, rs.urls["a"], era.V2025Mar, `{}`), "b")
	c.accept = "application/json"
	if status, got := c.post(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`); status != http.StatusOK || strings.Count(got, `"result":{}`) != 2 {
		t.Errorf("%d %s", status, got)
	}
}

// A client whose replica is gone is told what it is told of any session that has ended, and begins anew where it is.
func TestSessionOfAReplicaThatIsGone(t *testing.T) {
	rs := serveReplicas(t, emptyHall, "a", "b")
	c := connect(t, rs.urls["a"], era.V2025Nov, `{}`)
	b := rs.at(c, "b")
	rs.die("a")
	status, got := b.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if status != http.StatusNotFound || !strings.Contains(got, "this session has ended; send initialize again") {
		t.Errorf("%d %s", status, got)
	}
	if h := rs.halls["b"]; len(h.refused) != 1 {
		t.Errorf("recorded %q", h.refused)
	}
	again := connect(t, rs.urls["b"], era.V2025Nov, `{}`)
	if status, got := again.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); status != http.StatusOK {
		t.Errorf("%d %s", status, got)
	}
	// A process that has begun anew under the same name knows nothing of the session.
	later := serveReplicas(t, emptyHall, "a", "b")
	if status, _ := later.at(c, "b").post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); status != http.StatusNotFound {
		t.Errorf("after a restart: %d", status)
	}
}

// The replica is lost while a call is under way there: that is no session that has ended, since the call may have been made.
func TestReplicaIsLostInACall(t *testing.T) {
	begun := make(chan struct{})
	rs := serveReplicas(t, func() *hall {
		h := newHall()
		h.call = func(ctx context.Context, c *Call) (*era.Result, error) {
			close(begun)
			<-ctx.Done()
			return nil, internal("cut")
		}
		return h
	}, "a", "b")
	c := connect(t, rs.urls["a"], era.V2025Nov, `{}`)
	b := rs.at(c, "b")
	b.accept = "application/json"
	go func() {
		<-begun
		rs.servers["a"].CloseClientConnections()
	}()
	if status, got := b.post(callT); status != http.StatusBadGateway || !strings.Contains(got, `"id":"c"`) || !strings.Contains(got, "not known") {
		t.Errorf("%d %s", status, got)
	}
}

func TestParkedCallIsAnsweredWhereItWaits(t *testing.T) {
	rs := serveReplicas(t, func() *hall {
		h := asking(era.Elicit, `{"message":"m","requestedSchema":{"type":"object","properties":{}}}`)
		h.legacy = true
		return h
	}, "a", "b", "c")
	call := func(at, more, who string) (int, string) {
		c := &client{t: t, url: rs.urls[at], accept: "application/json"}
		resp := c.send(t.Context(), "POST", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__t","arguments":{"x":1},`+more+
			`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":`+allCapabilities+`}}}`,
			"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: srv__t", "X-Who: "+who)
		return resp.StatusCode, body(t, resp)
	}
	ask := func(at string) (more string) {
		status, got := call(at, "", "")
		var answer struct {
			Result struct {
				InputRequests map[string]json.RawMessage
				RequestState  string
			}
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil || len(answer.Result.InputRequests) != 1 {
			t.Fatalf("%d %s", status, got)
		}
		for name := range answer.Result.InputRequests {
			more = fmt.Sprintf(`"requestState":%q,"inputResponses":{%q:{"action":"decline"}},`, answer.Result.RequestState, name)
		}
		return more
	}
	answers := ask("a")
	if _, got := call("b", answers, "bob"); !strings.Contains(got, "requestState is not one that was given") {
		t.Errorf("somebody else's: %s", got)
	}
	if status, got := call("b", answers, ""); status != http.StatusOK || !strings.Contains(got, "decline") {
		t.Errorf("the retry at another replica: %d %s", status, got)
	}
	if _, got := call("c", answers, ""); !strings.Contains(got, "lost; call again") {
		t.Errorf("the retry of a retry: %s", got)
	}
	rs.untouched(t, "b")
	rs.untouched(t, "c")
	gone := ask("a")
	rs.die("a")
	if status, got := call("b", gone, ""); !strings.Contains(got, "lost; call again") || len(rs.halls["b"].refused) != 1 {
		t.Errorf("of a replica that is gone: %d %s, recorded %q", status, got, rs.halls["b"].refused)
	}
}

func TestLinkIsServedWhereItIs(t *testing.T) {
	rs := serveReplicas(t, emptyHall, "a", "b")
	c := &client{t: t, url: rs.urls["a"], accept: "text/event-stream"}
	resp, err := http.Get(rs.urls["a"] + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stream := c.events(resp)
	address := stream.next()
	post := func(msg string) int {
		resp, err := http.Post(rs.urls["b"]+address, "application/json", strings.NewReader(msg))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if status := post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{}}}`); status != http.StatusAccepted {
		t.Fatalf("%d", status)
	}
	if got := stream.next(); !strings.Contains(got, "2024-11-05") {
		t.Errorf("%s", got)
	}
	rs.die("a")
	if status := post(`{"jsonrpc":"2.0","id":2,"method":"ping"}`); status != http.StatusNotFound {
		t.Errorf("a stream of a replica that is gone: %d", status)
	}
}

// Tasks of a server that every replica can reach are asked for anywhere; those of a child process at the replica whose child
// it is.
func TestTaskIsServedWhereItsServerIs(t *testing.T) {
	rs := serveReplicas(t, emptyHall, "a", "b")
	for name := range rs.halls {
		rs.halls[name].call = func(ctx context.Context, c *Call) (*era.Result, error) {
			return era.ReadResult(fmt.Appendf(nil, `{"resultType":"complete","taskId":%q,"status":"working","at":%q}`, c.Task, name))
		}
	}
	get := func(at, id string) string {
		c := &client{t: t, url: rs.urls[at], accept: "application/json"}
		return body(t, c.send(t.Context(), "POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":%q,"_meta":%s}}`, id, declaresTasks),
			"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tasks/get", "Mcp-Name: "+id))
	}
	who := owner{keyID: "1", key: "k"}
	made := func(at string) string {
		return rs.fronts[at].seal(task{who, "srv", "t", "7", rs.fronts[at].reach("srv")})
	}
	if got := get("b", made("a")); !strings.Contains(got, `"at":"b"`) {
		t.Errorf("of a server that all can reach: %s", got)
	}
	for _, h := range rs.halls {
		h.local = true
	}
	mine, theirs := made("b"), made("a")
	if got := get("b", theirs); !strings.Contains(got, `"at":"a"`) || !strings.Contains(got, theirs) {
		t.Errorf("of another replica's child: %s", got)
	}
	if got := get("b", mine); !strings.Contains(got, `"at":"b"`) {
		t.Errorf("of its own child: %s", got)
	}
	rs.untouched(t, "b")
	x := &exchange{Front: rs.fronts["b"], r: httptest.NewRequest("POST", "/mcp", nil)}
	for name, c := range map[string]struct {
		ids  []string
		want bool
	}{"another's": {[]string{theirs, "nobody's"}, true}, "its own": {[]string{mine}, false}, "of both": {[]string{theirs, mine}, false}, "of nobody": {[]string{"x"}, false}} {
		m, _ := x.message([]byte(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":` + string(appendStrings(nil, c.ids)) + `},"_meta":` + declaresTasks + `}}`))
		if to, _, ok := x.elsewhere(m); ok != c.want || ok && to != (peer.ID{'a'}) {
			t.Errorf("a listen stream on tasks %s goes to %v %v", name, to, ok)
		}
	}
	rs.die("a")
	if got := get("b", theirs); !strings.Contains(got, "task not found") {
		t.Errorf("of the child of a replica that is gone: %s", got)
	}
}
