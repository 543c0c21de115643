package gate_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// Every way a call can end has one settlement; gatetest checks that there is exactly one.
func TestHowACallIsSettled(t *testing.T) {
	hold := ledger.Hold{Cost: 100, Worst: 100, Tokens: 10, WorstTokens: 10}
	used := ledger.Usage{Cost: 7, Quantities: ledger.Quantities{InputTokens: 3}}
	for _, tt := range []struct {
		name string
		fn   func(p *gate.Permit) error
		want string
	}{
		{"nothing was sent", func(*gate.Permit) error { return nil }, "voided unsent cost 0"},
		{"nothing was sent and it says why", func(p *gate.Permit) error { p.Done(ledger.Failed, 0, "bad"); return nil }, "voided upstream_error cost 0"},
		{"a whole answer", func(p *gate.Permit) error {
			p.Sent()
			_ = p.Charge(used)
			p.Done(ledger.OK, 200, "")
			return nil
		}, "posted ok cost 7"},
		{"a whole answer, nothing charged", func(p *gate.Permit) error { p.Sent(); p.Done(ledger.OK, 200, ""); return nil }, "posted ok cost 100 estimated"},
		{"an error result of a tool", func(p *gate.Permit) error {
			p.Sent()
			_ = p.Charge(used)
			p.Done(ledger.ToolError, 0, "")
			return nil
		}, "posted tool_error cost 7"},
		{"a whole error", func(p *gate.Permit) error {
			p.Sent()
			_ = p.Charge(used)
			p.Done(ledger.Failed, 500, "")
			return nil
		}, "posted upstream_error cost 0"},
		{"sent, no answer", func(p *gate.Permit) error { p.Sent(); return errors.New("gone") }, "posted cut cost 100 estimated"},
		{"sent, part of an answer", func(p *gate.Permit) error { p.Sent(); return p.Charge(used) }, "posted cut cost 7 estimated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, nil)
			f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
			_ = f.Gate.Do(t.Context(), tool("ok_a"), hold, func(_ context.Context, p *gate.Permit) error { return tt.fn(p) })
			f.WantLast(t, tt.want)
		})
	}
}

func TestPanicIsSettled(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{Cost: 9}, func(_ context.Context, p *gate.Permit) error {
			p.Sent()
			panic("bug")
		})
	}()
	f.WantLast(t, "posted cut cost 9 estimated")
}

func TestClientThatLeavesIsSettledAndItsUpstreamCancelled(t *testing.T) {
	cancelled := make(chan struct{})
	started := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
		close(cancelled)
	})
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-started; leave() }()
	err := f.Gate.Do(ctx, tool("ok_a"), ledger.Hold{Cost: 9}, get(f.Gate, up.URL))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-cancelled
	f.WantLast(t, "posted cut cost 9 estimated")
}

func TestUnreachableUpstreamIsVoidedAndNamesNoAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead, _ := url.Parse("http://" + ln.Addr().String())
	ln.Close()
	for name, u := range map[string]gate.Upstream{
		"nobody listens":    {Side: policy.Tools, Name: "srv", URL: dead, Private: true},
		"private, unlisted": {Side: policy.Tools, Name: "srv", URL: dead},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" "+method, func(t *testing.T) {
				f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{u}})
				err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{Cost: 9}, func(ctx context.Context, p *gate.Permit) error {
					var body io.Reader
					if method == "POST" {
						body = strings.NewReader("{}")
					}
					req, _ := http.NewRequestWithContext(ctx, method, dead.String(), body)
					_, err := f.Gate.RoundTrip(p, req)
					return err
				})
				if !errors.Is(err, gate.ErrUnreachable) || strings.Contains(err.Error(), dead.Port()) {
					t.Errorf("got %v", err)
				}
				f.WantLast(t, "voided unsent cost 0")
			})
		}
	}
}

func TestChargePastTheHoldReservesMoreUntilTheLimit(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")},
		Limits: map[ledger.Scope][]string{{Level: ledger.KeyLevel, Name: "k-alice"}: {"0.000001 USD / 1d"}}}) // 1000 nano-USD
	var errs [3]error
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{Cost: 400, Worst: 400}, func(_ context.Context, p *gate.Permit) error {
		p.Sent()
		errs[0] = p.Charge(ledger.Usage{Cost: 300})
		errs[1] = p.Charge(ledger.Usage{Cost: 950})
		errs[2] = p.Charge(ledger.Usage{Cost: 1200})
		return errs[2]
	})
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], gate.ErrSpent) || !errors.Is(err, gate.ErrSpent) {
		t.Errorf("charges: %v", errs)
	}
	f.WantLast(t, "posted cut cost 1200 estimated")
	if err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{Cost: 1, Worst: 1}, get(f.Gate, up.URL)); err == nil {
		t.Error("a call after the limit was passed")
	}
}

// What is not known is posted as it was held: in full where a hard limit holds the worst case.
func TestUnknownCostUnderAHardLimitIsTheWorstCase(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")},
		Limits: map[ledger.Scope][]string{{Level: ledger.KeyLevel, Name: "k-alice"}: {"1 USD / 1d hard"}}})
	hold := ledger.Hold{Cost: 100, Worst: 900, Tokens: 10, WorstTokens: 90}
	_ = f.Gate.Do(t.Context(), tool("ok_a"), hold, func(_ context.Context, p *gate.Permit) error { p.Sent(); return nil })
	f.WantLast(t, "posted cut cost 900 estimated")
}

func TestChildActsAsItsParent(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules + `
  - {id: scripts, effect: allow, tools: ["codemode/execute"]}
`, Upstreams: []gate.Upstream{up.as("srv")}})
	script := policy.Call{Principal: alice, Action: policy.ScriptRun, Target: "execute", Tool: &policy.Tool{Server: "codemode", Name: "execute", Kind: "tool"}}
	err := f.Gate.Do(t.Context(), script, ledger.Hold{}, func(ctx context.Context, outer *gate.Permit) error {
		req, _ := http.NewRequestWithContext(ctx, "POST", up.URL, nil)
		if _, err := f.Gate.RoundTrip(outer, req); !errors.Is(err, gate.ErrNoPermit) {
			t.Errorf("a script's own permit reached the network: %v", err)
		}
		if err := outer.Allows(policy.Tools, "srv"); !errors.Is(err, gate.ErrNoPermit) {
			t.Errorf("a script's own permit got a credential: %v", err)
		}
		inner := tool("ok_a")
		inner.Principal = &policy.Principal{Key: "mallory", KeyID: "k-mallory"}
		if err := f.Gate.Do(ctx, inner, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
			if got := p.Call(); got.Principal != alice || got.Parent != outer.Call().ID {
				t.Errorf("the child is %+v under %q", got.Principal, got.Parent)
			}
			return get(f.Gate, up.URL)(ctx, p)
		}); err != nil {
			t.Errorf("the inner call: %v", err)
		}
		var denied *gate.DeniedError
		if err := f.Gate.Do(ctx, tool("secret"), ledger.Hold{}, get(f.Gate, up.URL)); !errors.As(err, &denied) {
			t.Errorf("a denied inner call: %v", err)
		}
		if err := f.Gate.Do(ctx, script, ledger.Hold{}, func(context.Context, *gate.Permit) error { return nil }); !errors.As(err, &denied) {
			t.Errorf("a script in a script: %v", err)
		}
		outer.Done(ledger.OK, 0, "")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if up.seen.Load() != 1 {
		t.Errorf("the upstream saw %d requests", up.seen.Load())
	}
}

func TestOwnActionHasItsOwnPrincipalAndAnEntry(t *testing.T) {
	up := newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, func(ctx context.Context, _ *gate.Permit) error {
		open := policy.Call{Action: policy.SessionOpen, Upstream: "srv", Principal: alice}
		return f.Gate.Do(ctx, open, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
			if got := p.Call(); got.Principal == alice || got.Principal.Key != "tollgate" || got.OnBehalf != "alice" {
				t.Errorf("principal %+v on behalf of %q", got.Principal, got.OnBehalf)
			}
			return get(f.Gate, up.URL)(ctx, p)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	f.WantEntries(t, "reserved tool.call srv ok_a tools", "reserved session.open srv", "posted ok", "voided unsent")
}

func TestMessageOnAConnectionTakesAPermitOfItsOwnCall(t *testing.T) {
	srv, other := newUpstream(t, nil), newUpstream(t, nil)
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{srv.as("srv"), other.as("other")}})
	var wrote []string
	err := f.Gate.Do(t.Context(), policy.Call{Action: policy.SessionOpen, Upstream: "srv"}, ledger.Hold{}, func(ctx context.Context, open *gate.Permit) error {
		conn := f.Gate.Conn(open, func(b []byte) error { wrote = append(wrote, string(b)); return nil })
		open.Sent()
		open.Done(ledger.OK, 0, "")
		if err := f.Gate.Do(ctx, tool("ok_a"), ledger.Hold{Cost: 3}, func(_ context.Context, p *gate.Permit) error { return conn.Send(p, []byte("one")) }); err != nil {
			t.Error(err)
		}
		elsewhere := tool("x")
		elsewhere.Upstream, elsewhere.Tool = "other", &policy.Tool{Server: "other", Name: "x", Kind: "tool"}
		if err := f.Gate.Do(ctx, elsewhere, ledger.Hold{}, func(_ context.Context, p *gate.Permit) error { return conn.Send(p, []byte("two")) }); !errors.Is(err, gate.ErrNoPermit) {
			t.Errorf("a permit for another upstream: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(wrote) != 1 || wrote[0] != "one" {
		t.Errorf("written: %q", wrote)
	}
	f.WantEntry(t, "posted cut cost 3 estimated")
}

func TestReloadKeepsUnchangedConnectionsAndRefusesWhole(t *testing.T) {
	conns := map[string]bool{}
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conns[r.RemoteAddr] = true
	})
	f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
	call := func() error { return f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, get(f.Gate, up.URL)) }
	if err := call(); err != nil {
		t.Fatal(err)
	}
	if err := f.Gate.Reload(f.Gate.Policy(), []gate.Upstream{up.as("srv"), {Side: policy.Tools, Name: "pipe"}}); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	if len(conns) != 1 {
		t.Errorf("%d connections: the pool was not kept", len(conns))
	}
	bad, _ := url.Parse("ftp://x")
	if err := f.Gate.Reload(policy.None(), []gate.Upstream{{Side: policy.Tools, Name: "srv", URL: bad}}); err == nil {
		t.Error("an upstream that cannot be reached was accepted")
	}
	if err := call(); err != nil {
		t.Errorf("after a refused reload: %v", err)
	}
	if err := f.Gate.Reload(f.Gate.Policy(), nil); err != nil {
		t.Fatal(err)
	}
	if err := call(); !errors.Is(err, gate.ErrUnknownUpstream) {
		t.Errorf("an upstream that is gone: %v", err)
	}
}

func TestRefusedRequestsAreRecorded(t *testing.T) {
	f := gatetest.New(t, gatetest.Options{Rules: rules})
	f.Gate.Refuse(t.Context(), policy.Call{Principal: alice, Action: policy.Chat, Target: "nosuch"}, "unknown model")
	f.Gate.Refuse(t.Context(), policy.Call{Action: policy.Chat, Source: "203.0.113.9"}, "no key")
	f.Gate.Refuse(t.Context(), policy.Call{Action: policy.Chat, Source: "203.0.113.9"}, "no key")
	f.WantEntry(t, "denied llm.chat nosuch")
}

// A connection that was used before breaks after the request has left. Requests that their clients mark as repeatable are
// not repeated either: the upstream would do work that nobody reserved.
func TestARequestThatHasLeftIsNeverSentAgain(t *testing.T) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		t.Run(name, func(t *testing.T) {
			marked := make(chan string, 8)
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				if mark := r.Header.Get(name); mark != "" {
					marked <- mark
					panic(http.ErrAbortHandler)
				}
			})
			f := gatetest.New(t, gatetest.Options{Rules: rules, Upstreams: []gate.Upstream{up.as("srv")}})
			if err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{}, get(f.Gate, up.URL)); err != nil {
				t.Fatal(err) // now there is a connection that was used
			}
			err := f.Gate.Do(t.Context(), tool("ok_a"), ledger.Hold{Cost: 9}, func(ctx context.Context, p *gate.Permit) error {
				req, err := http.NewRequestWithContext(ctx, "POST", up.URL, strings.NewReader("{}"))
				if err != nil {
					return err
				}
				req.Header.Set(name, "mark")
				_, err = f.Gate.RoundTrip(p, req)
				return err
			})
			if err == nil || len(marked) != 1 || <-marked != "mark" {
				t.Errorf("the upstream got it %d times more; the end was %v", len(marked), err)
			}
			f.WantLast(t, "posted cut cost 9 estimated")
		})
	}
}
