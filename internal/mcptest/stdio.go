package mcptest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mark3labs/mcp-go/server"
)

// childArg is the first argument of a test binary that is to be a stdio server.
const childArg = "mcptest-stdio-server"

// Main runs the tests, or the stdio server that this process was started as. A package that uses Command calls it from
// TestMain:
//
//	func TestMain(m *testing.M) { mcptest.Main(m) }
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := stdio(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Command is the argv of a stdio server with these traits. It has the tools echo (its arguments come back), env, pid,
// slow (waits to be cancelled, which stderr tells), progress, step (one of it, and its argument n), log, exit, huge (a line of 100 MB), flood, ask (samples in
// mid-call), change, and an error for any other name. Traits: "modern"; "sdk" (the SDK's own server); "banner" (prints text first); "silent" (no
// answer to server/discover); "fragile" (exits when asked anything before initialize); "deaf" (reads nothing);
// "broken" (exits at once); "late" (answers discover only after initialize was tried); "prints" (never a message); "full"
// (legacy, with logging and resource subscriptions, and the tools question (asks what its arguments method and params say,
// and returns the answer), state (what it was told: capabilities, log level, subscriptions), touch (tells that the
// resource of its argument uri has changed) and die, which answers and then exits).
func Command(traits ...string) []string {
	return append([]string{os.Args[0], childArg}, traits...)
}

// child is a scripted stdio server.
type child struct {
	traits []string
	mu     sync.Mutex // one line at a time
	open   bool       // initialize came
	calls  map[string]chan struct{}

	listens map[string]json.RawMessage // what each subscription of a modern child asked for, by its request's id

	declared      json.RawMessage
	level         string
	subscriptions []string
	heard         []string // notifications that are no cancellations
	answers       map[string]chan []byte
}

func stdio(traits []string) error {
	c := &child{traits: traits, calls: map[string]chan struct{}{}, answers: map[string]chan []byte{}}
	switch {
	case c.is("sdk"):
		return server.NewStdioServer(tools()).Listen(context.Background(), os.Stdin, os.Stdout)
	case c.is("broken"):
		return fmt.Errorf("broken on purpose")
	case c.is("deaf"):
		select {}
	case c.is("prints"):
		for {
			if _, err := fmt.Println("this is no message"); err != nil {
				return err
			}
		}
	case c.is("banner"):
		fmt.Println("Welcome to the server!\n\n{not json}")
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			fmt.Fprintln(os.Stderr, "the input has ended")
			return nil
		}
		var m incoming
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("the gateway wrote %q: %w", line, err)
		}
		if m.Method == "" {
			c.answered(string(m.ID), line)
		} else if m.Method == "tools/call" {
			go c.serve(&m) // calls run side by side, as in any real server
		} else {
			c.serve(&m)
		}
	}
}

// incoming is one message of the gateway.
type incoming struct {
	ID     json.RawMessage
	Method string
	Params struct {
		Name      string
		Arguments json.RawMessage
		RequestID json.RawMessage

		Capabilities json.RawMessage
		Level, URI   string

		Notifications json.RawMessage
		Meta          json.RawMessage `json:"_meta"`
	}
}

func (c *child) is(trait string) bool { return slices.Contains(c.traits, trait) }

func (c *child) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
}

func (c *child) result(id json.RawMessage, result string) {
	c.say(`{"result":%s,"jsonrpc":"2.0","id":%s}`, result, id)
}

func (c *child) text(id json.RawMessage, text string) {
	b, _ := json.Marshal(text)
	c.result(id, `{"content":[{"type":"text","text":`+string(b)+`}]}`)
}

func (c *child) serve(m *incoming) {
	modern := c.is("modern")
	switch {
	case m.Method == "" || strings.HasPrefix(m.Method, "notifications/"):
		c.notified(m)
	case m.Method == "server/discover" && modern:
		if c.is("late") && !c.opened() {
			return
		}
		c.result(m.ID, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"ttlMs":0,"cacheScope":"private"}`)
	case m.Method == "subscriptions/listen" && modern:
		c.listen(m)
	case m.Method == "server/discover" && c.is("silent"):
	case m.Method == "initialize" && c.is("full"):
		c.setOpen()
		c.mu.Lock()
		c.declared = m.Params.Capabilities
		c.mu.Unlock()
		c.result(m.ID, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{},"resources":{"subscribe":true}},"serverInfo":{"name":"child","version":"1"}}`)
	case c.is("full") && (m.Method == "logging/setLevel" || m.Method == "resources/subscribe" || m.Method == "resources/unsubscribe"):
		c.told(m)
	case m.Method == "resources/list" || m.Method == "resources/templates/list":
		c.result(m.ID, `{"resources":[],"resourceTemplates":[]}`)
	case m.Method == "initialize" && !modern:
		c.setOpen()
		c.result(m.ID, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"child","version":"1"}}`)
	case m.Method == "initialize":
		c.setOpen()
		c.say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`, m.ID)
	case !modern && !c.opened() && c.is("fragile"):
		os.Exit(3)
	case m.Method == "ping" && !modern:
		c.result(m.ID, `{}`)
	case m.Method == "tools/list":
		c.result(m.ID, `{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}`)
	case m.Method == "tools/call":
		c.call(m)
	default:
		c.say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID)
	}
}

func (c *child) opened() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

func (c *child) setOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = true
}

func (c *child) notified(m *incoming) {
	if m.Method == "notifications/cancelled" {
		c.mu.Lock()
		ch := c.calls[string(m.Params.RequestID)]
		delete(c.calls, string(m.Params.RequestID))
		delete(c.listens, string(m.Params.RequestID))
		c.mu.Unlock()
		if ch != nil {
			close(ch)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, m.Method)
}

// listen begins a subscription. Of resources those of test:// are acknowledged, of tasks all.
func (c *child) listen(m *incoming) {
	var asked struct {
		Resources []string `json:"resourceSubscriptions"`
		Tasks     []string `json:"taskIds"`
	}
	_ = json.Unmarshal(m.Params.Notifications, &asked)
	asked.Resources = slices.DeleteFunc(asked.Resources, func(uri string) bool { return !strings.HasPrefix(uri, "test://") })
	b, _ := json.Marshal(asked)
	c.mu.Lock()
	if c.listens == nil {
		c.listens = map[string]json.RawMessage{}
	}
	c.listens[string(m.ID)] = m.Params.Notifications
	c.mu.Unlock()
	c.tell(string(m.ID), "subscriptions/acknowledged", `"notifications":`+string(b))
}

// tell notifies on a subscription.
func (c *child) tell(id, what, members string) {
	if members != "" {
		members += ","
	}
	c.say(`{"jsonrpc":"2.0","method":"notifications/%s","params":{%s"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, what, members, id)
}

// tellAll notifies on each subscription that asked for what holds word.
func (c *child) tellAll(word, what, members string) {
	c.mu.Lock()
	var ids []string
	for id, asked := range c.listens {
		if strings.Contains(string(asked), word) {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	for _, id := range ids {
		c.tell(id, what, members)
	}
}

// told takes what a full server is told of its session.
func (c *child) told(m *incoming) {
	c.mu.Lock()
	switch m.Method {
	case "logging/setLevel":
		c.level = m.Params.Level
	case "resources/subscribe":
		c.subscriptions = append(c.subscriptions, m.Params.URI)
	default:
		c.subscriptions = slices.DeleteFunc(c.subscriptions, func(uri string) bool { return uri == m.Params.URI })
	}
	c.mu.Unlock()
	c.result(m.ID, `{}`)
}

func (c *child) answered(id string, line []byte) {
	c.mu.Lock()
	ch := c.answers[id]
	delete(c.answers, id)
	c.mu.Unlock()
	if ch != nil {
		ch <- line
	}
}

// question asks what the arguments say and answers with the answer.
func (c *child) question(m *incoming) {
	var q struct {
		Method string
		Params json.RawMessage
	}
	_ = json.Unmarshal(m.Params.Arguments, &q)
	id := `"q` + strings.Trim(string(m.ID), `"`) + `"`
	ch := make(chan []byte, 1)
	c.mu.Lock()
	c.answers[id] = ch
	c.mu.Unlock()
	c.say(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, q.Method, q.Params)
	c.result(m.ID, `{"answer":`+strings.TrimSpace(string(<-ch))+`}`)
}

// state is what the child has been told.
func (c *child) state(m *incoming) {
	c.mu.Lock()
	b, _ := json.Marshal(map[string]any{"listens": len(c.listens), "declared": c.declared, "level": c.level, "subscriptions": c.subscriptions, "heard": c.heard, "pid": os.Getpid()})
	c.mu.Unlock()
	c.result(m.ID, string(b))
}

func (c *child) call(m *incoming) {
	var meta struct {
		ProgressToken json.RawMessage `json:"progressToken"`
	}
	_ = json.Unmarshal(m.Params.Meta, &meta)
	switch m.Params.Name {
	case "echo":
		meta := m.Params.Meta
		if meta == nil {
			meta = json.RawMessage("null")
		}
		c.result(m.ID, fmt.Sprintf(`{"content":[],"structuredContent":{"args":%s,"meta":%s},"big":12345678901234567890}`, m.Params.Arguments, meta))
	case "env":
		c.text(m.ID, strings.Join(os.Environ(), "\n"))
	case "pid":
		c.text(m.ID, fmt.Sprint(os.Getpid()))
	case "slow":
		ch := make(chan struct{})
		c.mu.Lock()
		c.calls[string(m.ID)] = ch
		c.mu.Unlock()
		c.progress(meta.ProgressToken, 0)
		<-ch
		fmt.Fprintln(os.Stderr, "cancelled on request")
	case "progress":
		for i := range 100 {
			c.progress(meta.ProgressToken, i+1)
		}
		c.text(m.ID, "done")
	case "log":
		c.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"of nobody"}}`)
		c.text(m.ID, "logged")
	case "exit":
		os.Exit(4)
	case "huge":
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = io.WriteString(os.Stdout, `{"jsonrpc":"2.0","id":1,"result":{"text":"`)
		flood(os.Stdout, 100)
	case "flood":
		for range 20_000 {
			c.progress(meta.ProgressToken, 1)
		}
		c.text(m.ID, "flooded")
	case "ask":
		c.say(`{"jsonrpc":"2.0","id":"q1","method":"sampling/createMessage","params":{}}`)
		c.say(`{"jsonrpc":"2.0","id":"q2","method":"ping"}`)
		c.text(m.ID, "asked")
	case "step":
		var args struct{ N int }
		_ = json.Unmarshal(m.Params.Arguments, &args)
		c.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1,"of":%d}}`, meta.ProgressToken, args.N)
		c.result(m.ID, fmt.Sprintf(`{"n":%d}`, args.N))
	case "question":
		c.question(m)
	case "state":
		c.state(m)
	case "touch":
		c.touch(m)
	case "die":
		c.result(m.ID, `{}`)
		os.Exit(4)
	case "change":
		c.change(m)
	default:
		c.say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"Unknown tool","data":{"n":9007199254740993}}}`, m.ID)
	}
}

// touch tells of a changed resource, and a modern child of a task, too.
func (c *child) touch(m *incoming) {
	if c.is("modern") {
		c.tellAll(`"test://a"`, "resources/updated", strings.Trim(string(m.Params.Arguments), "{}"))
		c.tellAll(`"task-1"`, "tasks", `"taskId":"task-1"`)
	} else {
		c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":%s}`, m.Params.Arguments)
	}
	c.result(m.ID, `{}`)
}

// change tells of changed tools.
func (c *child) change(m *incoming) {
	if c.is("modern") {
		c.tellAll("toolsListChanged", "tools/list_changed", "")
	} else {
		c.say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	}
	c.text(m.ID, "changed")
}

func (c *child) progress(token json.RawMessage, n int) {
	if token != nil {
		c.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d,"x":12345678901234567890}}`, token, n)
	}
}
