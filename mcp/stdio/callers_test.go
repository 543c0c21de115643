//go:build unix

package stdio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

var bob = &policy.Principal{Key: "bob", KeyID: "k2"}

const asksAll = `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{"listChanged":true}}`

// state is what a child was told.
type state struct {
	Declared             json.RawMessage
	Level                string
	Subscriptions, Heard []string
	PID                  int
}

func decode(t *testing.T, a *upstream.Answer, err error) (s state) {
	t.Helper()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if err := json.Unmarshal(a.Result, &s); err != nil {
		t.Fatalf("%s: %v", a.Result, err)
	}
	return s
}

// echoAsk answers every question with its method and params.
func echoAsk(_ context.Context, method string, params []byte) *upstream.Answer {
	return &upstream.Answer{Result: fmt.Appendf(nil, `{"method":%q,"params":%s}`, method, params)}
}

// of is an exchange of a caller that has declared capabilities and can be asked by ask.
func of(x *upstream.Exchange, capabilities string, ask upstream.Ask, client *upstream.Client) *upstream.Exchange {
	x.Capabilities, x.Ask, x.Client = []byte(capabilities), ask, client
	if client != nil {
		x.Era, x.Version = upstream.Legacy, "2025-11-25"
	}
	return x
}

func TestCallersWhoCanBeAskedHaveChildrenOfTheirOwn(t *testing.T) {
	f, _ := stdioFixture(t, "full")
	one, two := &upstream.Client{ID: "1", Ask: echoAsk}, &upstream.Client{ID: "2", Ask: echoAsk}
	pids := map[string]int{}
	for _, tt := range []struct {
		name         string
		p            *policy.Principal
		capabilities string
		ask          upstream.Ask
		client       *upstream.Client
		as           string // whose child it is
		declared     string
	}{
		{"nothing to ask", upstreamtest.Alice, `{}`, nil, nil, "shared", "apps"},
		{"declared, but cannot be asked", upstreamtest.Alice, asksAll, nil, nil, "shared", "apps"},
		{"another who asks nothing", bob, `{}`, nil, nil, "shared", "apps"},
		{"alice", upstreamtest.Alice, `{"elicitation":{}}`, echoAsk, nil, "alice", `{"elicitation":{"form":{}}}`},
		{"alice again", upstreamtest.Alice, `{"elicitation":{"form":{}}}`, echoAsk, nil, "alice", `{"elicitation":{"form":{}}}`},
		{"alice declares more", upstreamtest.Alice, asksAll, echoAsk, nil, "alice, all", `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`},
		{"bob", bob, `{"elicitation":{}}`, echoAsk, nil, "bob", `{"elicitation":{"form":{}}}`},
		{"a client of alice", upstreamtest.Alice, asksAll, echoAsk, one, "client 1", `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{"listChanged":true}}`},
		{"its quiet call", upstreamtest.Alice, asksAll, nil, one, "client 1", `"listChanged":true`},
		{"another client of alice", upstreamtest.Alice, asksAll, echoAsk, two, "client 2", `"listChanged":true`},
	} {
		a, err := f.As(t.Context(), tt.p, of(upstreamtest.Tool("state", "{}"), tt.capabilities, tt.ask, tt.client))
		got := decode(t, a, err)
		if pid, ok := pids[tt.as]; ok && pid != got.PID {
			t.Errorf("%s: another child than the one of %s", tt.name, tt.as)
		}
		for who, pid := range pids {
			if who != tt.as && pid == got.PID {
				t.Errorf("%s: the child of %s", tt.name, who)
			}
		}
		pids[tt.as] = got.PID
		if !strings.Contains(string(got.Declared), tt.declared) && tt.declared != "apps" || tt.declared == "apps" && strings.Contains(string(got.Declared), "elicitation") {
			t.Errorf("%s: declared %s", tt.name, got.Declared)
		}
	}
	if c := f.Counts(); c.Sessions != len(pids) {
		t.Errorf("%d children are counted, %d run", c.Sessions, len(pids))
	}
}

func TestForcedSharingDeclaresNothing(t *testing.T) {
	f, _ := upstreamtest.Discovered(t, newFixture(t, upstream.Config{Command: mcptest.Command("full"), Env: quick(), Shared: true}))
	a, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("question", `{"method":"roots/list","params":{}}`), asksAll, echoAsk, nil))
	if err != nil || !strings.Contains(string(a.Result), "-32601") {
		t.Errorf("%+v %v", a, err)
	}
	if c := f.Counts(); c.Sessions != 1 {
		t.Errorf("%d children", c.Sessions)
	}
}

func TestChildAsksItsCaller(t *testing.T) {
	f, _ := stdioFixture(t, "full")
	for _, client := range []*upstream.Client{nil, {ID: "7"}} {
		a, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("question", `{"method":"elicitation/create","params":{"message":"?","n":12345678901234567890}}`), asksAll, echoAsk, client))
		if err != nil {
			t.Fatal(err)
		}
		if want := `"result":{"method":"elicitation/create","params":{"message":"?","n":12345678901234567890}}}}`; !strings.HasSuffix(string(a.Result), want) {
			t.Errorf("%s", a.Result)
		}
	}
	refusal := &upstream.Answer{Error: upstream.NewError(-1, "the user said no")}
	a, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("question", `{"method":"sampling/createMessage","params":{}}`), asksAll,
		func(context.Context, string, []byte) *upstream.Answer { return refusal }, nil))
	if err != nil || !strings.HasSuffix(string(a.Result), `"error":{"code":-1,"message":"the user said no"}}}`) {
		t.Errorf("%s %v", a.Result, err)
	}
	a, err = f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("question", `{"method":"sampling/createMessage","params":{}}`), `{"elicitation":{}}`, echoAsk, nil))
	if err != nil || !strings.Contains(string(a.Result), "declared no such capability") {
		t.Errorf("%s %v", a.Result, err)
	}
	if c := f.Counts(); c.Questions != 3 {
		t.Errorf("%d questions are counted", c.Questions)
	}
}

// TestQuestionOfNobodyInParticular holds that several calls of one principal are never guessed among, and that in a
// client's own child the newest call is asked.
func TestQuestionOfNobodyInParticular(t *testing.T) {
	for _, client := range []*upstream.Client{nil, {ID: "7"}} {
		f, _ := stdioFixture(t, "full")
		started := make(chan struct{})
		slow := of(upstreamtest.Tool("slow", "{}"), asksAll, func(context.Context, string, []byte) *upstream.Answer {
			return &upstream.Answer{Result: []byte(`{"from":"the older call"}`)}
		}, client)
		slow.ProgressToken, slow.Notify = []byte("1"), func(string, []byte) { close(started) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := f.As(ctx, upstreamtest.Alice, slow)
			done <- err
		}()
		<-started
		a, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("question", `{"method":"roots/list","params":{}}`), asksAll, echoAsk, client))
		if err != nil {
			t.Fatal(err)
		}
		want := "several calls are in flight"
		if client != nil {
			want = `"result":{"method":"roots/list"`
		}
		if !strings.Contains(string(a.Result), want) {
			t.Errorf("%s", a.Result)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestQuestionEndsWithItsCall holds that a caller is asked nothing more once its call is over.
func TestQuestionEndsWithItsCall(t *testing.T) {
	upstreamtest.NoLeaks(t)
	f, _ := stdioFixture(t, "full")
	ctx, cancel := context.WithCancel(t.Context())
	over := false
	_, err := f.As(ctx, upstreamtest.Alice, of(upstreamtest.Tool("question", `{"method":"roots/list","params":{}}`), asksAll, func(ctx context.Context, _ string, _ []byte) *upstream.Answer {
		cancel() // the caller leaves
		<-ctx.Done()
		over = true
		return &upstream.Answer{Result: []byte("{}")}
	}, nil))
	if !errors.Is(err, context.Canceled) || !over {
		t.Errorf("%v; the question is over: %v", err, over)
	}
}

func TestLogLinesReachWhoseTheyAre(t *testing.T) {
	f, _ := stdioFixture(t, "full")
	var mu sync.Mutex
	var outside []string
	client := &upstream.Client{ID: "7", Notify: func(method string, params []byte) {
		mu.Lock()
		defer mu.Unlock()
		outside = append(outside, method+" "+string(params))
	}}
	const line = `notifications/message {"level":"error","data":"of nobody"}`
	for _, tt := range []struct {
		name, level string
		client      *upstream.Client
		want        int
	}{{"a modern caller who wants logs", "debug", nil, 1}, {"one who wants less", "critical", nil, 0}, {"one who wants none", "", nil, 0}, {"a client", "info", client, 1}} {
		var n upstreamtest.Notified
		x := of(upstreamtest.Tool("log", "{}"), "{}", nil, tt.client)
		x.LogLevel, x.Notify = tt.level, n.Take
		f.Answer(t, x)
		if len(n.Got) != tt.want || tt.want > 0 && n.Got[0] != line {
			t.Errorf("%s got %q", tt.name, n.Got)
		}
	}
	x := of(upstreamtest.Tool("state", "{}"), "{}", nil, client)
	x.LogLevel = "warning"
	if got := decode(t, f.Answer(t, x), nil); got.Level != "warning" {
		t.Errorf("level %s", got.Level)
	}
	x = upstreamtest.Tool("state", "{}")
	x.LogLevel = "critical"
	if got := decode(t, f.Answer(t, x), nil); got.Level != "debug" {
		t.Errorf("of two levels that one principal wants the child has %s", got.Level)
	}
}

func TestClientsTellAndLeave(t *testing.T) {
	f, _ := stdioFixture(t, "full")
	client := &upstream.Client{ID: "7", Ask: echoAsk}
	call := func() state {
		a, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("state", "{}"), asksAll, echoAsk, client))
		return decode(t, a, err)
	}
	first := call()
	f.Tell("7", "notifications/roots/list_changed", nil)
	f.Tell("8", "notifications/nothing", nil)
	for {
		if got := call(); len(got.Heard) == 2 {
			if got.Heard[1] != "notifications/roots/list_changed" || got.PID != first.PID {
				t.Errorf("%+v", got)
			}
			break
		}
	}
	f.Leave("7")
	f.Leave("7")
	for f.Counts().Sessions != 1 {
		time.Sleep(time.Millisecond)
	}
	if _, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("state", "{}"), asksAll, echoAsk, client)); err == nil {
		t.Error("a client that has left got a child")
	}
}

func TestResourcesAreWatchedInAChildOfTheCaller(t *testing.T) {
	f, _ := stdioFixture(t, "full")
	client := &upstream.Client{ID: "7"}
	heard := make(chan string, 100)
	watch := func(uri string) func() {
		var stop func()
		call := policy.Call{Principal: upstreamtest.Alice, Action: policy.ResourceSubscribe, Upstream: "tracker", Target: uri, Tool: &policy.Tool{Server: "tracker", Name: uri, Kind: "resource"}}
		err := f.Gate.Do(t.Context(), call, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
			x := &upstream.Exchange{Permit: p, Method: "resources/subscribe", Name: uri}
			var a *upstream.Answer
			var err error
			stop, a, err = f.Subscribe(ctx, of(x, "{}", nil, client), func(params []byte) { heard <- string(params) })
			if a != nil {
				t.Errorf("%s", a.Error.Raw)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	stopA := watch("test://a")
	stopAgain := watch("test://a")
	stopB := watch("test://b")
	call := func(name, args string) *upstream.Answer {
		return f.Answer(t, of(upstreamtest.Tool(name, args), "{}", nil, client))
	}
	call("touch", `{"uri":"test://a","x":1}`)
	for range 2 {
		if got := <-heard; got != `{"uri":"test://a","x":1}` {
			t.Error(got)
		}
	}
	stopAgain()
	stopAgain()
	first := decode(t, call("state", "{}"), nil)
	if len(first.Subscriptions) != 3 {
		t.Errorf("%+v", first)
	}
	// A child that dies is started again, and the watchers are told that they may have missed something.
	call("die", "{}")
	got := map[string]bool{<-heard: true, <-heard: true}
	if !got[`{"uri":"test://a"}`] || !got[`{"uri":"test://b"}`] {
		t.Errorf("%v", got)
	}
	for second := (state{}); len(second.Subscriptions) != 2; {
		if second = decode(t, call("state", "{}"), nil); second.PID == first.PID {
			t.Fatal("it has not died")
		}
	}
	stopA()
	stopB()
	for len(decode(t, call("state", "{}"), nil).Subscriptions) != 0 {
	}
	call("touch", `{"uri":"test://a"}`)
	if len(heard) != 0 {
		t.Errorf("told after the end: %s", <-heard)
	}
}

// TestProgressUnderManyCalls holds that of ten thousand calls through one child each gets its own progress and answer.
func TestProgressUnderManyCalls(t *testing.T) {
	f, _ := stdioFixture(t)
	calls, callers := 10_000, 50
	if testing.Short() {
		calls = 1000
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range calls / callers {
				token := strconv.Itoa(caller*calls + i)
				x := upstreamtest.Tool("step", `{"n":`+token+`}`)
				got := ""
				x.ProgressToken, x.Notify = []byte(token), func(_ string, params []byte) { got += string(params) }
				a, err := f.As(t.Context(), upstreamtest.Alice, x)
				if err != nil || string(a.Result) != `{"n":`+token+`}` {
					t.Errorf("call %s: %v %v", token, a, err)
					return
				}
				if want := fmt.Sprintf(`{"progressToken":%s,"progress":1,"of":%s}`, token, token); got != want {
					t.Errorf("call %s was told %s", token, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestClientsThatVanishLeaveNothing holds that goroutines and children return to what they were.
func TestClientsThatVanishLeaveNothing(t *testing.T) {
	f, _ := stdioFixture(t, "full")
	upstreamtest.NoLeaks(t)
	clients := 200
	if testing.Short() {
		clients = 40
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, 8)
	for i := range clients {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			client := &upstream.Client{ID: fmt.Sprint(i), Ask: echoAsk}
			if _, err := f.As(t.Context(), upstreamtest.Alice, of(upstreamtest.Tool("state", "{}"), asksAll, echoAsk, client)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			f.Leave(client.ID)
		})
	}
	wg.Wait()
	for f.Counts().Sessions != 1 {
		time.Sleep(time.Millisecond)
	}
}
