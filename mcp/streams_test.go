package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/gatetest"
)

const allowAll = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`

// pipes is a listener of connections in memory, so that a whole HTTP server runs on a test's own clock.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

// timed is a world whose clock is the test's: run it in a synctest bubble.
type timed struct {
	*world
	client *http.Client
}

func newTimed(t *testing.T, o gatetest.Options, scripts map[string]script, prepare func(*Config)) *timed {
	t.Helper()
	w := newWorld(t, o, scripts, func(c *Config) {
		c.Guard = &edge.Guard{Hosts: []string{"gateway.test"}}
		if prepare != nil {
			prepare(c)
		}
	})
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: w.Handler()}
	go func() { _ = srv.Serve(p) }()
	tr := &http.Transport{DialContext: p.dial, DisableKeepAlives: true}
	t.Cleanup(func() {
		w.front.Close()
		_ = srv.Close()
		tr.CloseIdleConnections()
	})
	return &timed{world: w, client: &http.Client{Transport: tr}}
}

// send makes a request; headers are "Name: value".
func (w *timed) send(t *testing.T, ctx context.Context, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway.test"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer alice")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (w *timed) ask(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	resp := w.send(t, t.Context(), method, path, body, headers...)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// open begins a session and returns its header.
func (w *timed) open(t *testing.T) string {
	t.Helper()
	resp := w.send(t, t.Context(), "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	id := resp.Header.Get("Mcp-Session-Id")
	if len(id) < 22 {
		t.Fatalf("session id %q", id)
	}
	return "Mcp-Session-Id: " + id
}

func modernBody(id, method, params string) (body string, headers []string) {
	if params != "" {
		params += ","
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, id, method, params),
		[]string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + method}
}

// lines sends the lines of a stream that are not empty.
func lines(r io.Reader) <-chan string {
	out := make(chan string, 1000)
	go func() {
		defer close(out)
		for s := bufio.NewScanner(r); s.Scan(); {
			if s.Text() != "" {
				out <- s.Text()
			}
		}
	}()
	return out
}

// within returns the lines that come within d but for signs of life, and whether the stream has ended.
func within(in <-chan string, d time.Duration) (got []string, ended bool) {
	over := time.After(d)
	for {
		select {
		case line, ok := <-in:
			if !ok {
				return got, true
			}
			if line != ": keep-alive" {
				got = append(got, line)
			}
		case <-over:
			return got, false
		}
	}
}

func oneTool(name string) script {
	return script{Tools: []json.RawMessage{json.RawMessage(`{"name":"` + name + `","inputSchema":{"type":"object"}}`)}}
}

// TestListChanged holds that streams of both eras tell within a second what changed for their caller, and nothing else.
func TestListChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := `{version: 1, rules: [{id: all, effect: allow, tools: ["srv/*"]}]}`
		w := newTimed(t, gatetest.Options{Rules: rules}, map[string]script{"srv": oneTool("a"), "other": oneTool("a")}, nil)
		session := w.open(t)
		get := w.send(t, t.Context(), "GET", "/mcp", "", session)
		defer get.Body.Close()
		body, headers := modernBody(`"L1"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`)
		listen := w.send(t, t.Context(), "POST", "/mcp", body, headers...)
		defer listen.Body.Close()
		legacy, modern := lines(get.Body), lines(listen.Body)
		if got, _ := within(modern, time.Second); len(got) != 2 || !strings.Contains(got[1], `"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":"L1"}`) {
			t.Fatalf("acknowledged: %q", got)
		}
		if got, _ := within(legacy, 2*time.Second); len(got) != 3 || got[0] != "id: s1-0" || got[2] != "data: " {
			t.Errorf("a stream that can be resumed begins with %q", got)
		}

		w.fakes["srv"].set(oneTool("b"))
		if got, _ := within(modern, time.Second); len(got) != 2 || !strings.Contains(got[1], `"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"L1"}}`) {
			t.Errorf("listen: %q", got)
		}
		if got, _ := within(legacy, time.Second); len(got) != 3 || got[0] != "id: s1-1" || got[2] != `data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}` {
			t.Errorf("GET: %q", got)
		}
		w.fakes["other"].set(oneTool("b")) // not visible
		prompts := oneTool("b")
		prompts.Prompts = []json.RawMessage{json.RawMessage(`{"name":"p"}`)}
		w.fakes["srv"].set(prompts)
		if got, _ := within(modern, 3*time.Second); len(got) != 0 {
			t.Errorf("listen hears of what it did not ask for: %q", got)
		}
		if got, _ := within(legacy, time.Second); len(got) != 3 || !strings.Contains(got[2], "prompts/list_changed") {
			t.Errorf("GET: %q", got)
		}
		if err := w.gate.Gate.Reload(gatetest.Rules(t, `{version: 1, rules: [{id: none, effect: deny, tools: ["*"]}]}`), w.upstreams); err != nil {
			t.Fatal(err)
		}
		if got, _ := within(modern, 6*time.Second); len(got) < 2 || !strings.Contains(got[1], "tools/list_changed") {
			t.Errorf("a new policy is not told: %q", got)
		}
	})
}

// TestStreamsEnd holds that streams send signs of life, and end when the key is revoked, the session is deleted or the
// gateway closes.
func TestStreamsEnd(t *testing.T) {
	ends := map[string]func(t *testing.T, w *timed, session string){
		"key revoked":     func(_ *testing.T, w *timed, _ string) { w.people.revoke("alice") },
		"session deleted": func(t *testing.T, w *timed, s string) { w.ask(t, "DELETE", "/mcp", "", s) },
		"gateway closed":  func(t *testing.T, w *timed, _ string) { _ = w.Close(t.Context()) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("a")}, nil)
				session := w.open(t)
				get := w.send(t, t.Context(), "GET", "/mcp", "", session)
				defer get.Body.Close()
				body, headers := modernBody("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`)
				listen := w.send(t, t.Context(), "POST", "/mcp", body, headers...)
				defer listen.Body.Close()
				legacy, modern := lines(get.Body), lines(listen.Body)
				time.Sleep(100 * time.Second)
				if len(legacy) != 3+6 || <-legacy != "id: s1-0" {
					t.Fatalf("%d signs of life in 100 s", len(legacy))
				}
				end(t, w, session)
				if got, ended := within(legacy, 6*time.Second); !ended {
					t.Errorf("the GET stream goes on: %q", got)
				}
				got, ended := within(modern, 6*time.Second)
				if name == "session deleted" {
					if ended {
						t.Error("a modern stream has no session")
					}
					return
				}
				if !ended || !strings.Contains(got[len(got)-1], `"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1}}`) {
					t.Errorf("the listen stream: ended %v, %q", ended, got)
				}
			})
		})
	}
}

// TestSessionsEndWhenIdle holds that an idle session ends after an hour, and one with a stream does not.
func TestSessionsEndWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("a")}, nil)
		idle, streaming := w.open(t), w.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		get := w.send(t, ctx, "GET", "/mcp", "", streaming)
		defer get.Body.Close()
		go func() { _, _ = io.Copy(io.Discard, get.Body) }()
		const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
		time.Sleep(59 * time.Minute)
		if status, _ := w.ask(t, "POST", "/mcp", ping, idle); status != 200 {
			t.Errorf("after 59 minutes: %d", status)
		}
		time.Sleep(61 * time.Minute)
		if status, _ := w.ask(t, "POST", "/mcp", ping, idle); status != 404 {
			t.Errorf("idle for 61 minutes: %d", status)
		}
		if status, _ := w.ask(t, "POST", "/mcp", ping, streaming); status != 200 {
			t.Errorf("with a stream: %d", status)
		}
	})
}

// TestCancel holds how each era cancels a call, and that the server is told.
func TestCancel(t *testing.T) {
	hang := oneTool("a")
	hang.Answers = map[string]answer{"tools/call a": {Hang: true}}
	const call = `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"srv__a"}}`
	bubble := func(name string, f func(t *testing.T, w *timed)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f(t, newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": hang}, func(c *Config) { c.CallTimeout = time.Minute }))
			})
		})
	}
	bubble("legacy: notifications/cancelled", func(t *testing.T, w *timed) {
		session := w.open(t)
		answered := make(chan string)
		go func() {
			_, body := w.ask(t, "POST", "/mcp", call, session)
			answered <- body
		}()
		<-w.fakes["srv"].called
		if status, _ := w.ask(t, "POST", "/mcp", call, session); status != 400 {
			t.Errorf("the same id again: %d", status)
		}
		other := w.open(t)
		w.ask(t, "POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c1"}}`, other)
		time.Sleep(time.Second)
		select {
		case body := <-answered:
			t.Fatalf("cancelled from another session: %s", body)
		default:
		}
		w.ask(t, "POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c1"}}`, session)
		if body := <-answered; !strings.Contains(body, `"code":499`) {
			t.Errorf("%s", body)
		}
		w.wantLast(t, "posted cut cost 0 estimated")
	})
	bubble("legacy: leaving does not cancel", func(t *testing.T, w *timed) {
		session := w.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-w.fakes["srv"].called
			cancel()
		}()
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://gateway.test/mcp", strings.NewReader(call))
		name, value, _ := strings.Cut(session, ": ")
		req.Header = http.Header{"Authorization": {"Bearer alice"}, "Content-Type": {"application/json"}, name: {value}}
		if _, err := w.client.Do(req); err == nil {
			t.Fatal("answered")
		}
		time.Sleep(10 * time.Second)
		w.fakes["srv"].mu.Lock()
		gone := w.fakes["srv"].gone
		w.fakes["srv"].mu.Unlock()
		if gone != 0 {
			t.Error("the call was cancelled")
		}
	})
	bubble("modern: leaving cancels", func(t *testing.T, w *timed) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-w.fakes["srv"].called
			cancel()
		}()
		body, headers := modernBody("1", "tools/call", `"name":"srv__a"`)
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://gateway.test/mcp", strings.NewReader(body))
		req.Header = http.Header{"Authorization": {"Bearer alice"}, "Content-Type": {"application/json"}, "Mcp-Name": {"srv__a"}}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		if _, err := w.client.Do(req); err == nil {
			t.Fatal("answered")
		}
		time.Sleep(100 * time.Millisecond)
		w.wantLast(t, "posted cut cost 0 estimated")
	})
	bubble("the end of the session", func(t *testing.T, w *timed) {
		session := w.open(t)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			<-w.fakes["srv"].called
			w.ask(t, "DELETE", "/mcp", "", session)
		})
		if _, body := w.ask(t, "POST", "/mcp", call, session); !strings.Contains(body, `"code":499`) {
			t.Errorf("%s", body)
		}
	})
	bubble("a call that takes too long", func(t *testing.T, w *timed) {
		session := w.open(t)
		_, body := w.ask(t, "POST", "/mcp", call, session)
		events := strings.Split(body, "\n\n")
		if len(events) < 6 || events[0] != "id: c1-0\nretry: 1000\ndata: " || events[1] != ": keep-alive" || !strings.Contains(events[len(events)-2], "did not answer within 1m0s") {
			t.Errorf("%q", events)
		}
	})
}

func (w *timed) wantLast(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	_ = w.Close(t.Context())
	w.gate.WantLast(t, want)
}

// TestServersAreLookedAfter walks a server through its states: late, well, dead, back.
func TestServersAreLookedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": {Down: "server srv cannot be reached"}}, nil)
		list := func() string {
			body, headers := modernBody("1", "tools/list", "")
			_, got := w.ask(t, "POST", "/mcp", body, headers...)
			return got
		}
		if got := list(); !strings.Contains(got, `"tools":[]`) || !strings.Contains(got, `"state":"unavailable"`) {
			t.Errorf("down from the start: %s", got)
		}
		w.fakes["srv"].mu.Lock()
		w.fakes["srv"].script = oneTool("a")
		w.fakes["srv"].mu.Unlock()
		time.Sleep(2 * time.Second)
		if got := list(); !strings.Contains(got, `"srv__a"`) || strings.Contains(got, "degraded") {
			t.Errorf("it came up: %s", got)
		}
		w.fakes["srv"].set(script{Down: "server srv broke"})
		time.Sleep(2 * time.Second)
		if got := list(); !strings.Contains(got, `"srv__a"`) || !strings.Contains(got, `"reason":"server srv broke","stale":true`) {
			t.Errorf("it died: %s", got)
		}
		if h := w.Health(); len(h) != 1 || h[0].State != Unavailable || !h[0].Stale || h[0].Tools != 1 {
			t.Errorf("%+v", h)
		}
		w.fakes["srv"].mu.Lock()
		w.fakes["srv"].script = oneTool("b")
		w.fakes["srv"].mu.Unlock()
		time.Sleep(2 * retryMost)
		if got := list(); !strings.Contains(got, `"srv__b"`) || strings.Contains(got, "degraded") {
			t.Errorf("it came back: %s", got)
		}
		// It stops answering without a word: the ping finds out.
		w.fakes["srv"].mu.Lock()
		w.fakes["srv"].script.Down = "server srv does not answer"
		w.fakes["srv"].mu.Unlock()
		time.Sleep(2 * pingEvery)
		if h := w.Health(); h[0].State != Unavailable {
			t.Errorf("%+v", h)
		}
	})
}

// TestListsWaitForServersAtTheStart holds that a list waits for slow servers, but only once and only so long.
func TestListsWaitForServersAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, hung := oneTool("a"), oneTool("a")
		slow.Takes, hung.Takes = 5*time.Second, time.Hour
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("a"), "slow": slow, "hung": hung}, nil)
		began := time.Now()
		body, headers := modernBody("1", "tools/list", "")
		_, got := w.ask(t, "POST", "/mcp", body, headers...)
		if took := time.Since(began); took != firstWithin || !strings.Contains(got, "srv__a") || !strings.Contains(got, "slow__a") || !strings.Contains(got, `{"server":"hung","state":"connecting"}`) {
			t.Errorf("after %v: %s", took, got)
		}
		began = time.Now()
		w.ask(t, "POST", "/mcp", body, headers...)
		if took := time.Since(began); took != 0 {
			t.Errorf("the second list took %v", took)
		}
	})
}
