package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

const allowAll = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`

// vault hands out one canary credential, against a live permit only.
type vault struct{}

func (vault) Apply(p *gate.Permit, h http.Header) error {
	if err := p.Allows(policy.Tools, "tracker"); err != nil {
		return err
	}
	h.Set("X-Api-Key", "canary-credential")
	return nil
}

func (vault) Env(p *gate.Permit) ([]string, error) {
	if err := p.Allows(policy.Tools, "tracker"); err != nil {
		return nil, err
	}
	return []string{"CREDENTIAL=canary-credential"}, nil
}

// Fixture is a Server named tracker behind a real gate.
type Fixture struct {
	*gatetest.Fixture
	upstream.Server
	Log *Buffer // what it logs

	Changed chan upstream.Change // what it hears, the first hundred
}

// Buffer is a bytes.Buffer for several goroutines.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *Buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *Buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// New makes the Server of cfg, whose gate and name are filled in, by dial, and closes it at the end.
func New[S upstream.Server](t testing.TB, cfg upstream.Config, dial func(upstream.Config) (S, error)) *Fixture {
	t.Helper()
	f := &Fixture{Log: &Buffer{}, Changed: make(chan upstream.Change, 100)}
	f.Fixture = gatetest.New(t, gatetest.Options{Rules: allowAll,
		Upstreams: []gate.Upstream{{Side: policy.Tools, Name: "tracker", URL: cfg.URL, Private: true}}})
	cfg.Gate, cfg.Name, cfg.Version = f.Gate, "tracker", "1.2.3"
	cfg.Log = slog.New(slog.NewTextHandler(f.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Vault == nil {
		cfg.Vault = vault{}
	}
	cfg.Changed = func(c upstream.Change) {
		select {
		case f.Changed <- c:
		default:
		}
	}
	up, err := dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = up
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // no grace: a child that is deaf to its end of input is killed
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Discovered is f when its server is known.
func Discovered(t testing.TB, f *Fixture) (*Fixture, *upstream.Offer) {
	t.Helper()
	o, err := f.Discover(context.Background())
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return f, o
}

// Alice is a principal.
var Alice = &policy.Principal{Key: "alice", KeyID: "k1"}

// Tool is an exchange that calls a tool.
func Tool(name, args string) *upstream.Exchange {
	return &upstream.Exchange{Method: "tools/call", Name: name, Params: fmt.Appendf(nil, `{"name":%q,"arguments":%s}`, name, args),
		Era: upstream.Modern, Version: mcptest.Modern}
}

// As calls x for p through the gate, as the gateway does.
func (f *Fixture) As(ctx context.Context, p *policy.Principal, x *upstream.Exchange) (*upstream.Answer, error) {
	call := policy.Call{Principal: p, Action: policy.ToolCall, Upstream: "tracker", Target: x.Name,
		Tool: &policy.Tool{Server: "tracker", Name: x.Name, Kind: "tool"}}
	var a *upstream.Answer
	err := f.Gate.Do(ctx, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		y := *x
		y.Permit = permit
		var err error
		a, err = f.Server.Call(ctx, &y)
		if err == nil {
			permit.Done(ledger.OK, 0, "")
		}
		return err
	})
	return a, err
}

// Answer is As for Alice; it must not fail.
func (f *Fixture) Answer(t testing.TB, x *upstream.Exchange) *upstream.Answer {
	t.Helper()
	a, err := f.As(context.Background(), Alice, x)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return a
}

// WantFault calls x and wants a fault of that kind whose text tells nothing it should not.
func (f *Fixture) WantFault(t testing.TB, x *upstream.Exchange, kind upstream.FaultKind) *upstream.Fault {
	t.Helper()
	_, err := f.As(context.Background(), Alice, x)
	return WantFault(t, err, kind)
}

// WantFault wants err to be a fault of that kind whose text tells nothing it should not.
func WantFault(t testing.TB, err error, kind upstream.FaultKind) *upstream.Fault {
	t.Helper()
	var fault *upstream.Fault
	if !errors.As(err, &fault) || fault.Kind != kind {
		t.Fatalf("got %v, want a fault of kind %s", err, kind)
	}
	for _, leak := range []string{"127.0.0.1", "canary", "secrets", "html", "goroutine"} {
		if strings.Contains(fault.Text, leak) {
			t.Errorf("the fault tells %q: %s", leak, fault.Text)
		}
	}
	if !strings.HasPrefix(fault.Text, "server tracker ") {
		t.Errorf("the fault does not name its server: %s", fault.Text)
	}
	return fault
}

// Notified collects notifications.
type Notified struct{ Got []string }

// Take takes one.
func (n *Notified) Take(method string, params []byte) {
	n.Got = append(n.Got, method+" "+string(params))
}

// NoLeaks fails if goroutines are left that were not there when it was called.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); { // the last steps of a goroutine come after what it announces
			if runtime.NumGoroutine() <= before {
				return
			}
			runtime.Gosched()
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}
