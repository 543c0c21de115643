package streamable_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

const echoTool = `{"name":"echo","inputSchema":{"type":"object"},"x-unknown":{"big":12345678901234567890}}`

func legacy(s mcptest.Script) mcptest.Script {
	s.Version = mcptest.Legacy
	return s
}

func TestDiscoverSettlesEra(t *testing.T) {
	answer := func(f func(q *mcptest.Request)) map[string]func(*mcptest.Request) {
		return map[string]func(*mcptest.Request){"server/discover": f}
	}
	for _, c := range []struct {
		name   string
		script mcptest.Script
		era    upstream.Era // forced
		want   upstream.Era // empty: a fault
	}{
		{name: "a modern server", want: upstream.Modern},
		{name: "a legacy server", script: legacy(mcptest.Script{}), want: upstream.Legacy},
		{name: "a legacy server with sessions", script: legacy(mcptest.Script{Sessions: true}), want: upstream.Legacy},
		{name: "discover answered, but no version in common: the trap", want: upstream.Legacy,
			script: legacy(mcptest.Script{On: answer(func(q *mcptest.Request) {
				q.Result(`{"supportedVersions":["2025-11-25"],"capabilities":{}}`)
			})})},
		{name: "another version is not spoken, legacy ones are", want: upstream.Legacy,
			script: legacy(mcptest.Script{On: answer(func(q *mcptest.Request) {
				q.ErrorStatus(400, -32022, "Unsupported", `{"supported":["2025-06-18"],"requested":"2026-07-28"}`)
			})})},
		{name: "a capability is missing: only modern servers say so", want: upstream.Modern,
			script: mcptest.Script{On: answer(func(q *mcptest.Request) {
				q.ErrorStatus(400, -32021, "Missing", `{"requiredCapabilities":{}}`)
			})}},
		{name: "a modern server without discover", want: upstream.Modern,
			script: mcptest.Script{On: answer(func(q *mcptest.Request) { q.ErrorStatus(404, -32601, "Method not found", "") })}},
		{name: "an unknown error is legacy, whatever its code", want: upstream.Legacy,
			script: legacy(mcptest.Script{On: answer(func(q *mcptest.Request) { q.ErrorStatus(400, -32000, "no session", "") })})},
		{name: "garbage is legacy", want: upstream.Legacy,
			script: legacy(mcptest.Script{On: answer(mcptest.Hostile()["html"])})},
		{name: "a legacy server that accepts anything", want: upstream.Legacy,
			script: legacy(mcptest.Script{On: answer(func(q *mcptest.Request) { q.Result(`{}`) })})},
		{name: "forced legacy is not probed", era: upstream.Legacy, want: upstream.Legacy,
			script: legacy(mcptest.Script{On: answer(func(q *mcptest.Request) { panic("probed") })})},
		{name: "forced modern does not fall back", era: upstream.Modern, script: legacy(mcptest.Script{})},
		{name: "a version nobody knows", script: mcptest.Script{Version: "2023-01-01"}},
		{name: "refused credentials", script: mcptest.Script{On: answer(mcptest.Hostile()["401"])}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mcptest.Raw(t, c.script)
			f := newFixture(t, upstream.Config{URL: s.URL, Era: c.era})
			o, err := f.Discover(t.Context())
			if c.want == "" {
				var fault *upstream.Fault
				if !errors.As(err, &fault) {
					t.Fatalf("no fault but %v, %v", o, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err, errors.Unwrap(err))
			}
			if o.Era != c.want {
				t.Errorf("era %s, want %s", o.Era, c.want)
			}
		})
	}
}

func TestVersionThatIsRetried(t *testing.T) {
	asked := 0
	s := mcptest.Raw(t, mcptest.Script{On: map[string]func(*mcptest.Request){"server/discover": func(q *mcptest.Request) {
		if asked++; asked == 1 {
			q.ErrorStatus(400, -32022, "Unsupported", `{"supported":["2026-07-28"],"requested":"2026-07-28"}`)
			return
		}
		q.Result(`{"supportedVersions":["2026-07-28"],"capabilities":{}}`)
	}}})
	if _, o := httpFixture(t, s.Server); o.Era != upstream.Modern || asked != 2 {
		t.Errorf("era %s after %d requests", o.Era, asked)
	}
}

func TestListsComeWhole(t *testing.T) {
	var many []string
	for i := range 7 {
		many = append(many, fmt.Sprintf(`{"name":"t%d","big":12345678901234567890,"inputSchema":{"$schema":"x","type":"object"}}`, i))
	}
	s := mcptest.Raw(t, mcptest.Script{Tools: many, PageSize: 3, List: `"ttlMs":5000,"cacheScope":"public"`})
	_, o := httpFixture(t, s.Server)
	var got []string
	for _, raw := range o.Tools {
		got = append(got, string(raw))
	}
	if !slices.Equal(got, many) {
		t.Errorf("tools %q", got)
	}
	if len(o.Faults) != 0 || o.TTL.Milliseconds() != 5000 || !o.Public {
		t.Errorf("faults %v, ttl %v, public %v", o.Faults, o.TTL, o.Public)
	}
	if n := len(slices.DeleteFunc(s.Methods(), func(m string) bool { return m != "tools/list" })); n != 3 {
		t.Errorf("%d pages were fetched", n)
	}
}

func TestBrokenListsAreFaults(t *testing.T) {
	list := func(text string) func(*mcptest.Request) { return func(q *mcptest.Request) { q.Result(text) } }
	for _, c := range []struct {
		name  string
		on    func(*mcptest.Request)
		tools int
		want  string
	}{
		{"an endless list", list(`{"tools":[` + echoTool + `],"nextCursor":"again"}`), 2, "repeats a page cursor"},
		{"too many pages", func(q *mcptest.Request) {
			q.Result(fmt.Sprintf(`{"tools":[],"nextCursor":"%s"}`, q.ID))
		}, 0, "pages"},
		{"too many items", list(`{"tools":[` + strings.Repeat(`{},`, 10_000) + `{}]}`), 10_000, "10000 items"},
		{"no list", list(`{"tool":[]}`), 0, "no member tools"},
		{"a list of two readings", list(`{"tools":[],"Tools":[]}`), 0, "not readable"},
		{"an error", func(q *mcptest.Request) { q.Error(-32603, "secret internals", "") }, 0, "error -32603"},
		{"garbage", mcptest.Hostile()["not json"], 0, "not an MCP message"},
		{"500", mcptest.Hostile()["html 500"], -1, ""},
		{"no such method, though declared", func(q *mcptest.Request) { q.Error(-32601, "no", "") }, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mcptest.Raw(t, mcptest.Script{Tools: []string{}, Prompts: []string{`{"name":"p"}`}, On: map[string]func(*mcptest.Request){"tools/list": c.on}})
			f := newFixture(t, upstream.Config{URL: s.URL})
			o, err := f.Discover(t.Context())
			if c.tools < 0 {
				upstreamtest.WantFault(t, err, upstream.Unreachable)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(o.Tools) != c.tools || !strings.Contains(o.Faults["tools"], c.want) || (c.want == "") != (o.Faults["tools"] == "") {
				t.Errorf("%d tools, fault %q", len(o.Tools), o.Faults["tools"])
			}
			if len(o.Prompts) != 1 || o.Faults["prompts"] != "" {
				t.Errorf("the other list suffered: %d prompts, %q", len(o.Prompts), o.Faults["prompts"])
			}
		})
	}
}

// both runs a test against a legacy server with sessions and a modern one.
func both(t *testing.T, script mcptest.Script, run func(t *testing.T, s *mcptest.RawServer)) {
	t.Helper()
	for _, version := range []string{mcptest.Modern, mcptest.Legacy} {
		t.Run(version, func(t *testing.T) {
			script.Version, script.Sessions = version, version == mcptest.Legacy
			run(t, mcptest.Raw(t, script))
		})
	}
}

func TestAnswersPassAsTheyCame(t *testing.T) {
	const result = `{"content":[{"type":"video","x":1}], "structuredContent":[1, 2.50],"n":12345678901234567890,"isError":false,"text":"\ud800"}`
	script := mcptest.Script{Tools: []string{echoTool}, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		switch q.Name {
		case "json":
			q.Result(result)
		case "stream":
			q.Event(`{"jsonrpc":"2.0","method":"notifications/nonsense"}`)
			q.Stream(": comment\n\nid\nevent: ping\ndata: x\n\n")
			q.Result(result)
		case "unfinished": // the blank line is missing
			q.Stream("data: " + `{"jsonrpc":"2.0","id":` + q.ID + `,"result":` + result + "}\n")
		case "error":
			q.ErrorStatus(http.StatusBadRequest, -32021, "Missing", `{"n":12345678901234567890,"requiredCapabilities":{"sampling":{}}}`)
		case "unrouted":
			q.ErrorText(http.StatusBadRequest, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`)
		case "not found":
			q.ErrorStatus(http.StatusNotFound, -32601, "Method not found", `[1]`)
		}
	}}}
	both(t, script, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		for _, name := range []string{"json", "stream", "unfinished"} {
			if a := f.Answer(t, upstreamtest.Tool(name, "{}")); string(a.Result) != result {
				t.Errorf("%s: %+v", name, a)
			}
		}
		for _, c := range []struct {
			name, raw  string
			code, http int
		}{
			{"error", `{"code":-32021,"message":"Missing","data":{"n":12345678901234567890,"requiredCapabilities":{"sampling":{}}}}`, -32021, 400},
			{"unrouted", `{"code":-32700,"message":"Parse error"}`, -32700, 400},
			{"not found", `{"code":-32601,"message":"Method not found","data":[1]}`, -32601, 404},
		} {
			a := f.Answer(t, upstreamtest.Tool(c.name, "{}"))
			if a.Error == nil || string(a.Error.Raw) != c.raw || a.Error.Code != c.code || a.Error.HTTP != c.http {
				t.Errorf("%s: %+v", c.name, a.Error)
			}
		}
	})
}

func TestRequestsInEachEra(t *testing.T) {
	script := mcptest.Script{Tools: []string{
		`{"name":"put","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"}}}}`,
		`{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}}`,
	}, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) { q.Result(`{}`) }}}
	x := upstreamtest.Tool("put", `{"region":"süd","n":12345678901234567,"extra":[1,2.50]}`)
	x.Meta = []byte(` { "vendor/key": {"a": 1} } `)
	x.ProgressToken, x.Notify = []byte(`"mine"`), func(string, []byte) {}
	x.LogLevel = "warning"
	x.Capabilities = []byte(`{"elicitation":{"form":{}},"tasks":{},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{"m":1}}}`)

	both(t, script, func(t *testing.T, s *mcptest.RawServer) {
		f, o := httpFixture(t, s.Server)
		f.Answer(t, x)
		r := s.Last(t, "tools/call")
		want := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"User-Agent": "tollgate/1.2.3", "X-Api-Key": "canary-credential", "Accept-Encoding": "identity", "Mcp-Session-Id": "", "Traceparent": ""}
		body := `{"jsonrpc":"2.0","id":ID,"method":"tools/call","params":{"name":"put","arguments":{"region":"süd","n":12345678901234567,"extra":[1,2.50]},"_meta":{"vendor/key": {"a": 1}`
		if o.Era == upstream.Modern {
			want["Mcp-Protocol-Version"], want["Mcp-Method"], want["Mcp-Name"] = mcptest.Modern, "tools/call", "put"
			want["Mcp-Param-Region"] = "=?base64?c8O8ZA==?="
			body += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28"` +
				`,"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/ui":{"m":1}}}` +
				`,"io.modelcontextprotocol/clientInfo":{"name":"tollgate","version":"1.2.3"},"io.modelcontextprotocol/logLevel":"warning"`
			if len(o.Tools) != 1 {
				t.Errorf("the tool with invalid annotations is offered: %q", o.Tools)
			}
		} else {
			want["Mcp-Protocol-Version"], want["Mcp-Session-Id"], want["Mcp-Method"], want["Mcp-Param-Region"] = mcptest.Legacy, "session-2", "", ""
			if len(o.Tools) != 2 {
				t.Errorf("a legacy server's tools are judged by modern rules: %q", o.Tools)
			}
		}
		for name, v := range want {
			if got := r.Header.Get(name); got != v {
				t.Errorf("%s: %q, want %q", name, got, v)
			}
		}
		id := idOf(r.Body)
		body = strings.Replace(body, "ID", id, 1) + `,"progressToken":` + id + `}}}`
		if string(r.Body) != body {
			t.Errorf("body\n%s, want\n%s", r.Body, body)
		}
		if s.Has("mine") {
			t.Error("the caller's progress token left the gateway")
		}
	})
}

func idOf(body []byte) string {
	_, rest, _ := strings.Cut(string(body), `"id":`)
	id, _, _ := strings.Cut(rest, ",")
	return id
}

func TestLegacyCallerDeclaresNothingToModernServer(t *testing.T) {
	s := mcptest.Raw(t, mcptest.Script{On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) { q.Result(`{}`) }}})
	f, _ := httpFixture(t, s.Server)
	x := upstreamtest.Tool("echo", "{}")
	x.Era, x.Version, x.Capabilities = upstream.Legacy, mcptest.Legacy, []byte(`{"sampling":{}}`)
	f.Answer(t, x)
	if b := string(s.Last(t, "tools/call").Body); !strings.Contains(b, `clientCapabilities":{},`) {
		t.Error(b)
	}
}

func TestNotificationsComeInOrderBeforeTheAnswer(t *testing.T) {
	script := mcptest.Script{Tools: []string{}, Extra: `"logging":{}`, On: map[string]func(*mcptest.Request){
		"logging/setLevel": func(q *mcptest.Request) { q.Result(`{}`) },
		"tools/call": func(q *mcptest.Request) {
			for i := range 3 {
				q.Notify("notifications/progress", fmt.Sprintf(`{"progressToken":%s,"progress":%d,"n":12345678901234567890}`, q.ID, i))
				q.Notify("notifications/message", fmt.Sprintf(`{"level":"info","data":%d}`, i))
				q.Notify("notifications/message", fmt.Sprintf(`{"level":"error","data":%d}`, i))
			}
			q.Notify("notifications/progress", `{"progressToken":"another's","progress":1}`)
			q.Notify("notifications/tools/list_changed", `{}`)
			q.Result(`{}`)
		}}}
	both(t, script, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		var n upstreamtest.Notified
		x := upstreamtest.Tool("echo", "{}")
		x.ProgressToken, x.LogLevel, x.Notify = []byte(`"a\"b"`), "warning", n.Take
		f.Answer(t, x)
		var want []string
		for i := range 3 {
			want = append(want, fmt.Sprintf(`notifications/progress {"progressToken":"a\"b","progress":%d,"n":12345678901234567890}`, i),
				fmt.Sprintf(`notifications/message {"level":"error","data":%d}`, i))
		}
		if !slices.Equal(n.Got, want) {
			t.Errorf("got %q", n.Got)
		}
		if c := <-f.Changed; c != upstream.ToolsChanged {
			t.Errorf("the change is %q", c)
		}
		n.Got = nil
		x.ProgressToken, x.LogLevel = nil, ""
		f.Answer(t, x)
		if len(n.Got) != 0 {
			t.Errorf("unwanted: %q", n.Got)
		}
		levels := len(slices.DeleteFunc(s.Methods(), func(m string) bool { return m != "logging/setLevel" }))
		if want := len(s.Last(t, "tools/call").Header.Values("Mcp-Session-Id")); levels != want {
			t.Errorf("logging/setLevel was sent %d times, want %d", levels, want)
		}
	})
}

func TestServersOwnRequestsAreRefused(t *testing.T) {
	script := legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		q.Event(`{"jsonrpc":"2.0","id":"q\"1","method":"elicitation/create","params":{}}`)
		q.Event(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
		q.Result(`{}`)
	}}})
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	f.Answer(t, upstreamtest.Tool("ask", "{}"))
	var replies []string
	for _, r := range s.Requests() {
		if r.HTTPMethod == http.MethodPost && r.Method == "" {
			replies = append(replies, string(r.Body))
			if r.Header.Get("Mcp-Session-Id") == "" {
				t.Error("a refusal outside the session")
			}
		}
	}
	want := []string{`{"jsonrpc":"2.0","id":"q\"1","error":{"code":-32601,"message":"the client declared no such capability"}}`, `{"jsonrpc":"2.0","id":7,"result":{}}`}
	if !slices.Equal(replies, want) {
		t.Errorf("replies %q", replies)
	}
}

func TestHostileAnswersAreFaults(t *testing.T) {
	kinds := map[string]upstream.FaultKind{
		"not json": upstream.Garbage, "html": upstream.Garbage, "empty": upstream.Garbage, "cut json": upstream.Garbage,
		"two results": upstream.Garbage, "result and error": upstream.Garbage, "result no object": upstream.Garbage,
		"error no object": upstream.Garbage, "wrong id": upstream.Garbage, "no answer": upstream.Garbage, "cut stream": upstream.Gone,
		"garbage event": upstream.Garbage, "bad utf-8": upstream.Garbage, "deep": upstream.Garbage, "gzip": upstream.Garbage,
		"redirect": upstream.Unreachable, "html 500": upstream.Unreachable, "405": upstream.Unreachable, "401": upstream.Unreachable,
		"100 MB body": upstream.TooLarge, "100 MB event": upstream.TooLarge, "endless stream": upstream.TooLarge,
		"endless questions": upstream.Garbage,
	}
	hostile := mcptest.Hostile()
	script := mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		if h := hostile[q.Name]; h != nil {
			h(q)
			return
		}
		q.Result(`{"ok":true}`)
	}}}
	both(t, script, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		for name := range hostile {
			t.Run(name, func(t *testing.T) {
				f.WantFault(t, upstreamtest.Tool(name, "{}"), kinds[name])
				if a := f.Answer(t, upstreamtest.Tool("fine", "{}")); string(a.Result) != `{"ok":true}` {
					t.Errorf("the next call: %+v", a)
				}
			})
		}
	})
}

func TestFaultsSayHowToMend(t *testing.T) {
	answers := map[string]func(*mcptest.Request){
		"credentials": func(q *mcptest.Request) { q.ErrorStatus(http.StatusUnauthorized, -32001, "canary", "") },
		"redirect":    mcptest.Hostile()["redirect"],
	}
	s := mcptest.Raw(t, mcptest.Script{On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) { answers[q.Name](q) }}})
	f, _ := httpFixture(t, s.Server)
	for name, want := range map[string]string{"credentials": "check its auth in the config", "redirect": "in the config"} {
		if fault := f.WantFault(t, upstreamtest.Tool(name, "{}"), upstream.Unreachable); !strings.Contains(fault.Text, want) || fault.HTTP == 0 {
			t.Errorf("%s: %+v", name, fault)
		}
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	nowhere, _ := url.Parse("http://127.0.0.1:1/mcp")
	f := newFixture(t, upstream.Config{URL: nowhere})
	_, err := f.Discover(t.Context())
	upstreamtest.WantFault(t, err, upstream.Unreachable)
	f.WantFault(t, upstreamtest.Tool("echo", "{}"), upstream.Unreachable)
	if err := f.Ping(t.Context()); err == nil {
		t.Error("it answers ping")
	}
}

func TestEachPrincipalHasItsSession(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{"session":"` + q.HTTP.Header.Get("Mcp-Session-Id") + `"}`) }}}))
	f, _ := httpFixture(t, s.Server)
	bob := &policy.Principal{Key: "bob", KeyID: "k2"}
	bobsUser := &policy.Principal{Key: "bob", KeyID: "k2", User: "u"}
	seen := map[string]bool{}
	for _, p := range []*policy.Principal{upstreamtest.Alice, bob, bobsUser, upstreamtest.Alice, bob} {
		a, err := f.As(t.Context(), p, upstreamtest.Tool("echo", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		seen[string(a.Result)] = true
	}
	if len(seen) != 3 || seen[`{"session":"session-1"}`] {
		t.Errorf("sessions %v", seen)
	}
	if n := s.Sessions(); n != 4 {
		t.Errorf("%d sessions are open, want 4: three principals' and the gateway's", n)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions are left open", n)
	}
	f.WantFault(t, upstreamtest.Tool("echo", "{}"), upstream.Unreachable)
}

func TestServerWithoutSessionsIsInitializedOnce(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Result(`{}`) }}}))
	f, _ := httpFixture(t, s.Server)
	f.Answer(t, upstreamtest.Tool("echo", "{}"))
	f.Answer(t, upstreamtest.Tool("echo", "{}"))
	want := []string{"server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call", "tools/call"}
	if got := s.Methods(); !slices.Equal(got, want) {
		t.Errorf("requests %v", got)
	}
}

func TestLostSessionIsOpenedAnewOnce(t *testing.T) {
	calls := 0
	refuse := ""
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			calls++
			switch id := q.HTTP.Header.Get("Mcp-Session-Id"); {
			case refuse == "all":
				q.Status(http.StatusNotFound)
			case id == refuse && calls%2 == 0: // as servers made from the reference SDK's example say it
				q.ErrorText(http.StatusBadRequest, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)
			case id == refuse:
				http.Error(q.W, "session not found", http.StatusNotFound)
			default:
				q.Result(`{"session":"` + id + `"}`)
			}
		}}}))
	f, _ := httpFixture(t, s.Server)
	for i := range 4 {
		a := f.Answer(t, upstreamtest.Tool("echo", "{}"))
		if want := fmt.Sprintf(`{"session":"session-%d"}`, i+2); string(a.Result) != want {
			t.Fatalf("round %d: %s", i, a.Result)
		}
		refuse = fmt.Sprintf("session-%d", i+2)
	}
	if calls != 1+3*2 {
		t.Errorf("%d requests", calls)
	}
	refuse, calls = "all", 0
	f.WantFault(t, upstreamtest.Tool("echo", "{}"), upstream.Gone)
	if calls != 2 {
		t.Errorf("the call was sent %d times", calls)
	}
	refuse = ""
	f.Answer(t, upstreamtest.Tool("echo", "{}"))

	s.Forget("") // the gateway's own session too
	if _, err := f.Discover(t.Context()); err != nil {
		t.Error(err)
	}
	if err := f.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHeadersAreMendedAfterSchemaChanged(t *testing.T) {
	schema := `{"name":"put","inputSchema":{"type":"object","properties":{"r":{"type":"string"}}}}`
	s := mcptest.Raw(t, mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){
		"tools/list": func(q *mcptest.Request) { q.Result(`{"tools":[` + schema + `]}`) },
		"tools/call": func(q *mcptest.Request) {
			if q.HTTP.Header.Get("Mcp-Param-R") != "x" {
				q.ErrorStatus(http.StatusBadRequest, -32020, "Mcp-Param-R is missing", "")
				return
			}
			q.Result(`{"ok":true}`)
		}}})
	f, _ := httpFixture(t, s.Server)
	schema = `{"name":"put","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"R"}}}}`
	if a := f.Answer(t, upstreamtest.Tool("put", `{"r":"x"}`)); string(a.Result) != `{"ok":true}` {
		t.Errorf("%+v", a.Error)
	}
	if a := f.Answer(t, upstreamtest.Tool("put", `{"r":"y"}`)); a.Error == nil || a.Error.Code != -32020 {
		t.Errorf("%+v", a)
	}
	if n := len(slices.DeleteFunc(s.Methods(), func(m string) bool { return m != "tools/call" })); n != 4 {
		t.Errorf("%d calls, want 4: two, each sent once more", n)
	}
}

func TestBrokenStreamIsResumed(t *testing.T) {
	var resumed []string
	script := legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			q.Stream("id: e-" + q.ID + "\nretry: 0\ndata:\n\n")
		},
		"GET": func(q *mcptest.Request) {
			last := q.HTTP.Header.Get("Last-Event-ID")
			if last == "" {
				q.Status(http.StatusMethodNotAllowed)
				return
			}
			resumed = append(resumed, last)
			if len(resumed) == 1 {
				q.Stream("id: second\ndata:\n\n")
				return
			}
			q.ID = strings.TrimPrefix(resumed[0], "e-")
			q.Event("")
			q.Result(`{"ok":true}`)
		}}})
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	if a := f.Answer(t, upstreamtest.Tool("echo", "{}")); string(a.Result) != `{"ok":true}` {
		t.Errorf("%+v", a)
	}
	if len(resumed) != 2 || resumed[1] != "second" {
		t.Errorf("resumed behind %q", resumed)
	}
}

func TestConnectionIsUsedAgainBehindAStream(t *testing.T) {
	var mu sync.Mutex
	conns := map[string]bool{}
	s := mcptest.Raw(t, mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		mu.Lock()
		conns[q.HTTP.RemoteAddr] = true
		mu.Unlock()
		q.Event("")
		q.Result(`{}`)
		if q.Name == "lingers" {
			q.Wait()
		}
	}}})
	f, _ := httpFixture(t, s.Server)
	count := func(name string) int {
		clear(conns)
		for range 10 {
			f.Answer(t, upstreamtest.Tool(name, "{}"))
		}
		mu.Lock()
		defer mu.Unlock()
		return len(conns)
	}
	if n := count("ends"); n > 3 { // an end may be late, once or twice
		t.Errorf("10 calls took %d connections", n)
	}
	if n := count("lingers"); n < 9 {
		t.Errorf("10 streams that stay open took %d connections", n)
	}
}

func TestStreamThatBreaksForEverIsGivenUp(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) { q.Stream("id: e\nretry: 0\ndata:\n\n") },
		"GET":        func(q *mcptest.Request) { q.Event("") }}}))
	f, _ := httpFixture(t, s.Server)
	f.WantFault(t, upstreamtest.Tool("echo", "{}"), upstream.Gone)
}

func TestCallerWhoLeavesIsToldToTheServer(t *testing.T) {
	started := make(chan string, 1)
	left := make(chan struct{}, 1)
	script := mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		q.Event("")
		started <- q.ID
		q.Wait()
		left <- struct{}{}
	}}}
	both(t, script, func(t *testing.T, s *mcptest.RawServer) {
		f, o := httpFixture(t, s.Server)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := f.As(ctx, upstreamtest.Alice, upstreamtest.Tool("slow", "{}"))
			ended <- err
		}()
		id := <-started
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the call ended with %v", err)
		}
		<-left
		told := slices.Contains(s.Methods(), "notifications/cancelled")
		if told != (o.Era == upstream.Legacy) {
			t.Errorf("told: %v", told)
		}
		if told && !strings.Contains(string(s.Last(t, "notifications/cancelled").Body), `"requestId":`+id+`,`) {
			t.Errorf("told of another request: %s", s.Last(t, "notifications/cancelled").Body)
		}
	})
}

func TestChangesAreHeardOnTheStream(t *testing.T) {
	both(t, mcptest.Script{Tools: []string{}, Changes: true}, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		for s.Change("tools") == 0 { // until the stream is open; the test's deadline bounds it
		}
		if c := <-f.Changed; c != upstream.ToolsChanged {
			t.Errorf("heard %q", c)
		}
		s.Change("prompts")
		for c := range f.Changed {
			if c == upstream.PromptsChanged {
				break
			}
		}
	})
}

func TestRestartedServerIsNoticedOnTheStream(t *testing.T) {
	s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Changes: true, Sessions: true}))
	f, _ := httpFixture(t, s.Server)
	for s.Change("tools") == 0 {
	}
	s.Forget("")
	s.CloseConnections()
	for c := range f.Changed {
		if c == upstream.Lost {
			break
		}
	}
	if _, err := f.Discover(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServerThatHangs(t *testing.T) {
	started := make(chan struct{}, 1)
	hang := func(q *mcptest.Request) {
		started <- struct{}{}
		q.Wait()
	}
	for _, method := range []string{"server/discover", "initialize", "tools/list"} {
		t.Run(method, func(t *testing.T) {
			s := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){method: hang}}))
			f := newFixture(t, upstream.Config{URL: s.URL})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-started
				cancel()
			}()
			_, err := f.Discover(ctx)
			upstreamtest.WantFault(t, err, upstream.Gone)
		})
	}
}

func TestSDKServersWork(t *testing.T) {
	for _, version := range []string{mcptest.Modern, mcptest.Legacy} {
		t.Run(version, func(t *testing.T) {
			upstreamtest.NoLeaks(t)
			s := mcptest.SDK(t, version)
			f, o := httpFixture(t, s)
			if o.Version != version || len(o.Tools) != 3 || len(o.Resources) != 1 || len(o.Prompts) != 1 || len(o.Faults) != 0 || o.Instructions != "be kind" {
				t.Errorf("offer %+v", o)
			}
			if a := f.Answer(t, upstreamtest.Tool("echo", `{"text":"hi"}`)); !strings.Contains(string(a.Result), `"text":"hi"`) {
				t.Errorf("echo: %s %v", a.Result, a.Error)
			}
			if a := f.Answer(t, upstreamtest.Tool("region", `{"region":"eu"}`)); !strings.Contains(string(a.Result), `"text":"eu"`) {
				t.Errorf("region: %s %v", a.Result, a.Error)
			}
			if a := f.Answer(t, upstreamtest.Tool("nothing", `{}`)); a.Error == nil || a.Error.Code != -32602 {
				t.Errorf("an unknown tool: %s %v", a.Result, a.Error)
			}
			read := &upstream.Exchange{Method: "resources/read", Name: "test://note", Params: []byte(`{"uri":"test://note"}`)}
			if a := f.Answer(t, read); !strings.Contains(string(a.Result), "a note") {
				t.Errorf("read: %s %v", a.Result, a.Error)
			}
			prompt := &upstream.Exchange{Method: "prompts/get", Name: "greet", Params: []byte(`{"name":"greet","arguments":{"who":"you"}}`)}
			if a := f.Answer(t, prompt); !strings.Contains(string(a.Result), "hello you") {
				t.Errorf("prompt: %s %v", a.Result, a.Error)
			}
			if err := f.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
