package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

func TestQueueOfASlowCallerIsBounded(t *testing.T) {
	for _, c := range []struct {
		name       string
		bytes, put int
		want       int
	}{
		{"many", 1, 3 * queueMax, queueMax},
		{"large", queueBytesMax / 4, 10, 4},
	} {
		p := &pipe{waiting: map[int64]*waiter{}}
		w := p.register(t.Context(), &upstream.Exchange{}, 7)
		for range c.put {
			p.put(7, &wire.Message{Method: "notifications/progress", Raw: make([]byte, c.bytes)})
		}
		p.put(8, &wire.Message{})
		for range 2 {
			p.put(7, &wire.Message{Raw: make([]byte, queueBytesMax)}) // the answer, and one that is none any more
		}
		<-w.signal
		got := p.collect(w)
		if len(got) != c.want+1 || got[c.want].Method != "" || w.dropped != c.put-c.want+1 {
			t.Errorf("%s: %d wait, %d dropped", c.name, len(got), w.dropped)
		}
		p.forget(7)
		p.put(7, &wire.Message{})
		if len(p.waiting) != 0 {
			t.Error("it still waits")
		}
	}
}

// watchAlone has one principal watch a resource of a child of its own.
func watchAlone(t *testing.T, g *gate.Gate, up *Server, uri string, updated func([]byte)) (stop func()) {
	t.Helper()
	call := policy.Call{Principal: &policy.Principal{Key: "alice", KeyID: "k1"}, Action: policy.ResourceSubscribe, Upstream: "s", Target: uri,
		Tool: &policy.Tool{Server: "s", Name: uri, Kind: "resource"}}
	err := g.Do(t.Context(), call, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
		var a *upstream.Answer
		var err error
		stop, a, err = up.Subscribe(ctx, &upstream.Exchange{Permit: p, Method: "resources/subscribe", Name: uri}, updated)
		if a != nil {
			err = a.Error
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

// subscriptions asks a child of a principal's own what it was asked to tell of.
func subscriptions(t *testing.T, g *gate.Gate, c *child) (uris []string) {
	t.Helper()
	err := g.Do(t.Context(), policy.Call{Action: policy.ServerPing, Upstream: "s"}, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		p, err := c.connect(ctx)
		if err != nil {
			return err
		}
		a, err := c.asker(p, permit)(ctx, "tools/call", []byte(`{"name":"state"}`))
		if err != nil {
			return err
		}
		uris = wire.Texts(a.Result, "subscriptions")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uris
}

// fullChild is a server with a legacy child that tells of resources.
func fullChild(t *testing.T) (*gate.Gate, *Server) {
	t.Helper()
	const rules = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`
	g := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{{Side: policy.Tools, Name: "s"}}}).Gate
	up, err := New(upstream.Config{Gate: g, Name: "s", Command: mcptest.Command("full")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close(context.Background()) })
	return g, up
}

func (s *Server) onlyChild() (c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c = range s.own {
	}
	return c
}

func TestSubscribingAgainComesAfterTheEnd(t *testing.T) {
	g, up := fullChild(t)
	stop := watchAlone(t, g, up, "test://a", func([]byte) {})
	c := up.onlyChild()
	for len(c.current.pipe.out) < cap(c.current.pipe.out)/2 { // what is written beside calls has to wait
		c.current.pipe.beside(wire.Notification("notifications/roots/list_changed", ""))
	}
	stop()
	defer watchAlone(t, g, up, "test://a", func([]byte) {})()
	defer watchAlone(t, g, up, "test://b", func([]byte) {})() // behind both
	if got := subscriptions(t, g, c); !slices.Contains(got, "test://a") {
		t.Errorf("the child tells of %v", got)
	}
}

func TestAllIsWatchedInTheNextChild(t *testing.T) {
	g, up := fullChild(t)
	const resources = 4 * besideMax
	for i := range resources {
		defer watchAlone(t, g, up, fmt.Sprint("test://", i), func([]byte) {})()
	}
	c := up.onlyChild()
	first := c.current.pipe
	first.process.Kill()
	<-first.dead
	for c.running() == first {
	}
	if got := subscriptions(t, g, c); len(got) != resources {
		t.Errorf("%d of %d resources are watched", len(got), resources)
	}
}

func TestWatchedChildIsStartedUntilItRuns(t *testing.T) {
	g, _ := fullChild(t)
	argv := mcptest.Command("full")
	link := filepath.Join(t.TempDir(), "server")
	if err := os.Symlink(argv[0], link); err != nil {
		t.Fatal(err)
	}
	up, err := New(upstream.Config{Gate: g, Name: "s", Command: append([]string{link}, argv[1:]...)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Close(context.Background()) }()
	told := make(chan string, 8)
	defer watchAlone(t, g, up, "test://a", func(params []byte) { told <- string(params) })()
	c := up.onlyChild()
	first := c.current.pipe
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	first.process.Kill()
	for c.running() != nil { // until a start has failed
	}
	if err := os.Symlink(argv[0], link); err != nil {
		t.Fatal(err)
	}
	<-told // that it may have changed meanwhile
}

func (c *child) running() *pipe {
	c.mu.Lock()
	l := c.current
	c.mu.Unlock()
	<-l.ready
	return l.pipe
}

func TestUnwrittenRequestGoesToTheNextChild(t *testing.T) {
	g := gatetest.New(t, gatetest.Options{Upstreams: []gate.Upstream{{Side: policy.Tools, Name: "s"}}}).Gate
	up, err := New(upstream.Config{Gate: g, Name: "s", Command: mcptest.Command()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Close(t.Context()) }()
	if _, err := up.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := up.shared.current.pipe
	_ = first.process.Stdin.Close() // as when the child dies between two calls, and nobody has noticed yet
	err = g.Do(t.Context(), policy.Call{Action: policy.ServerPing, Upstream: "s"}, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
		a, err := up.Call(ctx, &upstream.Exchange{Permit: p, Method: "ping"})
		if err == nil && a.Error != nil {
			err = a.Error
		}
		return err
	})
	if err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	if up.shared.current.pipe == first {
		t.Error("the dead child is still the one")
	}
}

func TestFewFirstDeathsAreForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &child{}
		for _, want := range []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute} {
			if got := s.backoff(); max(got, 0) != want {
				t.Errorf("after %d deaths: %s, want %s", s.deaths, got, want)
			}
			s.deaths++
			s.died = time.Now()
		}
		time.Sleep(time.Minute)
		if got := s.backoff(); got > 0 {
			t.Errorf("it is still not started: %s", got)
		}
	})
}
