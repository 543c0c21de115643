package front

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/asked"
	"github.com/tollgate/tollgate/mcp/front/owned"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

const allCapabilities = `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{"listChanged":true}}`

func anybody() *everybody { return &everybody{policy.Principal{Key: "k", KeyID: "1"}} }

// asking is a hall whose tool asks its caller before it answers what it was answered.
func asking(method, params string) *hall {
	h := newHall()
	h.call = func(ctx context.Context, c *Call) (*era.Result, error) {
		if c.Ask == nil {
			return era.ReadResult([]byte(`{"got":"cannot ask"}`))
		}
		var raw []byte
		if params != "" {
			raw = []byte(params)
		}
		return era.ReadResult(fmt.Appendf(nil, `{"got":%q}`, told(c.Ask(ctx, method, raw))))
	}
	return h
}

// told is an answer in words.
func told(a *upstream.Answer) string {
	if a.Error != nil {
		return fmt.Sprintf("%d %s", a.Error.Code, a.Error.Raw)
	}
	return string(a.Result)
}

const callT = `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"srv__t","arguments":{}}}`

// TestAsk asks on the call's own stream, in order with its notifications, and hands the answer back byte for byte.
func TestAsk(t *testing.T) {
	answers := []struct{ body, want string }{
		{`"result":{"action":"accept","content":{"n":12345678901234567890},"later":1}`, `{"action":"accept","content":{"n":12345678901234567890},"later":1}`},
		{`"error":{"code":-1,"message":"no","data":{"n":12345678901234567890}}`, `-1 {"code":-1,"message":"no","data":{"n":12345678901234567890}}`},
	}
	for _, a := range answers {
		h := asking(era.Elicit, `{"message":"m","requestedSchema":{"type":"object","properties":{}}}`)
		ask := h.call
		h.call = func(ctx context.Context, c *Call) (*era.Result, error) {
			c.Notify("notifications/progress", []byte(`{"progressToken":1,"progress":1}`))
			return ask(ctx, c)
		}
		_, url := serve(t, h, anybody())
		c := connect(t, url, era.V2025Nov, allCapabilities)
		stream := c.events(c.send(t.Context(), "POST", callT))
		if m := stream.message(); m.Method != "notifications/progress" {
			t.Fatalf("%+v", m)
		}
		q := stream.message()
		if q.Method != era.Elicit || string(q.ID) != "1" || string(q.Params) != `{"message":"m","requestedSchema":{"type":"object","properties":{}}}` {
			t.Fatalf("asked %+v", q)
		}
		if status, got := c.post(`{"jsonrpc":"2.0","id":1,` + a.body + `}`); status != 202 || got != "" {
			t.Fatal(status, got)
		}
		if got, want := string(stream.message().Result), fmt.Sprintf(`{"got":%q}`, a.want); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := stream.next(); got != "" {
			t.Errorf("after the answer: %s", got)
		}
	}
}

// TestAskOnStanding asks on the newest GET stream when the call is answered with plain JSON, and waits for one.
func TestAskOnStanding(t *testing.T) {
	h := asking(era.ListRoots, "")
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2024, `{"roots":{}}`)
	older := c.events(c.send(t.Context(), "GET", ""))
	stream := c.events(c.send(t.Context(), "GET", ""))
	c.accept = "application/json"
	answer := make(chan string)
	go func() {
		_, got := c.post(callT)
		answer <- got
	}()
	q := stream.message()
	if q.Method != era.ListRoots || q.Params != nil {
		t.Fatalf("%+v", q)
	}
	if status, _ := c.post(`{"jsonrpc":"2.0","id":` + string(q.ID) + `,"result":{"roots":[]}}`); status != 202 {
		t.Fatal(status)
	}
	if got := <-answer; got != `{"jsonrpc":"2.0","id":"c","result":{"got":"{\"roots\":[]}"}}` {
		t.Error(got)
	}
	// The older stream hears nothing of it.
	if resp := c.send(t.Context(), "DELETE", ""); resp.StatusCode != 204 {
		t.Fatal(resp.Status)
	}
	if got := older.next(); got != "" {
		t.Errorf("said on both streams: %s", got)
	}
}

// TestAskNobody is what servers hear when a client cannot be asked.
func TestAskNobody(t *testing.T) {
	tests := []struct{ capabilities, method, params, want string }{
		{`{}`, era.Elicit, `{}`, "cannot ask"},
		{`{"roots":{}}`, era.Elicit, `{}`, `-32601 {"code":-32601,"message":"the client has declared no capability for elicitation/create"}`},
		{`{"elicitation":{}}`, era.Elicit, `{"mode":"url"}`, `-32602 {"code":-32602,"message":"the client has not declared elicitation by URL"}`},
	}
	for _, tt := range tests {
		_, url := serve(t, asking(tt.method, tt.params), anybody())
		c := connect(t, url, era.V2025Nov, tt.capabilities)
		_, got := c.post(callT)
		if want := fmt.Sprintf(`{"jsonrpc":"2.0","id":"c","result":{"got":%q}}`, tt.want); got != want {
			t.Errorf("%s: %s, want %s", tt.capabilities, got, want)
		}
	}
}

// TestStrangersAnswer holds that a question is answered in its own session only, once, and by nobody's guess.
func TestStrangersAnswer(t *testing.T) {
	_, url := serve(t, asking(era.ListRoots, ""), anybody())
	c, other := connect(t, url, era.V2025Nov, allCapabilities), connect(t, url, era.V2025Nov, allCapabilities)
	stream := c.events(c.send(t.Context(), "POST", callT))
	id := string(stream.message().ID)
	for _, s := range []struct {
		c  *client
		id string
	}{{other, id}, {c, `"` + id + `"`}, {c, "77"}} {
		if status, _ := s.c.post(`{"jsonrpc":"2.0","id":` + s.id + `,"result":{"roots":["stranger"]}}`); status != 202 {
			t.Fatal(status)
		}
	}
	c.post(`{"jsonrpc":"2.0","id":` + id + `,"result":{"roots":[]}}`)
	c.post(`{"jsonrpc":"2.0","id":` + id + `,"result":{"roots":["late"]}}`)
	if got := string(stream.message().Result); got != `{"got":"{\"roots\":[]}"}` {
		t.Error(got)
	}
}

// TestUnreadableAnswer holds that a question does not wait for a client that answers what is no answer.
func TestUnreadableAnswer(t *testing.T) {
	_, url := serve(t, asking(era.ListRoots, ""), anybody())
	c := connect(t, url, era.V2025Nov, allCapabilities)
	stream := c.events(c.send(t.Context(), "POST", callT))
	id := string(stream.message().ID)
	if status, _ := c.post(`{"jsonrpc":"2.0","id":` + id + `,"result":[]}`); status != 400 {
		t.Error(status)
	}
	if got := string(stream.message().Result); !strings.Contains(got, "cannot be read") {
		t.Error(got)
	}
}

// TestQuestionTakenBack holds that the client is told when its answer is wanted no more, and that ending the session
// answers what it was asked.
func TestQuestionTakenBack(t *testing.T) {
	h := newHall()
	h.call = func(ctx context.Context, c *Call) (*era.Result, error) {
		short, cancel := context.WithCancel(ctx)
		answer := make(chan *upstream.Answer)
		go func() { answer <- c.Ask(short, era.ListRoots, nil) }()
		c.Notify("notifications/message", []byte(`{"level":"info","data":"asking"}`))
		cancel()
		first := told(<-answer)
		second := c.Ask(ctx, era.ListRoots, nil)
		h.note(first)
		h.note(told(second))
		return era.ReadResult([]byte(`{}`))
	}
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Nov, allCapabilities)
	stream := c.events(c.send(t.Context(), "POST", callT))
	var seen []string
	for !slices.Contains(seen, "roots/list 2") {
		m := stream.message()
		if m.Method == "notifications/cancelled" && !strings.HasPrefix(string(m.Params), `{"requestId":1,`) {
			t.Fatalf("%s", m.Params)
		}
		seen = append(seen, strings.TrimSpace(m.Method+" "+string(m.ID)))
	}
	// Whether the first was asked at all before it was taken back is not certain; if it was, it was taken back.
	if slices.Contains(seen, "roots/list 1") != slices.Contains(seen, "notifications/cancelled") {
		t.Errorf("seen %q", seen)
	}
	c.send(t.Context(), "DELETE", "")
	for stream.next() != "" {
	}
	if got := h.takes(); len(got) != 2 || !strings.Contains(got[1], "the client's session has ended") {
		t.Errorf("told %q", got)
	}
	if got := <-h.left; got != "1" {
		t.Errorf("%s has left", got)
	}
}

// TestQuestionsBound holds that a client is not asked without end.
func TestQuestionsBound(t *testing.T) {
	ss := newSessions(t.Context(), newHall(), owned.ID)
	s := ss.open(hello{version: era.V2025Nov, capabilities: []byte(allCapabilities)})
	for range asked.Max {
		if _, _, ok := s.questions.Pose("", nil); !ok {
			t.Fatal("refused below the bound")
		}
	}
	if got := told(s.client.Ask(t.Context(), era.ListRoots, nil)); !strings.Contains(got, "too many") {
		t.Error(got)
	}
}

// TestClientNotifications holds what a client's notifications reach: its own servers, and the one whose question it is.
func TestClientNotifications(t *testing.T) {
	h := asking(era.ListRoots, `{"_meta":{"progressToken":"theirs","k":1}}`)
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Nov, allCapabilities)
	c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	c.post(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"x":1}}`)
	stream := c.events(c.send(t.Context(), "POST", callT))
	if q := stream.message(); string(q.Params) != `{"_meta":{"progressToken":1,"k":1}}` {
		t.Errorf("asked %s", q.Params)
	}
	c.post(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}`)
	c.post(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"y":2}}`)
	c.post(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	stream.message()
	want := []string{`tell  1 notifications/roots/list_changed {"x":1}`, `tell srv 1 notifications/progress {"progressToken":"theirs","progress":1,"y":2}`}
	if got := h.takes(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	silent := connect(t, url, era.V2025Nov, `{}`)
	silent.post(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
	if got := h.takes(); got != nil {
		t.Errorf("told %q by a client without roots", got)
	}
}

// TestClientNotify holds which notifications outside of any call reach the session's stream.
func TestClientNotify(t *testing.T) {
	tests := []struct{ version, method, params, seen string }{
		{era.V2025Nov, "notifications/message", `{"level":"warning","data":1}`, "yes"},
		{era.V2025Nov, "notifications/message", `{"level":"info","data":1}`, ""},
		{era.V2025Nov, "notifications/elicitation/complete", `{"elicitationId":"e"}`, "yes"},
		{era.V2025Jun, "notifications/elicitation/complete", `{"elicitationId":"e"}`, ""},
		{era.V2025Nov, "notifications/other", `{}`, ""},
	}
	for _, tt := range tests {
		f, url := serve(t, newHall(), anybody())
		c := connect(t, url, tt.version, `{}`)
		c.post(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"notice"}}`)
		stream := c.events(c.send(t.Context(), "GET", ""))
		s := f.sessions.byID[c.session]
		s.client.Notify(tt.method, []byte(tt.params))
		s.client.Notify("notifications/message", []byte(`{"level":"error","data":"last"}`))
		want := ""
		if tt.seen != "" {
			want = `{"jsonrpc":"2.0","method":"` + tt.method + `","params":` + tt.params + `}`
			if got := stream.next(); got != want {
				t.Errorf("%s %s: got %s", tt.version, tt.method, got)
			}
		}
		if got := stream.next(); !strings.Contains(got, `"last"`) {
			t.Errorf("%s %s %s: got %s", tt.version, tt.method, tt.params, got)
		}
	}
}

// TestAskInBatch holds that calls of a batch ask on its stream, and that a batch of responses answers them.
func TestAskInBatch(t *testing.T) {
	_, url := serve(t, asking(era.ListRoots, ""), anybody())
	c := connect(t, url, era.V2025Mar, `{"roots":{}}`)
	call := func(id string) string { return strings.Replace(callT, `"c"`, id, 1) }
	stream := c.events(c.send(t.Context(), "POST", `[`+call("1")+`,`+call("2")+`,{"jsonrpc":"2.0","id":3,"method":"ping"}]`))
	var answers []string
	for range 2 {
		q := stream.message()
		if q.Method != era.ListRoots {
			t.Fatalf("%+v", q)
		}
		answers = append(answers, `{"jsonrpc":"2.0","id":`+string(q.ID)+`,"result":{"roots":[]}}`)
	}
	if status, got := c.post(`[` + strings.Join(answers, ",") + `,{"jsonrpc":"2.0","method":"notifications/initialized"}]`); status != 202 || got != "" {
		t.Fatal(status, got)
	}
	var ids []string
	for range 3 {
		m := stream.message()
		if m.Result == nil || m.Method != "" {
			t.Errorf("%+v", m)
		}
		ids = append(ids, string(m.ID))
	}
	if !slices.Equal(ids, []string{"1", "2", "3"}) || stream.next() != "" {
		t.Errorf("answered %q", ids)
	}
}

// TestManyVanish has many clients connect, be asked and go away in the middle, in every way there is, and looks for what
// stays behind.
func TestManyVanish(t *testing.T) {
	const clients = 300
	h := asking(era.ListRoots, "")
	h.left = make(chan string, clients)
	f := New(Config{Auth: anybody(), Backend: h, Version: "1"})
	srv := httptest.NewServer(f)
	transport := &http.Transport{MaxConnsPerHost: 64}
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range clients {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			vanish(t, transport, srv.URL, i)
		})
	}
	all.Wait()
	f.Close()
	for range clients {
		<-h.left // every session ends, with the gateway at the latest
	}
	transport.CloseIdleConnections()
	srv.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks.String())
		}
	}
}

// vanish is one client's life.
func vanish(t *testing.T, transport *http.Transport, url string, n int) {
	c := connect(t, url, []string{era.V2024, era.V2025Mar, era.V2025Jun, era.V2025Nov}[n%4], `{"roots":{}}`)
	c.transport = transport
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	standing := c.send(ctx, "GET", "")
	defer standing.Body.Close()
	resp := c.send(ctx, "POST", callT)
	defer resp.Body.Close()
	stream := c.events(resp)
	q := stream.message()
	switch n % 5 {
	case 0: // answers
		c.post(`{"jsonrpc":"2.0","id":` + string(q.ID) + `,"result":{"roots":[]}}`)
		stream.rest()
	case 1: // cancels
		c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}`)
		stream.rest()
	case 2: // says good-bye
		c.send(t.Context(), "DELETE", "").Body.Close()
	case 3: // comes back and goes away again
		cancel()
		back := c.send(t.Context(), "GET", "", "Last-Event-ID: "+stream.lastID)
		back.Body.Close()
	case 4: // is just gone
	}
}
