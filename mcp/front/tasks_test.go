package front

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

const declaresTasks = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`

// ask asks for a task by its id.
func ask(t testing.TB, url, id string) string {
	t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":%s,"_meta":%s}}`, rpc.String(id), declaresTasks)
	_, got, _ := post(t, url, body, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tasks/get", "Mcp-Name: "+id)
	return got
}

func taskFront(t testing.TB, who policy.Principal, key byte) (*Front, string) {
	t.Helper()
	h := newHall()
	h.call = func(_ context.Context, c *Call) (*era.Result, error) {
		return era.ReadResult([]byte(`{"resultType":"complete","status":"working","taskId":` + string(rpc.String(c.Task)) + `}`))
	}
	f := New(Config{Auth: &everybody{who}, Backend: h, Version: "1", Sealer: sealer(key)})
	srv := httptest.NewServer(f)
	t.Cleanup(func() { srv.Close(); f.Close() })
	return f, srv.URL
}

func TestTaskIDsAreTheirCallersAlone(t *testing.T) {
	alice := policy.Principal{Key: "k", KeyID: "1", User: "alice"}
	f, url := taskFront(t, alice, 1)
	good := task{ownerOf(&alice), "srv", "t", `7/"ü`, ""}
	other := func(change func(*task)) string { c := good; change(&c); return f.seal(c) }
	const unknown = `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"task not found"}}`
	_, restarted := taskFront(t, alice, 1)
	_, installation := taskFront(t, alice, 2)
	_, bobs := taskFront(t, policy.Principal{Key: "k", KeyID: "1", User: "bob"}, 1)
	id := f.seal(good)
	want := `"taskId":"` + id + `"`
	for name, c := range map[string]struct{ url, id, want string }{
		"its own":               {url, id, want},
		"after a restart":       {restarted, id, want},
		"another installation":  {installation, id, unknown},
		"another user":          {bobs, id, unknown},
		"another key":           {url, other(func(t *task) { t.owner.key = "l" }), unknown},
		"a re-created key":      {url, other(func(t *task) { t.owner.keyID = "2" }), unknown},
		"a tool that is gone":   {url, other(func(t *task) { t.tool = "gone" }), unknown},
		"a server that is gone": {url, other(func(t *task) { t.server = "gone" }), unknown},
		"the server's own id":   {url, "7", unknown},
		"nothing":               {url, "", unknown},
		"tampered":              {url, id[:20] + "AAAA" + id[24:], unknown},
		"cut":                   {url, id[:len(id)-4], unknown},
		"of another purpose":    {url, f.cfg.Sealer.Seal("other", []byte("x")), unknown},
		"not fields":            {url, f.cfg.Sealer.Seal(sealOfTask, []byte{9}), unknown},
		"more than fields":      {url, f.cfg.Sealer.Seal(sealOfTask, make([]byte, 7)), unknown},
	} {
		if got := ask(t, c.url, c.id); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestManyTasksOfManyCallersStayApart(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		who := policy.Principal{Key: "k", KeyID: "1", User: fmt.Sprint(i)}
		f, url := taskFront(t, who, 1)
		for j := range 10 {
			wg.Go(func() {
				id := f.seal(task{ownerOf(&who), "srv", "t", fmt.Sprint(i, j), ""})
				if got := ask(t, url, id); !strings.Contains(got, id) || strings.Contains(got, fmt.Sprintf("%q", fmt.Sprint(i, j))) {
					t.Errorf("%d, %d: %s", i, j, got)
				}
			})
		}
	}
	wg.Wait()
}

// TestTasksNeedAServerThatHasThem: one that was replaced by another without tasks is not asked for any.
func TestTasksNeedAServerThatHasThem(t *testing.T) {
	h := newHall()
	h.call = func(context.Context, *Call) (*era.Result, error) {
		t.Error("the server was asked")
		return era.ReadResult([]byte(`{}`))
	}
	shelf := catalog.Digest(catalog.Source{Server: "srv"}, &upstream.Offer{
		Era: upstream.Legacy, Capabilities: []byte(`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`),
		Tools: [][]byte{[]byte(`{"name":"t","inputSchema":{"type":"object"}}`)},
	})
	h.catalog = catalog.New([]string{"srv"}, map[string]*catalog.Shelf{"srv": shelf}, nil)
	who := anybody()
	f, url := serve(t, h, who)
	id := f.seal(task{ownerOf(&who.Principal), "srv", "t", "7", ""})
	if got := ask(t, url, id); !strings.Contains(got, "task not found") {
		t.Error(got)
	}
}

func TestTasksNeedTheExtension(t *testing.T) {
	f, url := taskFront(t, policy.Principal{Key: "k", KeyID: "1"}, 1)
	id := f.seal(task{owner{keyID: "1", key: "k"}, "srv", "t", "7", ""})
	meta := strings.Replace(declaresTasks, `"extensions":{"io.modelcontextprotocol/tasks":{}}`, `"extensions":{}`, 1)
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{"taskId":%q,"inputResponses":{},"_meta":%s}}`, method, id, meta)
		status, got, _ := post(t, url, body, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: "+method, "Mcp-Name: "+id)
		if status != http.StatusBadRequest || !strings.Contains(got, `"code":-32021`) || !strings.Contains(got, `"data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`) {
			t.Errorf("%s: %d %s", method, status, got)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	front, _ := newFront()
	front.cfg.Sealer = sealer(3)
	f.Add([]byte("\x01a\x00\x00\x01s\x01t\x011"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		got, ok := front.unseal(front.cfg.Sealer.Seal(sealOfTask, plain))
		if !ok {
			return
		}
		again, ok := front.unseal(front.seal(got))
		if !ok || again != got {
			t.Errorf("%+v came back as %+v", got, again)
		}
	})
}

// TestListenToTasks follows tasks on a stream: only those that are the caller's and that their servers tell of.
func TestListenToTasks(t *testing.T) {
	h := newHall()
	emit := make(chan func([]byte), 1)
	stopped := make(chan string, 4)
	h.subscribe = func(_ context.Context, c *Call, updated func([]byte)) (func(), error) {
		if c.Action != policy.TaskGet || c.Method != "tasks/get" || c.Entry.Name != "t" {
			t.Errorf("subscribed as %+v", c)
		}
		if c.Task != "7" {
			return nil, rpc.BadParams("no such task")
		}
		emit <- updated
		return func() { stopped <- c.Task }, nil
	}
	who := anybody()
	f, url := serve(t, h, who)
	alice := ownerOf(&who.Principal)
	id := f.seal(task{alice, "srv", "t", "7", ""})
	list := []string{id, f.seal(task{alice, "srv", "t", "8", ""}), f.seal(task{alice, "srv", "gone", "7", ""}), f.seal(task{owner{key: "bob"}, "srv", "t", "7", ""}), "7", id}
	quoted := appendStrings(nil, list)
	c := &client{t: t, url: url, accept: "text/event-stream"}
	ctx, cancel := context.WithCancel(t.Context())
	ask := func(meta string) *http.Response {
		return c.send(ctx, "POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":"L","method":"subscriptions/listen","params":{"notifications":{"taskIds":%s},"_meta":%s}}`, quoted, meta),
			"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen")
	}
	refused := ask(strings.Replace(declaresTasks, `"extensions":`, `"else":`, 1))
	if got := body(t, refused); refused.StatusCode != http.StatusBadRequest || !strings.Contains(got, `"code":-32021`) {
		t.Errorf("%d %s", refused.StatusCode, got)
	}
	stream := c.events(ask(declaresTasks))
	const tag = `"io.modelcontextprotocol/subscriptionId":"L"`
	want := func(w string) {
		t.Helper()
		if got := stream.next(); got != w {
			t.Errorf("got  %s\nwant %s", got, w)
		}
	}
	want(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"taskIds":["` + id + `"]},"_meta":{` + tag + `}}}`)
	tell := <-emit
	tell([]byte(`{"taskId":"7","status":"working","n":1e2,"_meta":{"theirs":1}}`))
	want(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"` + id + `","status":"working","n":1e2,"_meta":{"theirs":1,` + tag + `}}}`)
	tell([]byte(`{"taskId":"7","status":"completed","result":{"content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{}}}}`))
	want(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"` + id + `","status":"completed","result":{"content":[],"_meta":{}},"_meta":{` + tag + `}}}`)
	cancel()
	if got := <-stopped; got != "7" {
		t.Error("stopped", got)
	}
}
