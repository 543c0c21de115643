package gate_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// rules allow the tools of srv that begin with "ok" and the models of gpu; what is not named is hidden.
const rules = `
version: 1
rules:
  - {id: tools, effect: allow, tools: ["srv/ok*", "other/*"]}
  - {id: args, effect: deny, tools: ["srv/ok_guarded"], if: args.danger == true, message: "danger is off"}
  - {id: models, effect: allow, models: ["gpu/*"]}
`

// upstream counts the requests that reach it.
type upstream struct {
	*httptest.Server
	seen atomic.Int32
}

func newUpstream(t *testing.T, h http.HandlerFunc) *upstream {
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.seen.Add(1)
		if h != nil {
			h(w, r)
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) as(name string) gate.Upstream {
	parsed, _ := url.Parse(u.URL)
	return gate.Upstream{Side: policy.Tools, Name: name, URL: parsed, Private: true}
}

var alice = &policy.Principal{Customer: "acme", Team: "eng", Key: "alice", KeyID: "k-alice"}

func tool(name string) policy.Call {
	return policy.Call{Principal: alice, Action: policy.ToolCall, Upstream: "srv", Target: name,
		Tool: &policy.Tool{Server: "srv", Name: name, Kind: "tool"}, Args: []byte(`{"danger":false}`)}
}

// get is what a carrier does under a permit.
func get(g *gate.Gate, url string) func(context.Context, *gate.Permit) error {
	return func(ctx context.Context, p *gate.Permit) error {
		req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("{}"))
		if err != nil {
			return err
		}
		resp, err := g.RoundTrip(p, req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err != nil {
			return err
		}
		p.Done(ledger.OK, resp.StatusCode, "")
		return nil
	}
}

func TestAllowedCallReachesItsUpstreamAndIsPosted(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	hold := ledger.Hold{Cost: 5, Worst: 5}
	if err := f.Gate.Do(t.Context(), tool("ok_a"), hold, get(f.Gate, up.URL)); err != nil {
		t.Fatal(err)
	}
	if up.seen.Load() != 1 {
		t.Errorf("the upstream saw %d requests", up.seen.Load())
	}
	f.WantEntries(t, "reserved tool.call srv ok_a tools", "posted ok cost 5")
}

func TestDeniedToolIsNeverDialed(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	for _, tt := range []struct {
		name   string
		call   policy.Call
		hidden bool
		text   string
	}{
		{"no rule allows it", tool("secret"), true, ""},
		{"a rule on its arguments denies it", func() policy.Call { c := tool("ok_guarded"); c.Args = []byte(`{"danger":true}`); return c }(), false, "danger is off"},
		{"an argument the rule needs is missing", func() policy.Call { c := tool("ok_guarded"); c.Args = []byte(`{}`); return c }(), false, "args.danger is missing"},
		{"nobody asks", func() policy.Call { c := tool("ok_a"); c.Principal = nil; return c }(), false, "no principal"},
	} {
		err := f.Gate.Do(t.Context(), tt.call, ledger.Hold{}, func(context.Context, *gate.Permit) error {
			t.Errorf("%s: it ran", tt.name)
			return nil
		})
		var denied *gate.DeniedError
		if !errors.As(err, &denied) || denied.Hidden != tt.hidden || !strings.Contains(denied.Error(), tt.text) {
			t.Errorf("%s: %v (%+v)", tt.name, err, denied)
		}
	}
	if up.seen.Load() != 0 {
		t.Error("the upstream was reached")
	}
	f.WantEntries(t, "denied tool.call srv secret", "denied tool.call srv ok_guarded args", "denied tool.call srv ok_guarded args", "denied tool.call srv ok_a")
}

func TestWithoutPolicyNothingMayBeCalled(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Upstreams: []gate.Upstream{up.as("srv")}})
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, get(f.Gate, up.URL))
	var denied *gate.DeniedError
	if !errors.As(err, &denied) || up.seen.Load() != 0 {
		t.Fatalf("%v, %d requests", err, up.seen.Load())
	}
}

func TestOverLimitIsNeverDialed(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")},
		Limits: map[ledger.Scope][]string{{Level: ledger.KeyLevel, Name: "k-alice"}: {"2 calls / 1h"}}})
	for range 2 {
		if err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, get(f.Gate, up.URL)); err != nil {
			t.Fatal(err)
		}
	}
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, get(f.Gate, up.URL))
	var limit *ledger.LimitError
	if !errors.As(err, &limit) || limit.RetryAfter <= 0 {
		t.Errorf("third call: %v", err)
	}
	if up.seen.Load() != 2 {
		t.Errorf("the upstream saw %d requests", up.seen.Load())
	}
	f.WantLast(t, "denied tool.call srv ok_a tools")
}

func TestLedgerThatCannotWriteStopsTheCall(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	f.CloseLedger(t)
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, get(f.Gate, up.URL))
	if !errors.Is(err, ledger.ErrUnwritable) {
		t.Errorf("got %v", err)
	}
	if up.seen.Load() != 0 {
		t.Error("the call was made without an entry")
	}
}

func TestLeakedPermitIsDead(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	var leaked *gate.Permit
	var client *http.Client
	var body io.ReadCloser
	var ctx context.Context
	var conn *gate.Conn
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, func(c context.Context, p *gate.Permit) error {
		leaked, client, ctx = p, f.Gate.Client(p), c
		conn = f.Gate.Conn(p, func([]byte) error { t.Error("a dead permit wrote"); return nil })
		resp, err := client.Get(up.URL)
		if err != nil {
			return err
		}
		body = resp.Body
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := client.Get(up.URL); !errors.Is(err, gate.ErrNoPermit) {
		t.Errorf("the client of a dead permit: %v", err)
	}
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, gate.ErrNoPermit) {
		t.Errorf("a body read under a dead permit: %v", err)
	}
	if err := leaked.Charge(ledger.Usage{Cost: 1}); !errors.Is(err, gate.ErrNoPermit) {
		t.Errorf("a charge under a dead permit: %v", err)
	}
	if err := leaked.Allows(policy.Tools, "srv"); !errors.Is(err, gate.ErrNoPermit) {
		t.Errorf("a credential for a dead permit: %v", err)
	}
	if err := conn.Send(leaked, nil); !errors.Is(err, gate.ErrNoPermit) {
		t.Errorf("a message under a dead permit: %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the context of a dead permit is not cancelled")
	}
	if up.seen.Load() != 1 {
		t.Errorf("the upstream saw %d requests", up.seen.Load())
	}
}

func TestForgedPermitOpensNothing(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	for name, p := range map[string]*gate.Permit{"none": nil, "empty": {}} {
		req, _ := http.NewRequest("POST", up.URL, nil)
		if _, err := f.Gate.RoundTrip(p, req); !errors.Is(err, gate.ErrNoPermit) {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Allows(policy.Tools, "srv"); !errors.Is(err, gate.ErrNoPermit) {
			t.Errorf("%s: a credential: %v", name, err)
		}
	}
	if up.seen.Load() != 0 {
		t.Error("the upstream was reached")
	}
}

func TestPermitIsForOneUpstreamOnly(t *testing.T) {
	srv, other := newUpstream(t, nil), newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{srv.as("srv"), other.as("other")}})
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
		for name, req := range map[string]*http.Request{
			"another upstream":  request(ctx, other.URL, ""),
			"another scheme":    request(ctx, strings.Replace(srv.URL, "http:", "https:", 1), ""),
			"another Host":      request(ctx, srv.URL, "other.example"),
			"a user in the URL": request(ctx, strings.Replace(srv.URL, "http://", "http://u:p@", 1), ""),
		} {
			if _, err := f.Gate.RoundTrip(p, req); !errors.Is(err, gate.ErrNoPermit) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, tt := range []struct {
			side policy.Side
			name string
			ok   bool
		}{{policy.Tools, "srv", true}, {policy.Tools, "other", false}, {policy.Models, "srv", false}, {policy.Local, "", false}} {
			if err := p.Allows(tt.side, tt.name); (err == nil) != tt.ok {
				t.Errorf("a credential of %v %s: %v", tt.side, tt.name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if srv.seen.Load()+other.seen.Load() != 0 {
		t.Error("an upstream was reached")
	}
}

func request(ctx context.Context, url, host string) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("{}"))
	if host != "" {
		req.Host = host
	}
	return req
}

func TestRedirectIsNotFollowed(t *testing.T) {
	other := newUpstream(t, nil)
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv"), other.as("other")}})
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
		resp, err := f.Gate.Client(p).Get(up.URL)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusFound {
			t.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	if err != nil || other.seen.Load() != 0 {
		t.Errorf("%v; the target saw %d requests", err, other.seen.Load())
	}
}

// TestAgainDecidesAndReservesNothing: a call that has waited is decided by the rules of now, and only a refusal is written
// down.
func TestAgainDecidesAndReservesNothing(t *testing.T) {
	f := gatetest.New(t, gatetest.Options{
		Rules: rules, Limits: map[ledger.Scope][]string{{Level: ledger.KeyLevel, Name: "k-alice"}: {"1 calls / 1d"}},
	})
	for range 3 {
		if err := f.Gate.Again(t.Context(), tool("ok_guarded")); err != nil {
			t.Error(err)
		}
	}
	danger := tool("ok_guarded")
	danger.Args = []byte(`{"danger":true}`)
	var denied *gate.DeniedError
	if err := f.Gate.Again(t.Context(), danger); !errors.As(err, &denied) || denied.Hidden || !strings.Contains(denied.Message, "danger is off") {
		t.Errorf("%v", err)
	}
	if err := f.Gate.Again(t.Context(), tool("secret")); !errors.As(err, &denied) || !denied.Hidden {
		t.Errorf("%v", err)
	}
	f.WantEntries(t, "denied tool.call srv ok_guarded args", "denied tool.call srv secret")
}
