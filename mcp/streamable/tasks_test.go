package streamable_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// taskServer is a modern server that tells of its tasks on listen streams: what a test sends into say, to the newest.
type taskServer struct {
	*mcptest.RawServer
	opened  chan string // the notifications asked for
	say     chan string
	refuses string // an error object instead of a stream
	agrees  string // taskIds acknowledged
}

func newTaskServer(t *testing.T, agrees, refuses string) *taskServer {
	s := &taskServer{opened: make(chan string, 10), say: make(chan string), agrees: agrees, refuses: refuses}
	s.RawServer = mcptest.Raw(t, mcptest.Script{Tools: []string{}, Extra: `"extensions":{"io.modelcontextprotocol/tasks":{}}`, On: map[string]func(*mcptest.Request){
		"tasks/get": func(q *mcptest.Request) {
			q.Result(`{"resultType":"complete","taskId":"task-1","status":"working","from":"get","name":"` + q.HTTP.Header.Get("Mcp-Name") + `","_meta":{}}`)
		},
		"subscriptions/listen": func(q *mcptest.Request) {
			s.opened <- string(q.Params)
			if s.refuses != "" {
				q.ErrorText(400, `{"jsonrpc":"2.0","id":`+q.ID+`,"error":`+s.refuses+`}`)
				return
			}
			tag := `"_meta":{"io.modelcontextprotocol/subscriptionId":` + q.ID + `}`
			q.Event(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"taskIds":[` + s.agrees + `]},` + tag + `}}`)
			for {
				select {
				case what := <-s.say:
					if what == "break" {
						return
					}
					q.Event(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{` + what + `,` + tag + `}}`)
				case <-q.HTTP.Context().Done():
					return
				}
			}
		},
	}})
	return s
}

// follow watches a task for p.
func follow(t *testing.T, f *upstreamtest.Fixture, p *policy.Principal, id string) (stop func(), a *upstream.Answer, told chan string) {
	t.Helper()
	told = make(chan string, 10)
	call := policy.Call{Principal: p, Action: policy.TaskGet, Upstream: "tracker", Target: "t", Tool: &policy.Tool{Server: "tracker", Name: "t", Kind: "tool"}}
	err := f.Gate.Do(context.Background(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) (err error) {
		x := &upstream.Exchange{Permit: permit, Method: upstream.TasksGet, Name: id, Era: upstream.Modern, Tasks: true}
		stop, a, err = f.Subscribe(ctx, x, func(params []byte) { told <- string(params) })
		permit.Done(ledger.OK, 0, "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stop, a, told
}

func TestTasksAreToldOnTheStreamOfTheirPrincipal(t *testing.T) {
	s := newTaskServer(t, `"task-1"`, "")
	f, _ := httpFixture(t, s.Server)
	stop, a, told := follow(t, f, upstreamtest.Alice, "task-1")
	if a != nil {
		t.Fatal(string(a.Error.Raw))
	}
	asked := <-s.opened
	for _, part := range []string{`"notifications":{"taskIds":["task-1"]}`, `"io.modelcontextprotocol/tasks":{}`} {
		if !strings.Contains(asked, part) {
			t.Errorf("%s is not in %s", part, asked)
		}
	}
	s.say <- `"taskId":"task-1","status":"working","n":1e2`
	if got := <-told; got != `{"taskId":"task-1","status":"working","n":1e2}` {
		t.Error(got)
	}
	s.say <- `"taskId":"task-2","status":"working"` // nobody asked for it
	s.say <- `"taskId":"task-1","status":"cancelled"`
	if got := <-told; got != `{"taskId":"task-1","status":"cancelled"}` {
		t.Error(got)
	}
	s.say <- "break"
	<-s.opened // again, after a pause
	if got := <-told; got != `{"taskId":"task-1","status":"working","from":"get","name":"task-1"}` {
		t.Errorf("what was missed came as %s", got)
	}
	stop()
	if n := len(told); n != 0 {
		t.Errorf("%d more", n)
	}
}

func TestTasksAreNotToldWhereTheServerDoesNotAgree(t *testing.T) {
	for name, c := range map[string]struct{ agrees, refuses, code string }{
		"another one":  {`"task-2"`, "", "-32601"},
		"none":         {"", "", "-32601"},
		"no such task": {"", `{"code":-32602,"message":"no such task"}`, "-32602"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTaskServer(t, c.agrees, c.refuses)
			f, _ := httpFixture(t, s.Server)
			_, a, _ := follow(t, f, upstreamtest.Alice, "task-1")
			if a == nil || fmt.Sprint(a.Error.Code) != c.code {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestATaskIsNoResource: what is watched under names of tasks cannot be asked for as a resource.
func TestATaskIsNoResource(t *testing.T) {
	s := newTaskServer(t, `"task-1"`, "")
	f, _ := httpFixture(t, s.Server)
	call := policy.Call{Principal: upstreamtest.Alice, Action: policy.ResourceSubscribe, Upstream: "tracker", Target: "x",
		Tool: &policy.Tool{Server: "tracker", Name: "x", Kind: "resource"}}
	err := f.Gate.Do(t.Context(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		x := &upstream.Exchange{Permit: permit, Method: "resources/subscribe", Name: "\x00task\x00task-1", Era: upstream.Modern}
		stop, a, err := f.Subscribe(ctx, x, func([]byte) {})
		if stop != nil || a == nil || a.Error.Code != -32601 {
			t.Errorf("%+v", a)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.opened); n != 0 {
		t.Errorf("%d streams were opened", n)
	}
}
