package streamable_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// oldest is a script of 2024-11-05.
func oldest(call func(*mcptest.Request)) mcptest.Script {
	return mcptest.Script{Version: "2024-11-05", Tools: []string{echoTool}, Changes: true, On: map[string]func(*mcptest.Request){"tools/call": call}}
}

func TestServersOfTheFirstTransport(t *testing.T) {
	upstreamtest.NoLeaks(t)
	const result = `{"content":[{"type":"video"}],"n":12345678901234567890}`
	s := mcptest.OldSSE(t, oldest(func(q *mcptest.Request) {
		switch q.Name {
		case "result":
			q.Notify("notifications/progress", `{"progressToken":`+q.ID+`,"progress":1}`)
			q.Notify("notifications/progress", `{"progressToken":`+q.ID+`,"progress":2}`)
			q.Result(result)
		case "error":
			q.Error(-32000, "no", `{"n":12345678901234567890}`)
		}
	}), "")
	f, o := httpFixture(t, s.Server)
	if o.Era != upstream.Legacy || o.Version != "2024-11-05" || len(o.Tools) != 1 {
		t.Errorf("offer %+v", o)
	}
	var n upstreamtest.Notified
	x := upstreamtest.Tool("result", "{}")
	x.ProgressToken, x.Notify = []byte("7"), n.Take
	if a := f.Answer(t, x); string(a.Result) != result {
		t.Errorf("%s", a.Result)
	}
	if got := strings.Join(n.Got, " "); got != `notifications/progress {"progressToken":7,"progress":1} notifications/progress {"progressToken":7,"progress":2}` {
		t.Errorf("told %s", got)
	}
	if a := f.Answer(t, upstreamtest.Tool("error", "{}")); a.Error == nil || string(a.Error.Raw) != `{"code":-32000,"message":"no","data":{"n":12345678901234567890}}` {
		t.Errorf("%+v", a)
	}
	if err := f.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	s.Change("tools")
	if c := <-f.Changed; c != upstream.ToolsChanged {
		t.Errorf("heard %s", c)
	}
	opened := func() int {
		return len(slices.DeleteFunc(s.Methods(), func(m string) bool { return m != "initialize" }))
	}
	before := opened()
	if _, err := f.As(t.Context(), upstreamtest.Alice, asking(upstreamtest.Tool("result", "{}"), new(asker).ask)); err != nil {
		t.Error(err)
	}
	if n := opened(); n != before+1 {
		t.Errorf("a further session was asked for %d times", n-before)
	}
}

func TestQuestionsOfServersOfTheFirstTransport(t *testing.T) {
	s := mcptest.OldSSE(t, oldest(func(q *mcptest.Request) { q.Result(`{"answer":` + q.Ask("sampling/createMessage", `{}`) + `}`) }), "")
	f, _ := httpFixture(t, s.Server)
	var to asker
	if a := f.Answer(t, asking(upstreamtest.Tool("ask", "{}"), to.ask)); !strings.Contains(string(a.Result), `"to":"sampling/createMessage"`) {
		t.Errorf("%s", a.Result)
	}
	if a := f.Answer(t, upstreamtest.Tool("ask", "{}")); !strings.Contains(string(a.Result), `"code":-32601`) {
		t.Errorf("who declared nothing: %s", a.Result)
	}
}

func TestCallersOfOneSessionOfTheFirstTransport(t *testing.T) {
	s := mcptest.OldSSE(t, oldest(func(q *mcptest.Request) { q.Result(fmt.Sprintf(`{"name":%q}`, q.Name)) }), "")
	f, _ := httpFixture(t, s.Server)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			name := fmt.Sprint("t", i)
			if a, err := f.As(t.Context(), upstreamtest.Alice, upstreamtest.Tool(name, "{}")); err != nil || string(a.Result) != fmt.Sprintf(`{"name":%q}`, name) {
				t.Error(a, err)
			}
		})
	}
	wg.Wait()
}

func TestStreamOfTheFirstTransportBreaks(t *testing.T) {
	upstreamtest.NoLeaks(t)
	begun := make(chan struct{}, 2)
	s := mcptest.OldSSE(t, oldest(func(q *mcptest.Request) {
		if q.Name == "hangs" {
			begun <- struct{}{}
			q.Wait()
			return
		}
		q.Result(`{}`)
	}), "")
	f, _ := httpFixture(t, s.Server)
	ended := inFlight(t, f, upstreamtest.Alice, upstreamtest.Tool("hangs", "{}"))
	<-begun
	s.CloseConnections()
	upstreamtest.WantFault(t, <-ended, upstream.Gone)
	for c := range f.Changed { // the gateway's own session was cut, too
		if c == upstream.Lost {
			break
		}
	}
	f.Answer(t, upstreamtest.Tool("works", "{}"))
	if _, err := f.Discover(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := f.As(ctx, upstreamtest.Alice, upstreamtest.Tool("hangs", "{}")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Last(t, "notifications/cancelled")
}

func TestEndpointsThatAreNone(t *testing.T) {
	for name, endpoint := range map[string]string{
		"another host":   "http://127.0.0.1:1/mcp?session=sse-1",
		"another scheme": "https://{host}/mcp?session=sse-1",
		"a user":         "http://me@{host}/mcp?session=sse-1",
		"no address":     "http://[",
	} {
		t.Run(name, func(t *testing.T) {
			upstreamtest.NoLeaks(t)
			s := mcptest.OldSSE(t, oldest(func(q *mcptest.Request) { q.Result(`{}`) }), endpoint)
			f := newFixture(t, upstream.Config{URL: s.URL})
			_, err := f.Discover(t.Context())
			upstreamtest.WantFault(t, err, upstream.Unreachable)
			for _, r := range s.Requests() {
				if r.HTTPMethod == http.MethodPost && strings.Contains(string(r.Body), "initialized") {
					t.Error("a session was opened")
				}
			}
		})
	}
}
