package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

const withTasks = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`

// taskOf is a task in one of its states; more are further members.
func taskOf(kind, status, more string) json.RawMessage {
	return json.RawMessage(`{"resultType":"` + kind + `","taskId":"7","status":"` + status + `"` + more + `}`)
}

// heard is what a legacy caller's client gets to see and do.
type heard struct {
	sync.Mutex
	progress []string
	asked    []string
}

// callLegacy makes a tools/call for a client of 2025-11-25 that answers every question, or with answer if that is not nil.
func callLegacy(ctx context.Context, w *world, answer upstream.Ask) (string, *heard) {
	h := &heard{}
	c := &front.Call{
		Principal: &policy.Principal{Key: "alice", KeyID: "id-alice"}, Action: policy.ToolCall, Entry: w.catalog.Load().Space("").Tool("a__t"),
		Method: "tools/call", Params: []byte(`{"name":"t"}`), Args: []byte(`{}`),
		Context: &era.Context{Era: upstream.Legacy, Version: era.V2025Nov, ProgressToken: []byte(`"p"`)},
		Notify: func(method string, params []byte) {
			h.Lock()
			defer h.Unlock()
			h.progress = append(h.progress, string(params))
		},
		Ask: func(ctx context.Context, method string, params []byte) *upstream.Answer {
			h.Lock()
			h.asked = append(h.asked, method+" "+string(params))
			h.Unlock()
			if answer != nil {
				return answer(ctx, method, params)
			}
			return &upstream.Answer{Result: []byte(`{"action":"accept","content":` + string(params) + `}`)}
		},
	}
	r, err := (*backend)(w.Gateway).Call(ctx, c)
	var e *rpc.Error
	switch {
	case errors.As(err, &e) && e.Raw != nil:
		return string(e.Raw), h
	case errors.As(err, &e):
		return fmt.Sprintf("%d %s %s", e.Code, e.Message, e.Data), h
	case err != nil:
		return err.Error(), h
	}
	return string(r.Raw), h
}

// TestLegacyCallersGetTheResultOfATask goes through what can become of a task that the gateway follows.
func TestLegacyCallersGetTheResultOfATask(t *testing.T) {
	made := func(more string) answer { return answer{Result: taskOf("task", "working", more)} }
	is := func(status, more string) answer { return answer{Result: taskOf("complete", status, more)} }
	asks := `,"inputRequests":{"k":{"method":"elicitation/create","params":{"message":"sure?"}},"l\"":{"method":"roots/list"}}`
	for _, c := range []struct {
		name     string
		call     answer
		get      []answer
		update   answer
		ask      upstream.Ask
		want     string
		progress []string // what was said, without the token
		asked    []string
		reached  []string // what the server got after the call, besides polls
		polls    int
		takes    time.Duration
		ledger   string
	}{
		{
			name: "completed", call: made(`,"pollIntervalMs":2000`),
			get:      []answer{is("working", `,"statusMessage":"half","pollIntervalMs":1000`), is("working", `,"statusMessage":"half","pollIntervalMs":1000`), is("completed", `,"result":{"content":[],"n":1e2}`)},
			want:     `{"content":[],"n":1e2}`,
			progress: []string{`"progress":1,"message":"working"`, `"progress":2,"message":"half"`},
			polls:    3, takes: 4 * time.Second, ledger: "posted ok cost 5",
		}, {
			name: "completed with a tool error", call: made(``), get: []answer{is("completed", `,"result":{"content":[],"isError":true}`)},
			want: `{"content":[],"isError":true}`, progress: []string{`"progress":1,"message":"working"`},
			polls: 1, takes: pollFirst, ledger: "posted tool_error cost 5",
		}, {
			name: "no task at all", call: answer{Result: json.RawMessage(`{"content":[]}`)}, want: `{"content":[]}`, ledger: "posted ok cost 5",
		}, {
			name: "failed", call: made(``), get: []answer{is("failed", `,"error":{"code":-32603,"message":"boom","data":{"n":12345678901234567890}}`)},
			want:     `{"code":-32603,"message":"boom","data":{"n":12345678901234567890}}`,
			progress: []string{`"progress":1,"message":"working"`}, polls: 1, takes: pollFirst, ledger: "posted upstream_error cost 0",
		}, {
			name: "cancelled by the server", call: made(``), get: []answer{is("cancelled", ``)},
			want:     `{"code":-32603,"message":"the server cancelled the task that the call had become"}`,
			progress: []string{`"progress":1,"message":"working"`}, polls: 1, takes: pollFirst, ledger: "posted upstream_error cost 0",
		}, {
			name: "progress goes on from the server's own", call: answer{Notify: [][2]json.RawMessage{{json.RawMessage(`"notifications/progress"`), json.RawMessage(`{"progressToken":"p","progress":7.5}`)}}, Result: taskOf("task", "working", "")},
			get:  []answer{is("completed", `,"result":{}`)},
			want: `{}`, progress: []string{`"progress":7.5`, `"progress":8.5,"message":"working"`}, polls: 1, takes: pollFirst, ledger: "posted ok cost 5",
		}, {
			name: "asks", call: made(``), get: []answer{is("input_required", asks), is("input_required", asks), is("completed", `,"result":{}`)},
			update: answer{Result: json.RawMessage(`{"resultType":"complete"}`)}, want: `{}`,
			progress: []string{`"progress":1,"message":"working"`, `"progress":2,"message":"input_required"`},
			asked:    []string{`elicitation/create {"message":"sure?"}`, `roots/list `},
			reached:  []string{`tasks/update {"taskId":"7","inputResponses":{"k":{"action":"accept","content":{"message":"sure?"}},"l\"":{"action":"accept","content":}}}`},
			polls:    3, takes: 2 * time.Second, ledger: "posted ok cost 5",
		}, {
			name: "asks and is not answered", call: made(``), get: []answer{is("input_required", `,"inputRequests":{"k":{"method":"elicitation/create","params":{"message":"sure?"}}}`)},
			ask: func(context.Context, string, []byte) *upstream.Answer {
				return &upstream.Answer{Error: &upstream.RPCError{Code: -1, Raw: []byte(`{"code":-1,"message":"no"}`)}}
			},
			want:     `-32603 the server asked for elicitation/create, which the client did not answer: no {"tollgate":{"kind":"input"}}`,
			progress: []string{`"progress":1,"message":"working"`, `"progress":2,"message":"input_required"`},
			asked:    []string{`elicitation/create {"message":"sure?"}`},
			reached:  []string{`tasks/cancel {"taskId":"7"}`}, polls: 1, takes: pollFirst, ledger: "posted cut cost 5 estimated",
		}, {
			name: "forgotten", call: made(``), get: []answer{{Error: json.RawMessage(`{"code":-32602,"message":"Task not found"}`)}},
			want:     `-32603 the server does not know the task any more that the call had become: it may have been done or not {"tollgate":{"kind":"task_lost"}}`,
			progress: []string{`"progress":1,"message":"working"`},
			reached:  []string{`tasks/cancel {"taskId":"7"}`}, polls: 1, takes: pollFirst, ledger: "posted cut cost 5 estimated",
		}, {
			name: "outlived", call: made(`,"ttlMs":1700`), get: []answer{is("working", `,"ttlMs":1700`)},
			want:     `-32603 the server does not know the task any more that the call had become: it may have been done or not {"tollgate":{"kind":"task_lost"}}`,
			progress: []string{`"progress":1,"message":"working"`},
			reached:  []string{`tasks/cancel {"taskId":"7"}`}, polls: 3, takes: 1700 * time.Millisecond, ledger: "posted cut cost 5 estimated",
		}, {
			name: "a server that is away for a while", call: made(`,"pollIntervalMs":1`), get: []answer{
				{Fault: &upstream.Fault{Kind: upstream.Unreachable}}, {Result: json.RawMessage(`{"taskId":1}`)}, {Error: json.RawMessage(`{"code":-32603,"message":"x"}`)},
				{Fault: &upstream.Fault{Kind: upstream.Unreachable}}, is("completed", `,"result":{}`)},
			want: `{}`, progress: []string{`"progress":1,"message":"working"`}, polls: 5, takes: 5 * pollOften, ledger: "posted ok cost 5",
		}, {
			name: "a server that is away for good", call: made(`,"pollIntervalMs":1`), get: []answer{{Fault: &upstream.Fault{Kind: upstream.Unreachable}}},
			want:     `-32603 the server does not know the task any more that the call had become: it may have been done or not {"tollgate":{"kind":"task_lost"}}`,
			progress: []string{`"progress":1,"message":"working"`},
			reached:  []string{`tasks/cancel {"taskId":"7"}`}, polls: 5, takes: 5 * pollOften, ledger: "posted cut cost 5 estimated",
		}, {
			name: "not readable", call: answer{Result: json.RawMessage(`{"resultType":"task","taskId":7}`)},
			want: `-32603 the server's task cannot be read {"tollgate":{"kind":"garbage"}}`, ledger: "posted cut cost 5 estimated",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := oneTool("t")
				s.Capabilities = json.RawMessage(withTasks)
				s.Answers = map[string]answer{"tools/call t": c.call, "tasks/update 7": c.update, "tasks/cancel 7": {Result: json.RawMessage(`{}`)}}
				if c.get != nil {
					c.get[0].Then = append([]answer{}, c.get[1:]...)
					if len(c.get) == 1 {
						c.get[0].Then = nil
					}
					s.Answers["tasks/get 7"] = c.get[0]
				}
				w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"a": s}, func(cfg *Config) { cfg.Servers[0].PricePerCall = 5 })
				synctest.Wait()
				began := time.Now()
				got, h := callLegacy(t.Context(), w, c.ask)
				if got != c.want {
					t.Errorf("got %s\nwant %s", got, c.want)
				}
				if took := time.Since(began); took != c.takes {
					t.Errorf("it took %v and not %v", took, c.takes)
				}
				var said, reached []string
				for _, p := range h.progress {
					said = append(said, strings.TrimSuffix(strings.TrimPrefix(p, `{"progressToken":"p",`), "}"))
				}
				if !slices.Equal(said, c.progress) {
					t.Errorf("progress %q, want %q", said, c.progress)
				}
				slices.Sort(h.asked)
				if !slices.Equal(h.asked, c.asked) {
					t.Errorf("asked %q, want %q", h.asked, c.asked)
				}
				polls := 0
				for i, line := range w.fakes["a"].took() {
					line, _, _ = strings.Cut(strings.TrimPrefix(line, "a "), " meta=")
					switch {
					case i == 0:
					case strings.HasPrefix(line, `tasks/get {"taskId":"7"}`):
						polls++
					default:
						reached = append(reached, line)
					}
				}
				if !slices.Equal(reached, c.reached) || polls != c.polls {
					t.Errorf("after the call the server got %q and %d polls, want %q and %d", reached, polls, c.reached, c.polls)
				}
				if lines := w.gate.Lines(t); !slices.Equal(lines, []string{"reserved tool.call a t all", c.ledger}) {
					t.Errorf("ledger %q, want %s", lines, c.ledger)
				}
			})
		})
	}
}

// TestATaskEndsWithItsCall: who does not wait any more, or may not, has the task cancelled.
func TestATaskEndsWithItsCall(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*Config)
		cancel  time.Duration
		takes   time.Duration
		want    string
	}{
		"the client cancels":   {nil, 3 * time.Second, 3 * time.Second, "499 the call was cancelled "},
		"the call's time ends": {func(c *Config) { c.CallTimeout = 2 * time.Second }, time.Hour, 2 * time.Second, `-32603 the server did not answer within 2s {"tollgate":{"kind":"late"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := oneTool("t")
				s.Capabilities = json.RawMessage(withTasks)
				s.Answers = map[string]answer{
					"tools/call t": {Result: taskOf("task", "working", "")}, "tasks/get 7": {Result: taskOf("complete", "working", "")},
					"tasks/cancel 7": {Result: json.RawMessage(`{}`)},
				}
				w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"a": s}, c.prepare)
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(c.cancel, cancel)
				began := time.Now()
				got, _ := callLegacy(ctx, w, nil)
				if got != c.want || time.Since(began) != c.takes {
					t.Errorf("after %v: %s, want %s", time.Since(began), got, c.want)
				}
				reached := w.fakes["a"].took()
				if last := reached[len(reached)-1]; !strings.HasPrefix(last, `a tasks/cancel {"taskId":"7"}`) {
					t.Errorf("the last that the server got is %s", last)
				}
			})
		})
	}
}

// TestATaskGoesWithTheRightToItsTool: an id is of no use once its tool may not be called any more.
func TestATaskGoesWithTheRightToItsTool(t *testing.T) {
	s := oneTool("t")
	s.Capabilities = json.RawMessage(withTasks)
	s.Answers = map[string]answer{"tools/call t": {Result: taskOf("task", "working", "")}, "tasks/get 7": {Result: taskOf("complete", "working", "")}}
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"a": s}, nil)
		ask := func(method, name, params string) string {
			body, headers := modernBody("1", method, params)
			body = strings.Replace(body, `clientCapabilities":{}`, `clientCapabilities":`+withTasks, 1)
			_, got := w.ask(t, "POST", "/mcp", body, append(headers, "Mcp-Name: "+name)...)
			return got
		}
		made := ask("tools/call", "a__t", `"name":"a__t"`)
		found := taskIDs.FindStringSubmatch(made)
		if found == nil {
			t.Fatal(made)
		}
		id := found[1]
		if got := ask("tasks/get", id, `"taskId":"`+id+`"`); !strings.Contains(got, `"status":"working"`) {
			t.Error(got)
		}
		for _, rules := range []string{
			`{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}, {id: no, effect: deny, tools: ["a/t"]}]}`,
			`{version: 1, rules: [{id: other, effect: allow, tools: ["a/u"]}]}`,
		} {
			if err := w.gate.Gate.Reload(gatetest.Rules(t, rules), w.upstreams); err != nil {
				t.Fatal(err)
			}
			if got := ask("tasks/get", id, `"taskId":"`+id+`"`); got != `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"task not found"}}` {
				t.Error(got)
			}
		}
		w.people.revoke("alice")
		if got := ask("tasks/get", id, `"taskId":"`+id+`"`); !strings.Contains(got, "no such key") {
			t.Error(got)
		}
	})
}

// TestScriptsGetTheResultOfATask: a call by its function is whole when it returns.
func TestScriptsGetTheResultOfATask(t *testing.T) {
	s := oneTool("t")
	s.Capabilities = json.RawMessage(withTasks)
	s.Answers = map[string]answer{"tools/call t": {Result: taskOf("task", "working", "")}, "tasks/get 7": {Result: taskOf("complete", "completed", `,"result":{"content":[]}`)}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"a": s}, nil)
		got, err := w.CallTool(t.Context(), &policy.Principal{Key: "alice", KeyID: "id-alice"}, "a__t", nil)
		if err != nil || string(got) != `{"content":[]}` {
			t.Errorf("%s, %v", got, err)
		}
	})
}
