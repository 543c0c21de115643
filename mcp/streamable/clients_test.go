package streamable_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// names answers each call with the name of its session.
func names(script mcptest.Script) mcptest.Script {
	script.Tools, script.Sessions = []string{}, true
	script.On = map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		if q.Server.Declared(sessionOf(q)) == "" {
			q.Status(http.StatusNotFound) // it has forgotten it
			return
		}
		q.Result(`{"in":"` + sessionOf(q) + `"}`)
	}}
	return legacy(script)
}

func TestWhatASessionIsFor(t *testing.T) {
	s := mcptest.Raw(t, names(mcptest.Script{}))
	f, _ := httpFixture(t, s.Server)
	bob := &policy.Principal{Key: "bob", KeyID: "k2"}
	ask := new(asker).ask
	seen := map[string]string{}
	for _, c := range []struct {
		who          *policy.Principal
		capabilities string
		ask          upstream.Ask
		client       string
		want         string // the calls of one name share a session
	}{
		{upstreamtest.Alice, `{}`, nil, "", "alice"},
		{bob, `{}`, nil, "", "bob"},
		{upstreamtest.Alice, everything, nil, "", "alice"},
		{upstreamtest.Alice, `{"roots":{}}`, ask, "", "alice with roots"},
		{upstreamtest.Alice, `{"roots":{}, "experimental":{}}`, ask, "", "alice with roots"},
		{upstreamtest.Alice, `{"elicitation":{}}`, ask, "", "alice with forms"},
		{upstreamtest.Alice, `{"elicitation":{"form":{}}}`, ask, "", "alice with forms"},
		{upstreamtest.Alice, `{"extensions":{"io.modelcontextprotocol/ui":{}}}`, nil, "", "alice with apps"},
		{bob, `{"elicitation":{"form":{}}}`, ask, "", "bob with forms"},
		{upstreamtest.Alice, `{}`, nil, "c1", "client 1"},
		{upstreamtest.Alice, `{}`, nil, "c2", "client 2"},
		{upstreamtest.Alice, `{}`, nil, "c1", "client 1"},
	} {
		x := upstreamtest.Tool("t", "{}")
		x.Capabilities, x.Ask = []byte(c.capabilities), c.ask
		if c.client != "" {
			x.Client = &upstream.Client{ID: c.client}
		}
		a, err := f.As(t.Context(), c.who, x)
		if err != nil {
			t.Fatal(err)
		}
		if before := seen[c.want]; before != "" && before != string(a.Result) {
			t.Errorf("%s: %s, before %s", c.want, a.Result, before)
		}
		seen[c.want] = string(a.Result)
	}
	different := map[string]bool{}
	for _, in := range seen {
		different[in] = true
	}
	if len(different) != len(seen) || f.Counts().Sessions != len(seen)+1 {
		t.Errorf("sessions %v, %d open", seen, f.Counts().Sessions)
	}
}

// client is a call in the session of a legacy client.
func client(id string) *upstream.Exchange {
	x := asking(upstreamtest.Tool("t", "{}"), new(asker).ask)
	x.Era, x.Version, x.Client = upstream.Legacy, mcptest.Legacy, &upstream.Client{ID: id}
	return x
}

func TestClientThatLeavesTakesItsSessionsAlong(t *testing.T) {
	ended := make(chan string, 4)
	script := names(mcptest.Script{Streams: true})
	script.On["DELETE"] = func(q *mcptest.Request) { ended <- sessionOf(q); q.Status(200) }
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	f.Answer(t, client("stays"))
	a := f.Answer(t, client("leaves"))
	f.Leave("leaves")
	f.Leave("leaves")
	f.Leave("unknown")
	if got := <-ended; string(a.Result) != `{"in":"`+got+`"}` {
		t.Errorf("session %s has ended, want that of %s", got, a.Result)
	}
	f.WantFault(t, client("leaves"), upstream.Gone)
	f.Answer(t, client("stays"))
	if len(ended) != 0 {
		t.Errorf("another session has ended: %s", <-ended)
	}
}

func TestCallOfAClientThatLeavesIsNotRepeated(t *testing.T) {
	script := names(mcptest.Script{})
	f := (*upstreamtest.Fixture)(nil)
	calls := 0
	script.On["tools/call"] = func(q *mcptest.Request) {
		calls++
		f.Leave("leaves")
		q.Status(404) // its session has ended meanwhile
	}
	f, _ = httpFixture(t, mcptest.Raw(t, script).Server)
	f.WantFault(t, client("leaves"), upstream.Gone)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestClientsTellTheirServersOfRoots(t *testing.T) {
	told := make(chan string, 8)
	script := names(mcptest.Script{})
	script.On["notifications/roots/list_changed"] = func(q *mcptest.Request) { told <- sessionOf(q); q.Status(202) }
	s := mcptest.Raw(t, script)
	f, _ := httpFixture(t, s.Server)
	a := f.Answer(t, client("c1"))
	f.Answer(t, client("c2"))
	mute := client("c1")
	mute.Capabilities = []byte(`{"roots":{}}`) // said nothing of changes
	f.Answer(t, mute)
	f.Tell("c1", "notifications/roots/list_changed", nil)
	f.Tell("nobody", "notifications/roots/list_changed", nil)
	if got := <-told; string(a.Result) != `{"in":"`+got+`"}` {
		t.Errorf("told in %s, want %s", got, a.Result)
	}
	if err := f.Close(t.Context()); err != nil { // all that is said is said
		t.Fatal(err)
	}
	if len(told) != 0 {
		t.Errorf("told in %s, too", <-told)
	}
}

func TestManyClientsLeaveNothing(t *testing.T) {
	upstreamtest.NoLeaks(t)
	s := mcptest.Raw(t, names(mcptest.Script{Streams: true}))
	f, _ := httpFixture(t, s.Server)
	const many = 200
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range many {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			id := fmt.Sprint(i)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range 2 {
				if _, err := f.As(ctx, upstreamtest.Alice, client(id)); err != nil {
					t.Error(err)
				}
			}
			f.Tell(id, "notifications/roots/list_changed", nil)
			f.Leave(id)
		})
	}
	wg.Wait()
	if n := f.Counts().Sessions; n != 1 {
		t.Errorf("%d sessions are left", n)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Sessions(); n != 0 {
		t.Errorf("the server was left with %d sessions", n)
	}
	if c := f.Counts(); c.Sessions != 0 || c.Streams != 0 {
		t.Errorf("counts %+v", c)
	}
	opened := slices.DeleteFunc(s.Methods(), func(m string) bool { return m != "initialize" })
	if len(opened) != many+1 {
		t.Errorf("%d sessions were opened", len(opened))
	}
}

func TestForgottenSessionsOfManyCallersAreOpenedOnce(t *testing.T) {
	s := mcptest.Raw(t, names(mcptest.Script{Streams: true}))
	f, _ := httpFixture(t, s.Server)
	for range 3 {
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				x := client(fmt.Sprint(i % 3))
				if a, err := f.As(t.Context(), upstreamtest.Alice, x); err != nil || !strings.Contains(string(a.Result), "session-") {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.Forget("")
	}
	if c := f.Counts(); c.Sessions > 4 || c.Reconnects == 0 {
		t.Errorf("counts %+v", c)
	}
}
