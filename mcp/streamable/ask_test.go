package streamable_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

const everything = `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}`

// asker answers every question by its method and params, and remembers them.
type asker struct {
	mu    sync.Mutex
	asked []string
}

func (a *asker) ask(_ context.Context, method string, params []byte) *upstream.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, method+" "+string(params))
	return &upstream.Answer{Result: []byte(`{"big":12345678901234567890,"to":"` + method + `"}`)}
}

func (a *asker) got() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// asking is x with a caller that can be asked everything.
func asking(x *upstream.Exchange, ask upstream.Ask) *upstream.Exchange {
	x.Ask, x.Capabilities = ask, []byte(everything)
	return x
}

func TestQuestionOnTheCallsOwnStream(t *testing.T) {
	const params = `{ "message" : "?", "n":12345678901234567890}`
	script := legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		answer := q.Ask("elicitation/create", params)
		q.Result(`{"declared":` + q.Server.Declared(q.HTTP.Header.Get("Mcp-Session-Id")) + `,"answer":` + answer + `}`)
	}}})
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	var to asker
	a := f.Answer(t, asking(upstreamtest.Tool("elicit", "{}"), to.ask))
	want := `{"declared":{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}},"answer":{"jsonrpc":"2.0","id":"ask-1","result":{"big":12345678901234567890,"to":"elicitation/create"}}}`
	if string(a.Result) != want {
		t.Errorf("%s, want\n%s", a.Result, want)
	}
	if got := to.got(); len(got) != 1 || got[0] != "elicitation/create "+params {
		t.Errorf("asked %q", got)
	}
	if n := f.Counts().Questions; n != 1 {
		t.Errorf("%d questions are counted", n)
	}
}

func TestErrorsOfACallerReachTheServerAsTheyAre(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{"answer":` + q.Ask("roots/list", "") + `}`) }}}))
	f, _ := httpFixture(t, s.Server)
	const raw = `{"code":-1,"message":"rejected","data":{"n":12345678901234567890,"x":1.50}}`
	a := f.Answer(t, asking(upstreamtest.Tool("ask", "{}"), func(_ context.Context, _ string, params []byte) *upstream.Answer {
		if params != nil {
			t.Errorf("params %s", params)
		}
		return &upstream.Answer{Error: &upstream.RPCError{Code: -1, Raw: []byte(raw)}}
	}))
	if want := `{"answer":{"jsonrpc":"2.0","id":"ask-1","error":` + raw + `}}`; string(a.Result) != want {
		t.Errorf("%s", a.Result)
	}
}

// TestEveryHonestRefusal plays questions that nobody can be asked: each is refused with a reason, and none hangs.
func TestEveryHonestRefusal(t *testing.T) {
	for _, c := range []struct {
		name, capabilities, method, params string
		noAsk                              bool
		want                               string
	}{
		{"ping is answered", `{}`, "ping", "", true, `"result":{}`},
		{"a caller that cannot be asked", everything, "elicitation/create", `{}`, true, `"code":-32601`},
		{"a capability that was not declared", `{"roots":{}}`, "sampling/createMessage", `{}`, false, `"code":-32601`},
		{"a mode that was not declared", `{"elicitation":{}}`, "elicitation/create", `{"mode":"url","url":"https://a/"}`, false, `"code":-32602`},
		{"tools that were not declared", `{"sampling":{}}`, "sampling/createMessage", `{"tools":[]}`, false, `"code":-32602`},
		{"a method that is no question", everything, "tools/list", ``, false, `"code":-32601`},
		{"a task of the client", everything, "tasks/get", `{"taskId":"1"}`, false, `"code":-32601`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
				"tools/call": func(q *mcptest.Request) { q.Result(`{"answer":` + q.Ask(c.method, c.params) + `}`) }}}))
			f, _ := httpFixture(t, s.Server)
			x := upstreamtest.Tool("ask", "{}")
			x.Capabilities = []byte(c.capabilities)
			if !c.noAsk {
				x.Ask = func(context.Context, string, []byte) *upstream.Answer {
					t.Error("the caller was asked")
					return nil
				}
			}
			if a := f.Answer(t, x); !strings.Contains(string(a.Result), c.want) {
				t.Errorf("%s, want %s", a.Result, c.want)
			}
		})
	}
}

func TestOlderServersAreNotToldOfModes(t *testing.T) {
	for version, want := range map[string]string{
		"2024-11-05": `{"sampling":{},"roots":{}}`,
		"2025-03-26": `{"sampling":{},"roots":{}}`,
		"2025-06-18": `{"elicitation":{},"sampling":{},"roots":{}}`,
		"2025-11-25": `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}`,
	} {
		s := mcptest.Raw(t, mcptest.Script{Version: version, Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
			"tools/call": func(q *mcptest.Request) {
				q.Result(`{"version":"` + q.HTTP.Header.Get("Mcp-Protocol-Version") + `","declared":` + q.Server.Declared(q.HTTP.Header.Get("Mcp-Session-Id")) + `}`)
			}}})
		f, o := httpFixture(t, s.Server)
		if o.Version != version {
			t.Errorf("version %s is recorded as %s", version, o.Version)
		}
		a := f.Answer(t, asking(upstreamtest.Tool("t", "{}"), new(asker).ask))
		if got := `{"version":"` + version + `","declared":` + want + `}`; string(a.Result) != got {
			t.Errorf("%s, want %s", a.Result, got)
		}
		if got := s.Declared("session-1"); got != `{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]}}}` {
			t.Errorf("the gateway's own session declares %s", got)
		}
	}
}

func TestServerTakesItsQuestionBack(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			q.Event(`{"jsonrpc":"2.0","id":"mine","method":"sampling/createMessage","params":{}}`)
			q.Notify("notifications/cancelled", `{"requestId":"mine","reason":"too slow"}`)
			q.Result(`{"answer":` + q.Ask("roots/list", "") + `}`)
		}}}))
	f, _ := httpFixture(t, s.Server)
	ended := make(chan struct{})
	a := f.Answer(t, asking(upstreamtest.Tool("ask", "{}"), func(ctx context.Context, method string, _ []byte) *upstream.Answer {
		if method == "roots/list" {
			<-ended // while the call goes on
			return &upstream.Answer{Result: []byte(`{"roots":[]}`)}
		}
		<-ctx.Done()
		close(ended)
		return &upstream.Answer{Result: []byte(`{}`)}
	}))
	if a.Error != nil {
		t.Error(a.Error)
	}
	if s.Has(`"id":"mine","result"`) || s.Has(`"id":"mine","error"`) {
		t.Error("a question that was taken back was answered")
	}
}

func TestQuestionsEndWithTheirCall(t *testing.T) {
	script := legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			q.Event(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`)
			if q.Name == "answers" {
				q.Result(`{}`)
				return
			}
			q.Wait()
		}}})
	for _, name := range []string{"answers", "hangs"} {
		t.Run(name, func(t *testing.T) {
			upstreamtest.NoLeaks(t)
			f, _ := httpFixture(t, mcptest.Raw(t, script).Server)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			over := false
			_, err := f.As(ctx, upstreamtest.Alice, asking(upstreamtest.Tool(name, "{}"), func(ctx context.Context, _ string, _ []byte) *upstream.Answer {
				if name == "hangs" {
					cancel() // the caller leaves
				}
				<-ctx.Done()
				over = true // seen by whoever waits for Call
				return nil
			}))
			if (err != nil) != (name == "hangs") || name == "hangs" && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if name == "hangs" && !over {
				t.Error("Call returned before its question had ended")
			}
		})
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			for i := range 300 {
				q.Event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"roots/list"}`, i))
			}
			q.Result(`{"answer":` + q.Ask("roots/list", "") + `}`)
		}}}))
	f, _ := httpFixture(t, s.Server)
	var most, now int
	var mu sync.Mutex
	a := f.Answer(t, asking(upstreamtest.Tool("ask", "{}"), func(ctx context.Context, _ string, _ []byte) *upstream.Answer {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-ctx.Done()
		return nil
	}))
	if !strings.Contains(string(a.Result), `"code":-32603`) || !strings.Contains(string(a.Result), "too many questions") {
		t.Errorf("the last one is answered with %s", a.Result)
	}
	mu.Lock()
	defer mu.Unlock()
	if most == 0 || most > 256 {
		t.Errorf("%d questions were open at once", most)
	}
}

// inFlight calls tool name for x in the background; ended gets its end, once finish is closed the server answers.
func inFlight(t *testing.T, f *upstreamtest.Fixture, p *policy.Principal, x *upstream.Exchange) (ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	go func() {
		_, err := f.As(t.Context(), p, x)
		ended <- err
	}()
	return ended
}

// held is a script whose tools begin and wait for finish.
func held() (script mcptest.Script, begun chan *mcptest.Request, finish chan struct{}) {
	begun, finish = make(chan *mcptest.Request, 8), make(chan struct{})
	return legacy(mcptest.Script{Tools: []string{}, Sessions: true, Streams: true, Extra: `"logging":{}`, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			q.Event("")
			begun <- q
			select {
			case <-finish:
			case <-q.HTTP.Context().Done():
			}
			q.Result(`{}`)
		}}}), begun, finish
}

func sessionOf(q *mcptest.Request) string { return q.HTTP.Header.Get("Mcp-Session-Id") }

func TestQuestionOnTheSessionsStreamOfAModernCaller(t *testing.T) {
	script, begun, finish := held()
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	var first, second asker
	one := inFlight(t, f, upstreamtest.Alice, asking(upstreamtest.Tool("one", "{}"), first.ask))
	session := sessionOf(<-begun)
	if a := <-s.AskOn(session, "elicitation/create", `{}`); !strings.Contains(a, `"to":"elicitation/create"`) {
		t.Errorf("the only call was not asked: %s", a)
	}
	two := inFlight(t, f, upstreamtest.Alice, asking(upstreamtest.Tool("two", "{}"), second.ask))
	if other := sessionOf(<-begun); other != session {
		t.Fatalf("another session: %s", other)
	}
	if a := <-s.AskOn(session, "elicitation/create", `{}`); !strings.Contains(a, `"code":-32601`) || !strings.Contains(a, "several calls") {
		t.Errorf("one of two was guessed: %s", a)
	}
	close(finish)
	for _, ended := range []chan error{one, two} {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if a := <-s.AskOn(session, "elicitation/create", `{}`); !strings.Contains(a, `"code":-32601`) || !strings.Contains(a, "no call is in flight") {
		t.Errorf("nobody was asked: %s", a)
	}
	if a := <-s.AskOn(session, "ping", ""); !strings.Contains(a, `"result":{}`) {
		t.Errorf("ping: %s", a)
	}
	if n, m := len(first.got()), len(second.got()); n != 1 || m != 0 {
		t.Errorf("asked %d and %d times", n, m)
	}
}

func TestQuestionInAClientsSession(t *testing.T) {
	script, begun, finish := held()
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	var client, first, second asker
	told := make(chan string, 4)
	session := &upstream.Client{ID: "c1", Ask: client.ask, Notify: func(method string, params []byte) { told <- method + " " + string(params) }}
	call := func(name string, to *asker) *upstream.Exchange {
		x := asking(upstreamtest.Tool(name, "{}"), to.ask)
		x.Era, x.Version, x.Client = upstream.Legacy, mcptest.Legacy, session
		return x
	}
	one := inFlight(t, f, upstreamtest.Alice, call("one", &first))
	id := sessionOf(<-begun)
	if got := s.Declared(id); got != `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}` {
		t.Errorf("declared %s", got)
	}
	two := inFlight(t, f, upstreamtest.Alice, call("two", &second))
	<-begun
	ask := func(to *asker, want int) {
		t.Helper()
		if a := <-s.AskOn(id, "roots/list", ""); !strings.Contains(a, `"to":"roots/list"`) {
			t.Errorf("refused: %s", a)
		}
		if n := len(to.got()); n != want {
			t.Errorf("asked %d times, want %d", n, want)
		}
	}
	ask(&second, 1) // the newest call
	close(finish)
	<-one
	<-two
	ask(&client, 1) // the client itself

	s.SayOn(id, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`)
	s.SayOn(id, `{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":"e"}}`)
	for _, want := range []string{`notifications/message {"level":"info","data":1}`, `notifications/elicitation/complete {"elicitationId":"e"}`} {
		if got := <-told; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	if n := len(first.got()); n != 0 {
		t.Errorf("the older call was asked %d times", n)
	}
}

func TestWordsOnTheSessionsStreamOfModernCallers(t *testing.T) {
	script, begun, finish := held()
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	listening := func(name string) (*upstream.Exchange, chan string) {
		got := make(chan string, 8)
		x := asking(upstreamtest.Tool(name, "{}"), new(asker).ask)
		x.LogLevel, x.ProgressToken = "info", []byte(`"`+name+`"`)
		x.Notify = func(method string, params []byte) { got <- method + " " + string(params) }
		return x, got
	}
	x, first := listening("one")
	one := inFlight(t, f, upstreamtest.Alice, x)
	q := <-begun
	say := func(method, params string) {
		s.SayOn(sessionOf(q), `{"jsonrpc":"2.0","method":"`+method+`","params":`+params+`}`)
	}
	say("notifications/message", `{"level":"debug","data":0}`)
	say("notifications/message", `{"level":"info","data":1}`)
	if got := <-first; got != `notifications/message {"level":"info","data":1}` {
		t.Errorf("the only call heard %s", got)
	}
	x, second := listening("two")
	two := inFlight(t, f, upstreamtest.Alice, x)
	r := <-begun
	say("notifications/message", `{"level":"error","data":"whose?"}`)
	// Progress names its call, so it reaches it on whichever stream it comes.
	say("notifications/progress", `{"progressToken":`+r.ID+`,"progress":1}`)
	q.Notify("notifications/progress", `{"progressToken":`+r.ID+`,"progress":2}`)
	say("notifications/progress", `{"progressToken":`+q.ID+`,"progress":3}`)
	if got := <-first; got != `notifications/progress {"progressToken":"one","progress":3}` {
		t.Errorf("the first heard %s", got)
	}
	for range 2 {
		if got := <-second; !strings.HasPrefix(got, `notifications/progress {"progressToken":"two"`) {
			t.Errorf("the second heard %s", got)
		}
	}
	close(finish)
	<-one
	<-two
	if len(first)+len(second) != 0 {
		t.Errorf("somebody heard %d and %d more", len(first), len(second))
	}
}

// The stream of a server without sessions is everybody's: what it logs there may be of a call of somebody else's.
func TestLogLineOnASharedStreamIsNobodys(t *testing.T) {
	script, begun, finish := held()
	script.Sessions, script.Changes = false, true
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	heard := make(chan string, 8)
	x := upstreamtest.Tool("one", "{}")
	x.LogLevel, x.ProgressToken = "info", []byte("1")
	x.Notify = func(method string, _ []byte) { heard <- method }
	one := inFlight(t, f, upstreamtest.Alice, x)
	q := <-begun
	for !s.SayOn("", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"whose?"}}`) {
	}
	s.SayOn("", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`+q.ID+`,"progress":1}}`)
	if got := <-heard; got != "notifications/progress" {
		t.Errorf("the only call heard %s", got)
	}
	close(finish)
	<-one
}

func TestServerWithoutSessionsAsksToo(t *testing.T) {
	upstreamtest.NoLeaks(t)
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Streams: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{"answer":` + q.Ask("roots/list", "") + `}`) }}}))
	f, _ := httpFixture(t, s.Server)
	for i := range 3 {
		x := asking(upstreamtest.Tool("ask", "{}"), new(asker).ask)
		x.Client = &upstream.Client{ID: fmt.Sprint(i), Ask: x.Ask, Notify: func(method string, _ []byte) {
			t.Errorf("a client heard %s of a session that is not its own", method)
		}}
		if a := f.Answer(t, x); !strings.Contains(string(a.Result), `"to":"roots/list"`) {
			t.Errorf("%s", a.Result)
		}
	}
	s.SayOn("", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`)
	if a := <-s.AskOn("", "roots/list", ""); !strings.Contains(a, `"code":-32601`) {
		t.Errorf("one of several clients was guessed: %s", a)
	}
	if n := f.Counts().Sessions; n != 2 {
		t.Errorf("%d sessions, want 2: the gateway's own and one for what may be asked", n)
	}
}

func TestSDKServersAskTheirCallers(t *testing.T) {
	upstreamtest.NoLeaks(t)
	f, _ := httpFixture(t, mcptest.SDKAsking(t))
	answers := map[string]string{
		"elicitation/create":     `{"action":"accept","content":{"name":"ada"}}`,
		"sampling/createMessage": `{"role":"assistant","content":{"type":"text","text":"sampled"},"model":"m"}`,
		"roots/list":             `{"roots":[{"uri":"file:///here"}]}`,
	}
	ask := func(_ context.Context, method string, _ []byte) *upstream.Answer {
		return &upstream.Answer{Result: []byte(answers[method])}
	}
	for name, want := range map[string]string{"elicit": "ada", "sample": "sampled", "roots": "file:///here"} {
		modern := asking(upstreamtest.Tool(name, "{}"), ask)
		old := asking(upstreamtest.Tool(name, "{}"), ask)
		old.Era, old.Version, old.Client = upstream.Legacy, mcptest.Legacy, &upstream.Client{ID: "c1"}
		for _, x := range []*upstream.Exchange{modern, old} {
			if a := f.Answer(t, x); !strings.Contains(string(a.Result), want) || strings.Contains(string(a.Result), `"isError":true`) {
				t.Errorf("%s for a %s caller: %s %v", name, x.Era, a.Result, a.Error)
			}
		}
		if a := f.Answer(t, upstreamtest.Tool(name, "{}")); !strings.Contains(string(a.Result), `"isError":true`) {
			t.Errorf("%s for a caller that declared nothing: %s", name, a.Result)
		}
	}
}
