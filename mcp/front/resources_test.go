package front

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/updates"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// spring is where the updates of a hall's resources come from.
type spring struct {
	mu      sync.Mutex
	updated map[string][]func([]byte) // by URI
	calls   []*Call
	stopped chan string
}

func (s *spring) subscribe(_ context.Context, c *Call, updated func([]byte)) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	switch uri := c.Entry.Name; uri {
	case "x://hidden":
		return nil, ErrHidden
	case "x://refused":
		return nil, &rpc.Error{Code: -32601, Message: "no subscriptions"}
	default:
		s.updated[uri] = append(s.updated[uri], updated)
		return func() { s.stopped <- uri }, nil
	}
}

func (s *spring) emit(uri, params string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.updated[uri] {
		f([]byte(params))
	}
}

func springing() (*hall, *spring) {
	h, s := newHall(), &spring{updated: map[string][]func([]byte){}, stopped: make(chan string, 512)}
	h.subscribe = s.subscribe
	return h, s
}

func subscribeTo(uri string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"` + uri + `","_meta":{"k":1}}}`
}

const empty = `{"jsonrpc":"2.0","id":1,"result":{}}`

// TestSubscribe follows a subscription from its beginning to the end of its session.
func TestSubscribe(t *testing.T) {
	h, s := springing()
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Jun, `{}`)
	other := connect(t, url, era.V2025Jun, `{}`)
	for range 2 {
		if _, got := c.post(subscribeTo("x://1")); got != empty {
			t.Fatal(got)
		}
	}
	c.post(subscribeTo("x://2"))
	if len(s.calls) != 2 || s.calls[0].Action != policy.ResourceSubscribe || s.calls[0].Client == nil || string(s.calls[0].Params) != `{"uri":"x://1"}` {
		t.Fatalf("%d calls, the first %+v", len(s.calls), s.calls[0])
	}
	// What comes before there is a stream waits for it, once.
	s.emit("x://1", `{"uri":"x://1/part","later":1}`)
	s.emit("x://1", `{"uri":"x://1/part","later":1}`)
	others := other.events(other.send(t.Context(), "GET", ""))
	stream := c.events(c.send(t.Context(), "GET", ""))
	if got := stream.next(); got != `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://1/part","later":1}}` {
		t.Error(got)
	}
	s.emit("x://2", `{"uri":"x://2"}`)
	if got := stream.next(); !strings.Contains(got, `"x://2"`) {
		t.Error(got)
	}
	if _, got := c.post(strings.Replace(subscribeTo("x://1"), "subscribe", "unsubscribe", 1)); got != empty || <-s.stopped != "x://1" {
		t.Error("unsubscribed:", got)
	}
	if _, got := c.post(strings.Replace(subscribeTo("x://1"), "subscribe", "unsubscribe", 1)); got != empty {
		t.Error("unsubscribed again:", got)
	}
	c.send(t.Context(), "DELETE", "")
	if got := <-s.stopped; got != "x://2" {
		t.Error("the end of the session stops", got)
	}
	other.send(t.Context(), "DELETE", "")
	if got := others.next(); got != "" {
		t.Error("another session hears", got)
	}
}

func TestSubscribeRefused(t *testing.T) {
	h, _ := springing()
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Jun, `{}`)
	for uri, want := range map[string]string{
		"x://hidden":               `{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"resource not found","data":{"uri":"x://hidden"}}}`,
		strings.Repeat("x", 3<<10): `"code":-32002`,
		"x://refused":              `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no subscriptions"}}`,
	} {
		for range 2 { // a refusal leaves nothing behind
			if _, got := c.post(subscribeTo(uri)); !strings.Contains(got, want) {
				t.Errorf("%.20s: %s", uri, got)
			}
		}
	}
	for i := range updates.Max {
		if _, got := c.post(subscribeTo(fmt.Sprint("x://", i))); got != empty {
			t.Fatal(i, got)
		}
	}
	if _, got := c.post(subscribeTo("x://more")); !strings.Contains(got, "enough subscriptions") {
		t.Error(got)
	}
}

// TestSubscribeHidden holds that a resource is not told of once its reader may not see it any more.
func TestSubscribeHidden(t *testing.T) {
	h, s := springing()
	var mu sync.Mutex
	blind := false
	h.visible = func(*policy.Tool) bool {
		mu.Lock()
		defer mu.Unlock()
		return !blind
	}
	_, url := serve(t, h, anybody())
	c := connect(t, url, era.V2025Jun, `{}`)
	c.post(subscribeTo("x://1"))
	stream := c.events(c.send(t.Context(), "GET", ""))
	set := func(b bool) { mu.Lock(); defer mu.Unlock(); blind = b }
	set(true)
	s.emit("x://1", `{"uri":"x://1","n":1}`)
	set(false)
	s.emit("x://1", `{"uri":"x://1","n":2}`)
	if got := stream.next(); !strings.Contains(got, `"n":2`) {
		t.Error(got)
	}
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// TestListenToResources holds that a listen stream names the subscriptions that hold, tells of nothing before that, and
// ends them with itself.
func TestListenToResources(t *testing.T) {
	h, s := springing()
	subscribe := h.subscribe
	h.subscribe = func(ctx context.Context, c *Call, updated func([]byte)) (func(), error) {
		updated([]byte(`{"uri":"x://1","_meta":{"theirs":1,"io.modelcontextprotocol/subscriptionId":"up"}}`))
		return subscribe(ctx, c, updated)
	}
	_, url := serve(t, h, anybody())
	c := &client{t: t, url: url, accept: "text/event-stream"}
	ctx, cancel := context.WithCancel(t.Context())
	stream := c.events(c.send(ctx, "POST", `{"jsonrpc":"2.0","id":"L","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x://1","x://hidden","x://1","x://refused"]},`+modernMeta+`}}`,
		"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen"))
	const tag = `"io.modelcontextprotocol/subscriptionId":"L"`
	want := []string{
		`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x://1"]},"_meta":{` + tag + `}}}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://1","_meta":{"theirs":1,` + tag + `}}}`,
	}
	for _, w := range want {
		if got := stream.next(); got != w {
			t.Errorf("got  %s\nwant %s", got, w)
		}
	}
	s.emit("x://1", `{"uri":"x://1"}`)
	if got := stream.next(); got != `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://1","_meta":{`+tag+`}}}` {
		t.Error(got)
	}
	cancel()
	if got := <-s.stopped; got != "x://1" {
		t.Error("stopped", got)
	}
	if c := s.calls[0]; c.Client != nil || c.Context.Era != upstream.Modern {
		t.Errorf("subscribed as %+v", c)
	}
}

func TestListenRefused(t *testing.T) {
	h, _ := springing()
	_, url := serve(t, h, anybody())
	c := &client{t: t, url: url, accept: "text/event-stream"}
	many := `"x://0"`
	for i := range updates.Max {
		many += fmt.Sprintf(`,"x://%d"`, i+1)
	}
	// Of a list that is too long the rest is not looked at.
	for list, want := range map[string]string{
		`"x://1"`: "256 strings", `{}`: "256 strings", `[1]`: "must be strings", `[["x://1"]]`: "must be strings",
		`[` + many + `]`: "256 strings", `[` + many + `,1]`: "256 strings",
	} {
		resp := c.send(t.Context(), "POST", `{"jsonrpc":"2.0","id":"L","method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":`+list+`},`+modernMeta+`}}`,
			"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen")
		if got := body(t, resp); !strings.Contains(got, `"code":-32602`) || !strings.Contains(got, want) {
			t.Errorf("%.20s: %s", list, got)
		}
	}
}

// TestSubscribeCapability holds that subscriptions are offered when a visible server has them.
func TestSubscribeCapability(t *testing.T) {
	for capabilities, want := range map[string]bool{`{"resources":{"subscribe":true}}`: true, `{"resources":{}}`: false, `{"resources":{"subscribe":"true"}}`: false} {
		h := newHall()
		shelf := catalog.Digest(catalog.Source{Server: "srv"}, &upstream.Offer{Capabilities: []byte(capabilities), Resources: [][]byte{[]byte(`{"uri":"x://1","name":"n"}`)}})
		h.catalog = catalog.New([]string{"srv"}, map[string]*catalog.Shelf{"srv": shelf}, nil)
		_, url := serve(t, h, anybody())
		_, got, _ := post(t, url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
		if strings.Contains(got, `"resources":{"listChanged":true,"subscribe":true}`) != want {
			t.Errorf("%s: %s", capabilities, got)
		}
		h.visible = func(*policy.Tool) bool { return false }
		_, url = serve(t, h, anybody())
		if _, got, _ = post(t, url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`); strings.Contains(got, "subscribe") {
			t.Errorf("%s is told who sees none of it", capabilities)
		}
	}
}
