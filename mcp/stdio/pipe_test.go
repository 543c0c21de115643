package stdio

import (
	"context"
	"errors"
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
		p.put(7, &wire.Message{Raw: make([]byte, queueBytesMax)}) // the answer
		<-w.signal
		got := p.collect(w)
		if len(got) != c.want+1 || got[c.want].Method != "" || w.dropped != c.put-c.want {
			t.Errorf("%s: %d wait, %d dropped", c.name, len(got), w.dropped)
		}
		p.forget(7)
		p.put(7, &wire.Message{})
		if len(p.waiting) != 0 {
			t.Error("it still waits")
		}
	}
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
