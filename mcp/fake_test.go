package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// script is a server made of answers, as JSON in a transcript.
type script struct {
	Era          upstream.Era
	Instructions string
	Capabilities json.RawMessage
	Tools        []json.RawMessage
	Resources    []json.RawMessage
	Templates    []json.RawMessage
	Prompts      []json.RawMessage
	Faults       map[string]string
	Takes        time.Duration     // Discover does
	Down         string            // Discover fails with this text
	Answers      map[string]answer // by "method name"
}

type answer struct {
	Asks   [][2]json.RawMessage // method and params of what the server asks first, one after the other
	Notify [][2]json.RawMessage // method and params, before the answer
	Result json.RawMessage
	Error  json.RawMessage
	Fault  *upstream.Fault
	Hang   bool     // until the call is cancelled
	Then   []answer // to the same request when it comes again; the last one stays
}

// fake is an upstream.Server that plays a script and writes down what reached it.
type fake struct {
	cfg upstream.Config

	mu     sync.Mutex
	script script
	got    []string
	traces []string // trace ids of the calls
	turns  map[string]int
	closed bool
	looks  int           // calls of Discover
	gone   int           // hanging calls that were cancelled
	called chan struct{} // gets a value when a hanging call begins

	play  func(context.Context, *upstream.Exchange) (*upstream.Answer, error) // nil: the script is played
	watch func(context.Context) error                                         // of subscriptions; nil: there are none
}

func (f *fake) Discover(ctx context.Context) (*upstream.Offer, error) {
	f.mu.Lock()
	takes := f.script.Takes
	f.looks++
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.script
	if s.Down != "" {
		return nil, &upstream.Fault{Kind: upstream.Unreachable, Text: s.Down}
	}
	raw := func(in []json.RawMessage) (out [][]byte) {
		for _, r := range in {
			out = append(out, r)
		}
		return out
	}
	era := s.Era
	if era == "" {
		era = upstream.Modern
	}
	return &upstream.Offer{
		Era: era, Version: "2026-07-28", Capabilities: s.Capabilities, Instructions: s.Instructions, Faults: s.Faults,
		Tools: raw(s.Tools), Resources: raw(s.Resources), Templates: raw(s.Templates), Prompts: raw(s.Prompts),
	}, nil
}

// looked is how often the server was asked for its lists.
func (f *fake) looked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}

func (f *fake) Counts() upstream.Counts { return upstream.Counts{} }

func (f *fake) Ping(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.script.Down != "" {
		return &upstream.Fault{Kind: upstream.Gone, Text: f.script.Down}
	}
	return nil
}

// set changes the script and says that something changed.
func (f *fake) set(s script) {
	f.mu.Lock()
	f.script = s
	f.mu.Unlock()
	f.cfg.Changed(upstream.ToolsChanged)
}

func (f *fake) Call(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
	if err := x.Permit.Allows(policy.Tools, f.cfg.Name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	a, ok := f.script.Answers[x.Method+" "+x.Name]
	if turn := f.turns[x.Method+" "+x.Name]; turn > 0 && a.Then != nil {
		a = a.Then[min(turn, len(a.Then))-1]
	}
	f.turns[x.Method+" "+x.Name]++
	line := fmt.Sprintf("%s %s %s meta=%s token=%s level=%s", f.cfg.Name, x.Method, x.Params, x.Meta, x.ProgressToken, x.LogLevel)
	if x.Tasks {
		line += " tasks"
	}
	f.got = append(f.got, line)
	f.traces = append(f.traces, x.Permit.Call().TraceID)
	play := f.play
	f.mu.Unlock()
	x.Permit.Sent()
	if play != nil {
		return play(ctx, x)
	}
	for _, q := range a.Asks {
		var method string
		_ = json.Unmarshal(q[0], &method)
		f.heard(method, f.ask(ctx, x, method, q[1]))
	}
	if x.Notify != nil {
		for _, n := range a.Notify {
			var method string
			_ = json.Unmarshal(n[0], &method)
			x.Notify(method, n[1])
		}
	}
	switch {
	case a.Hang:
		select {
		case f.called <- struct{}{}:
		default:
		}
		<-ctx.Done()
		f.mu.Lock()
		f.gone++
		f.mu.Unlock()
		return nil, ctx.Err()
	case a.Fault != nil:
		return nil, a.Fault
	case a.Error != nil:
		var e struct{ Code int }
		_ = json.Unmarshal(a.Error, &e)
		return &upstream.Answer{Error: &upstream.RPCError{Code: e.Code, Raw: a.Error}}, nil
	case !ok:
		return nil, &upstream.Fault{Kind: upstream.Garbage, Text: "no answer is scripted for this"}
	}
	return &upstream.Answer{Result: a.Result}, nil
}

// ask asks the caller of x, if it can be asked.
func (f *fake) ask(ctx context.Context, x *upstream.Exchange, method string, params []byte) *upstream.Answer {
	if x.Ask == nil {
		return &upstream.Answer{Error: upstream.NewError(-32601, "nobody to ask")}
	}
	return x.Ask(ctx, method, params)
}

// heard writes down an answer of the caller's.
func (f *fake) heard(method string, a *upstream.Answer) {
	said := a.Result
	if a.Error != nil {
		said = a.Error.Raw
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, fmt.Sprintf("%s hears %s %s", f.cfg.Name, method, said))
}

func (f *fake) Subscribe(ctx context.Context, _ *upstream.Exchange, _ func([]byte)) (func(), *upstream.Answer, error) {
	if f.watch != nil {
		return nil, nil, f.watch(ctx)
	}
	return nil, &upstream.Answer{Error: &upstream.RPCError{Code: -32601, Raw: []byte(`{"code":-32601,"message":"no subscriptions"}`)}}, nil
}

func (f *fake) Tell(string, string, []byte) {}

func (f *fake) Leave(string) {}

func (f *fake) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// took returns what reached the server since the last time it was asked.
func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	f.got = nil
	return got
}

// people authenticates by name: Authorization: Bearer alice is alice.
type people struct {
	mu  sync.Mutex
	all map[string]*policy.Principal
}

func (p *people) Authenticate(r *http.Request) (*policy.Principal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if who := p.all[name]; who != nil {
		return who, nil
	}
	return nil, &oauth.Refusal{Status: http.StatusUnauthorized, Text: "no such key"}
}

func (p *people) revoke(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, name)
}

func crowd(names ...string) *people {
	p := &people{all: map[string]*policy.Principal{}}
	for _, n := range names {
		p.all[n] = &policy.Principal{Key: n, KeyID: "id-" + n, Team: "team"}
	}
	return p
}

// world is a gateway on scripted servers, a real gate and a real ledger.
type world struct {
	*Gateway
	gate   *gatetest.Fixture
	people *people
	fakes  map[string]*fake

	upstreams []gate.Upstream
}

// newWorld makes a world. prepare may change the servers and the rest of the config.
func newWorld(t testing.TB, o gatetest.Options, scripts map[string]script, prepare func(*Config)) *world {
	t.Helper()
	w := &world{people: crowd("alice", "bob"), fakes: map[string]*fake{}}
	cfg := Config{Auth: w.people, Version: "1.2.3"}
	for name := range scripts {
		cfg.Servers = append(cfg.Servers, Server{Name: name, Command: []string{"fake"}})
	}
	if prepare != nil {
		prepare(&cfg)
	}
	if o.Upstreams == nil {
		o.Upstreams = Upstreams(cfg.Servers)
	}
	// Not reached by HTTP: the fake carries the call itself.
	for i := range o.Upstreams {
		o.Upstreams[i].URL = nil
	}
	w.upstreams = o.Upstreams
	w.gate = gatetest.New(t, o)
	cfg.Gate = w.gate.Gate
	g, err := newGateway(cfg, func(c upstream.Config) (upstream.Server, error) {
		s, ok := scripts[c.Name]
		if !ok {
			return nil, errors.New("no script for " + c.Name)
		}
		w.fakes[c.Name] = &fake{cfg: c, script: s, turns: map[string]int{}, called: make(chan struct{}, 1)}
		return w.fakes[c.Name], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Gateway = g
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}
