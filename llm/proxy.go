package llm

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/usage"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// Proxy is the model side of the gateway. All methods are safe for concurrent use.
type Proxy struct {
	gate    *gate.Gate
	auth    Auth
	vault   Vault
	edge    *edge.Guard
	limits  Limits
	log     *slog.Logger
	version string
	now     func() time.Time
	formats dialect.Set

	table   atomic.Pointer[table]
	reload  sync.Mutex // one Reload at a time
	rests   rests
	clients clients
	kept    kept
	history *usage.History
	drains  drains
	running running
}

// New makes a Proxy. It refuses a Config that lacks something required or whose routes do not fit together.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Proxy{
		gate: cfg.Gate, auth: cfg.Auth, vault: cfg.Vault, edge: cfg.Edge, limits: cfg.Limits.withDefaults(),
		log: cfg.Log, version: cfg.Version, now: cfg.Now, formats: dialect.New(), history: usage.NewHistory(),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.drains.stopped = make(chan struct{})
	return p, p.Reload(cfg.Routes)
}

// Reload replaces the routes, all or nothing: on an error the old ones stay. The gate must know the providers' upstreams
// before. Requests under way keep the routes they began with.
func (p *Proxy) Reload(r Routes) error {
	p.reload.Lock()
	defer p.reload.Unlock()
	t, err := compile(r, p.table.Load())
	if err != nil {
		return err
	}
	p.table.Store(t)
	return nil
}

// Close refuses new requests and waits until those under way have ended, answers read on for clients that left among
// them. When ctx ends first it cuts the latter and returns ctx's error; cutting the others is the HTTP server's part.
func (p *Proxy) Close(ctx context.Context) error {
	select {
	case <-p.running.stop():
		p.drains.stop()
		return nil
	case <-ctx.Done():
		p.drains.stop()
		return ctx.Err()
	}
}

// running counts the requests under way. The zero value is ready.
type running struct {
	mu      sync.Mutex
	n       int
	stopped bool
	idle    chan struct{} // closed when stopped and n is 0; made by stop
}

func (r *running) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	r.n++
	return true
}

func (r *running) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 && r.stopped {
		close(r.idle)
	}
}

func (r *running) stop() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.stopped, r.idle = true, make(chan struct{})
		if r.n == 0 {
			close(r.idle)
		}
	}
	return r.idle
}

// ServeHTTP answers the endpoints of Patterns.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := endpointOf(r)
	if !p.running.begin() {
		e.family.Write(w, &dialect.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the gateway is shutting down; try again", RetryAfter: time.Second})
		return
	}
	defer p.running.end()
	r = traced(r)
	if e.hello {
		p.hello(w, r)
		return
	}
	if err := p.misdirected(&e, r); err != nil {
		if err.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", e.method())
		}
		if err.Status == http.StatusUpgradeRequired {
			w.Header().Set("Upgrade", "HTTP/1.1")
			w.Header().Set("Connection", "Upgrade")
		}
		e.family.Write(w, p.turnAway(r, &e, err))
		return
	}
	if e.dialect == vendor.Models {
		p.models(w, r, &e)
		return
	}
	p.serve(w, r, p.formats[e.dialect])
}

// misdirected says why nothing is done at this path with this method, or nil.
func (p *Proxy) misdirected(e *endpoint, r *http.Request) *dialect.Error {
	switch {
	case e.dialect == "":
		return &dialect.Error{Status: http.StatusNotFound, Code: "not_found", Message: "this endpoint is not served; served are " + served}
	case e.dialect == vendor.Responses && r.Method == http.MethodGet:
		// Codex tries a WebSocket first and goes on with POST when it reads this status.
		return &dialect.Error{Status: http.StatusUpgradeRequired, Code: "not_supported", Message: "responses are served by POST, not over a WebSocket"}
	case r.Method != e.method() && !(r.Method == http.MethodHead && e.method() == http.MethodGet):
		return &dialect.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: r.Method + " is not served here; use " + e.method()}
	}
	return nil
}

// turnAway records a request that went astray and returns what it is told: the reason to those who have a key, else that
// they need one.
func (p *Proxy) turnAway(r *http.Request, e *endpoint, reason *dialect.Error) *dialect.Error {
	action := policy.Chat
	if f := p.formats[e.dialect]; f != nil {
		action = f.Action
	} else if e.dialect == vendor.Models {
		action = policy.ModelList
	} else if e.family == dialect.Anthropic {
		action = policy.Messages
	}
	principal, source, err := p.caller(r, action)
	if err != nil {
		return err
	}
	what := r.Method + " " + r.URL.Path
	p.gate.Refuse(r.Context(), policy.Call{Principal: principal, Action: action, Source: source}, "no such endpoint: "+what[:min(len(what), reasonBytesMax)])
	return reason
}

// hello answers Claude Code's question whether anybody is there. It says nothing that the open port does not.
func (p *Proxy) hello(w http.ResponseWriter, r *http.Request) {
	if problem := p.edge.Check(r); problem != nil {
		dialect.Anthropic.Write(w, &dialect.Error{Status: problem.Status, Message: problem.Text})
		return
	}
	if r.Method != http.MethodHead && r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET, HEAD")
		dialect.Anthropic.Write(w, &dialect.Error{Status: http.StatusMethodNotAllowed, Message: r.Method + " is not served here; use GET"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"message":"hello"}`))
}

// traced puts the caller's trace into r's context, so that the call's entry and span join it.
func traced(r *http.Request) *http.Request {
	if len(r.Header["Traceparent"]) == 0 {
		return r
	}
	return r.WithContext(propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
}
