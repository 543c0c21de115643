package front

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/owned"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// stepping is a hall whose tool tells of a step whenever it is allowed one, and answers after the last.
func stepping(steps int) (*hall, chan<- struct{}) {
	h, allowed := newHall(), make(chan struct{}, 2*steps)
	h.call = func(ctx context.Context, c *Call) (*era.Result, error) {
		for i := range steps {
			select {
			case <-allowed:
			case <-ctx.Done():
				return nil, &rpc.Error{Code: 499, Message: "cancelled"}
			}
			c.Notify("notifications/progress", fmt.Appendf(nil, `{"progressToken":1,"progress":%d}`, i+1))
		}
		return era.ReadResult([]byte(`{"done":true}`))
	}
	return h, allowed
}

// rest reads a stream to its end and returns ids and what they are of.
func (e *events) rest() string {
	e.t.Helper()
	var all []string
	for {
		m := e.message()
		switch {
		case m.Method != "":
			all = append(all, e.lastID+" "+strings.TrimPrefix(string(m.Params), `{"progressToken":1,`))
		case m.Result != nil:
			all = append(all, e.lastID+" "+string(m.Result))
		default:
			return strings.Join(all, ", ")
		}
	}
}

// TestResumeCall breaks off a call's stream after its first step and comes back, while the call is running and when it
// has ended.
func TestResumeCall(t *testing.T) {
	tests := []struct{ version, first, seen, rest string }{
		{era.V2025Nov, "c1-0", "c1-1", `c1-2 "progress":2}, c1-3 "progress":3}, c1-4 {"done":true}`},
		{era.V2025Jun, "c1-0", "c1-0", `c1-1 "progress":2}, c1-2 "progress":3}, c1-3 {"done":true}`},
		{era.V2025Mar, "c1-0", "c1-0", `c1-1 "progress":2}, c1-2 "progress":3}, c1-3 {"done":true}`},
	}
	for _, tt := range tests {
		h, allowed := stepping(3)
		_, url := serve(t, h, anybody())
		c := connect(t, url, tt.version, `{}`)
		ctx, cancel := context.WithCancel(t.Context())
		allowed <- struct{}{}
		stream := c.events(c.send(ctx, "POST", callT))
		if got := stream.next(); !strings.Contains(got, `"progress":1`) || stream.lastID != tt.seen {
			t.Fatalf("%s: %s %s", tt.version, stream.lastID, got)
		}
		cancel()
		allowed <- struct{}{}
		resumed := c.events(c.send(t.Context(), "GET", "", "Last-Event-ID: "+tt.seen))
		if got := resumed.next(); !strings.Contains(got, `"progress":2`) {
			t.Fatalf("%s: %s", tt.version, got)
		}
		allowed <- struct{}{}
		resumed.rest()
		// Now it has ended, and can still be had, more than once.
		for range 2 {
			again := c.events(c.send(t.Context(), "GET", "", "Last-Event-ID: "+tt.seen))
			if got := again.rest(); got != tt.rest {
				t.Errorf("%s: %s, want %s", tt.version, got, tt.rest)
			}
		}
	}
}

// TestNoResume holds that a session of 2024-11-05 has no event ids, and takes a Last-Event-ID for nothing.
func TestNoResume(t *testing.T) {
	h, allowed := stepping(1)
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2024, `{}`)
	allowed <- struct{}{}
	stream := c.events(c.send(t.Context(), "POST", callT))
	if got := stream.rest(); got != ` "progress":1},  {"done":true}` {
		t.Error(got)
	}
	resp := c.send(t.Context(), "GET", "", "Last-Event-ID: c1-0")
	if c.events(resp); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestResumeRefused(t *testing.T) {
	h, allowed := stepping(1)
	_, url := serve(t, h, anybody())
	c, other := connect(t, url, era.V2025Nov, `{}`), connect(t, url, era.V2025Nov, `{}`)
	allowed <- struct{}{}
	c.events(c.send(t.Context(), "POST", callT)).rest()
	for id, status := range map[string]int{"c1-9": 400, "nonsense": 400, "s1-0": 400, "c7-0": 410} {
		resp := c.send(t.Context(), "GET", "", "Last-Event-ID: "+id)
		if got := body(t, resp); resp.StatusCode != status || !strings.Contains(got, `"error"`) {
			t.Errorf("%s: %d %s", id, resp.StatusCode, got)
		}
	}
	if resp := other.send(t.Context(), "GET", "", "Last-Event-ID: c1-0"); resp.StatusCode != 410 {
		t.Errorf("another session's event: %s", resp.Status)
	}
}

// TestResumeReplaced holds that a stream has one connection, the newest, and that all end with the session.
func TestResumeReplaced(t *testing.T) {
	h, allowed := stepping(2)
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Nov, `{}`)
	allowed <- struct{}{}
	c.events(c.send(t.Context(), "POST", callT)).next()
	first := c.events(c.send(t.Context(), "GET", "", "Last-Event-ID: c1-0"))
	first.next()
	second := c.events(c.send(t.Context(), "GET", "", "Last-Event-ID: c1-0"))
	if got := first.next(); got != "" {
		t.Errorf("the first goes on: %s", got)
	}
	if got := second.next(); !strings.Contains(got, `"progress":1`) {
		t.Error(got)
	}
	c.send(t.Context(), "DELETE", "")
	for got := second.next(); got != ""; got = second.next() {
		if !strings.Contains(got, `"code":499`) {
			t.Errorf("after the end of the session: %s", got)
		}
	}
}

// TestResumeStanding holds that what a session is told while its stream is lost is told when it comes back, and that a
// stream that has been given up is no more.
func TestResumeStanding(t *testing.T) {
	f, _ := serve(t, newHall(), anybody())
	ended := make(chan struct{}, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(w, r)
		if r.Method == http.MethodGet {
			ended <- struct{}{}
		}
	}))
	defer srv.Close()
	defer f.Close()
	c := connect(t, srv.URL, era.V2025Nov, `{}`)
	s := f.sessions.byID[c.session]
	say := func(n int) {
		s.client.Notify("notifications/message", fmt.Appendf(nil, `{"level":"error","data":%d}`, n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream := c.events(c.send(ctx, "GET", ""))
	say(1)
	stream.next()
	cancel()
	<-ended
	say(2)
	say(3)
	ctx, cancel = context.WithCancel(t.Context())
	stream = c.events(c.send(ctx, "GET", "", "Last-Event-ID: "+stream.lastID))
	for n := 2; n <= 3; n++ {
		if got := stream.next(); !strings.Contains(got, fmt.Sprintf(`"data":%d`, n)) {
			t.Error(got)
		}
	}
	cancel()
	<-ended
	// A second one is lost, so the first is given up: who comes back to it is told to look at everything.
	ctx, cancel = context.WithCancel(t.Context())
	second := c.events(c.send(ctx, "GET", ""))
	say(4)
	second.next()
	cancel()
	<-ended
	stream = c.events(c.send(t.Context(), "GET", "", "Last-Event-ID: "+stream.lastID))
	for _, w := range watched {
		if got := stream.next(); !strings.Contains(got, w.method) {
			t.Errorf("got %s, want %s", got, w.method)
		}
	}
}

// TestAskResumed holds that a question waits for the call's own stream when the client has lost it.
func TestAskResumed(t *testing.T) {
	h := newHall()
	lost, asked := make(chan struct{}), make(chan struct{})
	h.call = func(ctx context.Context, c *Call) (*era.Result, error) {
		c.Notify("notifications/progress", []byte(`{"progressToken":1,"progress":1}`))
		<-lost
		close(asked)
		return era.ReadResult(fmt.Appendf(nil, `{"got":%q}`, told(c.Ask(ctx, era.ListRoots, nil))))
	}
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Nov, allCapabilities)
	ctx, cancel := context.WithCancel(t.Context())
	stream := c.events(c.send(ctx, "POST", callT))
	stream.next()
	cancel()
	close(lost)
	<-asked
	resumed := c.events(c.send(t.Context(), "GET", "", "Last-Event-ID: "+stream.lastID))
	q := resumed.message()
	if q.Method != era.ListRoots {
		t.Fatalf("%+v", q)
	}
	c.post(`{"jsonrpc":"2.0","id":` + string(q.ID) + `,"result":{"roots":[]}}`)
	if got := resumed.rest(); !strings.Contains(got, `{"got":"{\"roots\":[]}"}`) {
		t.Error(got)
	}
}

// TestFirstAfter holds that only a call that takes a while gets a stream without need, and only one that can be resumed.
func TestFirstAfter(t *testing.T) {
	for _, version := range []string{era.V2024, era.V2025Mar, era.V2025Jun, era.V2025Nov} {
		synctest.Test(t, func(t *testing.T) {
			ss := newSessions(t.Context(), newHall(), owned.ID)
			s := ss.open(hello{version: version})
			w := &recorder{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
			r.Header.Set("Accept", "text/event-stream")
			out := reply.New(w, r)
			s.belong(out, replay.Call)
			time.Sleep(reply.FirstAfter + time.Millisecond)
			synctest.Wait()
			want := ""
			if version == era.V2025Nov {
				want = "id: c1-0\nretry: 1000\ndata: \n\n: keep-alive\n\n"
			}
			if got := w.text(); got != want {
				t.Errorf("%s: %q", version, got)
			}
			time.Sleep(reply.KeepAliveEvery)
			synctest.Wait()
			if got := w.text(); got != want+": keep-alive\n\n" {
				t.Errorf("%s, later: %q", version, got)
			}
			out.Result([]byte("1"), []byte("{}"), nil)
			out.End()
			ss.close(s)
			synctest.Wait()
		})
	}
}

// TestResumeTooLate holds that a client is told when the answer it comes back for is kept no more, rather than waiting for
// it, and that a lost step alone does not keep the answer from it.
func TestResumeTooLate(t *testing.T) {
	for name, tt := range map[string]struct{ step, answer, want string }{
		"the answer is lost": {`{"progressToken":1,"progress":2}`, `{"big":"` + strings.Repeat("x", 5<<20) + `"}`, "kept no more"},
		"a step is lost":     {`{"progressToken":1,"message":"` + strings.Repeat("x", 5<<20) + `"}`, `{"done":true}`, `"result":{"done":true}`},
	} {
		h, gone, done := newHall(), make(chan struct{}), make(chan struct{})
		h.call = func(_ context.Context, c *Call) (*era.Result, error) {
			c.Notify("notifications/progress", []byte(`{"progressToken":1,"progress":1}`))
			<-gone
			c.Notify("notifications/progress", []byte(tt.step))
			return era.ReadResult([]byte(tt.answer))
		}
		f := New(Config{Auth: anybody(), Backend: h, Version: "1"})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.ServeHTTP(w, r)
			if strings.Contains(r.Header.Get("X-Test"), "first") {
				close(done)
			}
		}))
		c := connect(t, srv.URL, era.V2025Nov, `{}`)
		ctx, cancel := context.WithCancel(t.Context())
		c.events(c.send(ctx, "POST", callT, "X-Test: first")).next()
		cancel()
		close(gone)
		<-done
		if got := body(t, c.send(t.Context(), "GET", "", "Last-Event-ID: c1-1")); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %.200s", name, got)
		}
		f.Close()
		srv.Close()
	}
}
