package upstream_test

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
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

func TestMain(m *testing.M) { mcptest.Main(m) }

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

// fixture is a Server named tracker behind a real gate.
type fixture struct {
	*gatetest.Fixture
	upstream.Server
	log *safeBuffer

	mu      sync.Mutex
	changes []upstream.Change
	changed chan upstream.Change
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newFixture makes the Server of cfg, whose gate and name are filled in, and closes it at the end.
func newFixture(t testing.TB, cfg upstream.Config) *fixture {
	t.Helper()
	f := &fixture{log: &safeBuffer{}, changed: make(chan upstream.Change, 100)}
	f.Fixture = gatetest.New(t, gatetest.Options{Rules: allowAll,
		Upstreams: []gate.Upstream{{Side: policy.Tools, Name: "tracker", URL: cfg.URL, Private: true}}})
	cfg.Gate, cfg.Name, cfg.Version = f.Gate, "tracker", "1.2.3"
	cfg.Log = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Vault == nil {
		cfg.Vault = vault{}
	}
	cfg.Changed = func(c upstream.Change) {
		f.mu.Lock()
		f.changes = append(f.changes, c)
		f.mu.Unlock()
		select {
		case f.changed <- c:
		default:
		}
	}
	var err error
	if f.Server, err = upstream.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // no grace: a child that is deaf to its end of input is killed
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// httpFixture is a Server at u, discovered.
func httpFixture(t testing.TB, s *mcptest.Server) (*fixture, *upstream.Offer) {
	t.Helper()
	return discovered(t, newFixture(t, upstream.Config{URL: s.URL}))
}

// stdioFixture is a child with these traits, discovered.
func stdioFixture(t testing.TB, traits ...string) (*fixture, *upstream.Offer) {
	t.Helper()
	return discovered(t, newFixture(t, upstream.Config{Command: mcptest.Command(traits...), Env: quick()}))
}

// quick spares children built with the race detector its second at exit.
func quick() map[string]secret.String {
	return map[string]secret.String{"GORACE": secret.New("atexit_sleep_ms=0")}
}

func discovered(t testing.TB, f *fixture) (*fixture, *upstream.Offer) {
	t.Helper()
	o, err := f.Discover(context.Background())
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return f, o
}

var alice = &policy.Principal{Key: "alice", KeyID: "k1"}

// tool is an exchange that calls a tool.
func tool(name, args string) *upstream.Exchange {
	return &upstream.Exchange{Method: "tools/call", Name: name, Params: fmt.Appendf(nil, `{"name":%q,"arguments":%s}`, name, args),
		Era: upstream.Modern, Version: mcptest.Modern}
}

// as calls x for p through the gate, as the gateway does.
func (f *fixture) as(ctx context.Context, p *policy.Principal, x *upstream.Exchange) (*upstream.Answer, error) {
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

// call is as for alice; it must not fail.
func (f *fixture) call(t testing.TB, x *upstream.Exchange) *upstream.Answer {
	t.Helper()
	a, err := f.as(context.Background(), alice, x)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return a
}

// wantFault calls x and wants a fault of that kind whose text tells nothing it should not.
func (f *fixture) wantFault(t testing.TB, x *upstream.Exchange, kind upstream.FaultKind) *upstream.Fault {
	t.Helper()
	_, err := f.as(context.Background(), alice, x)
	return wantFault(t, err, kind)
}

func wantFault(t testing.TB, err error, kind upstream.FaultKind) *upstream.Fault {
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

// notified collects notifications.
type notified struct{ got []string }

func (n *notified) take(method string, params []byte) {
	n.got = append(n.got, method+" "+string(params))
}

// noLeaks fails if goroutines are left that were not there when it was called.
func noLeaks(t *testing.T) {
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
