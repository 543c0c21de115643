package streamable_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// changing is a server that can become another one behind the same address.
type changing struct {
	*mcptest.Server
	modern atomic.Bool
	calls  atomic.Int64 // that were carried out
}

// newChanging is a server whose eras answer what they do not speak by refuse.
func newChanging(t *testing.T, refuse func(q *mcptest.Request, modern bool)) *changing {
	c := &changing{}
	run := func(q *mcptest.Request) {
		c.calls.Add(1)
		q.Result(fmt.Sprintf(`{"modern":%t}`, c.modern.Load()))
	}
	modern := mcptest.Raw(t, mcptest.Script{Tools: []string{echoTool}, On: map[string]func(*mcptest.Request){"tools/call": run}})
	old := mcptest.Raw(t, legacy(mcptest.Script{Tools: []string{}, Sessions: true, On: map[string]func(*mcptest.Request){"tools/call": run}}))
	c.Server = mcptest.Either(t, func(q *mcptest.Request) *mcptest.RawServer {
		speaks := q.HTTP.Header.Get("Mcp-Method") != ""
		switch now := c.modern.Load(); {
		case speaks != now:
			refuse(q, now)
			return nil
		case now:
			return modern
		}
		return old
	})
	return c
}

func TestServerThatChangesItsEraIsFoundOutByTheCall(t *testing.T) {
	const onlyModern = `{"supported":["2026-07-28"],"requested":"2025-11-25"}`
	for _, c := range []struct {
		name   string
		refuse func(q *mcptest.Request, modern bool)
	}{
		{"versions are named", func(q *mcptest.Request, modern bool) {
			if modern {
				q.ErrorStatus(http.StatusBadRequest, -32022, "Unsupported protocol version", onlyModern)
			} else {
				q.ErrorStatus(http.StatusBadRequest, -32022, "Unsupported protocol version", `{"supported":["2025-11-25"],"requested":"2026-07-28"}`)
			}
		}},
		{"as the reference SDKs refuse it", func(q *mcptest.Request, modern bool) {
			if modern {
				q.ErrorStatus(http.StatusBadRequest, -32020, "Mcp-Method is missing", "")
			} else {
				q.ErrorText(http.StatusBadRequest, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)
			}
		}},
		{"by status alone", func(q *mcptest.Request, _ bool) { http.Error(q.W, "what?", http.StatusBadRequest) }},
		{"by another status", func(q *mcptest.Request, _ bool) { http.Error(q.W, "what?", http.StatusMethodNotAllowed) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			upstreamtest.NoLeaks(t)
			s := newChanging(t, c.refuse)
			s.modern.Store(true)
			f, o := httpFixture(t, s.Server)
			if o.Era != upstream.Modern {
				t.Fatalf("era %s", o.Era)
			}
			for i, modern := range []bool{true, false, true} {
				s.modern.Store(modern)
				if a := f.Answer(t, upstreamtest.Tool("echo", "{}")); string(a.Result) != fmt.Sprintf(`{"modern":%t}`, modern) {
					t.Errorf("round %d: %s %v", i, a.Result, a.Error)
				}
				o, err := f.Discover(t.Context())
				if err != nil || (o.Era == upstream.Modern) != modern || len(o.Tools) == 0 == modern {
					t.Errorf("round %d: %+v, %v", i, o, err)
				}
			}
			if n := s.calls.Load(); n != 3 {
				t.Errorf("%d calls were carried out, want 3", n)
			}
		})
	}
}

func TestErrorsOfAToolSayNothingOfTheEra(t *testing.T) {
	probes := func(s *mcptest.RawServer) int {
		return strings.Count(strings.Join(s.Methods(), " "), "server/discover")
	}
	script := mcptest.Script{Tools: []string{}, On: map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		q.ErrorStatus(http.StatusBadRequest, -32602, "no such tool", "")
	}}}
	both(t, script, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		before := probes(s)
		if a := f.Answer(t, upstreamtest.Tool("t", "{}")); a.Error == nil || a.Error.Code != -32602 {
			t.Errorf("%+v", a)
		}
		if n := probes(s); n != before {
			t.Errorf("probed %d times more", n-before)
		}
	})
}
