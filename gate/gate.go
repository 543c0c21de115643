package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// DeniedError is a refusal by policy. Hidden means: answer exactly as for an unknown name.
type DeniedError struct {
	Rules   []string
	Message string
	Hidden  bool
	Approve bool // an approve rule matched and nobody approved
}

func (e *DeniedError) Error() string {
	if e.Message != "" {
		return "denied: " + e.Message
	}
	return fmt.Sprintf("denied by %s", strings.Join(e.Rules, ", "))
}

var (
	// ErrNoPermit means a credential, connection or transport was asked for without a live permit for that upstream.
	ErrNoPermit = errors.New("gate: no live permit for this upstream")
	// ErrSpent means the call has used up what its limits leave: cut it now.
	ErrSpent = errors.New("gate: limits are used up")
	// ErrUnknownUpstream means the config names no such upstream.
	ErrUnknownUpstream = errors.New("gate: unknown upstream")
)

// Upstream is one destination that calls can be made to. URL nil means it is not reached by HTTP (stdio, local).
type Upstream struct {
	Side        policy.Side
	Name        string
	URL         *url.URL      // requests of a permit may go to this scheme, host and port only
	Private     bool          // the address was written by the operator and may be private
	Connect     time.Duration // 0: 5 s
	FirstByte   time.Duration // until the response header; 0: 10 min
	ConnsMax    int           // 0: 256
	DialAddress string        // tests and unix sockets only: dial this instead
}

// Config makes a gate. Ledger is required; Policy nil denies everything.
type Config struct {
	Ledger    *ledger.Ledger
	Policy    *policy.Set
	Upstreams []Upstream
	Log       *slog.Logger
	Tracer    trace.Tracer // nil: no spans. Do starts one span per call, with the gen_ai.* or mcp.* attributes
	Meter     metric.Meter // nil: no metrics. Do counts calls, durations, tokens, cost and refusals
	Now       func() time.Time
}

// Gate is the one door. All methods are safe for concurrent use.
type Gate struct{}

// New makes a gate; it refuses a Config without a ledger.
func New(cfg Config) (*Gate, error) { return nil, errors.New("gate: not built yet") }

// Reload replaces policy and upstreams whole; pools of unchanged upstreams are kept, others drain.
func (g *Gate) Reload(set *policy.Set, upstreams []Upstream) error { return nil }

// Policy returns the set in force.
func (g *Gate) Policy() *policy.Set { return policy.None() }

// Visible is the list-time decision for the call's tool or model: comfort, not the wall.
func (g *Gate) Visible(c *policy.Call) bool { return g.Policy().Visible(c) }

// Refuse records a request that was turned away before it could become a call: bad JSON, an unknown model, no valid key.
// It appends a denied entry; those without a principal add up to one per minute and source. It never waits for the disk.
func (g *Gate) Refuse(ctx context.Context, call policy.Call, reason string) {}

// Do decides, reserves, runs fn with a permit and settles, exactly once, also when fn panics. Errors before fn:
// *DeniedError, *ledger.LimitError, ledger.ErrUnwritable, ErrUnknownUpstream. Otherwise fn's own.
// A call made under another permit's ctx takes that permit's principal and records its id as parent.
// An own action (policy.Action.Own) skips policy and limits and has the gateway's own principal.
func (g *Gate) Do(ctx context.Context, call policy.Call, hold ledger.Hold, fn func(context.Context, *Permit) error) error {
	return ErrNoPermit
}

// Permit is one admitted call. It dies when Do returns. Its methods are safe for concurrent use.
type Permit struct{}

// Call is what was decided: the tool, model and arguments that are sent are read from here.
func (p *Permit) Call() *policy.Call { return nil }

// Live reports whether the call is still running.
func (p *Permit) Live() bool { return false }

// Allows reports whether p is live and for the named upstream; a vault asks it before it hands out a credential.
func (p *Permit) Allows(side policy.Side, upstream string) error { return ErrNoPermit }

// Sent marks that something left the process, so that the call can no longer be voided. Client and Conn do it themselves.
func (p *Permit) Sent() {}

// Synced waits until the reservation is on disk; an answer may not be shown before. Client waits by itself before it
// returns a response; carriers that are not HTTP call it.
func (p *Permit) Synced(ctx context.Context) error { return nil }

// Charge reports what the call has used so far (cumulative). Past the hold it reserves more, or returns ErrSpent.
func (p *Permit) Charge(u ledger.Usage) error { return nil }

// Done reports a whole answer: status and upstream code. Without it a sent call is posted with its hold, estimated.
func (p *Permit) Done(status ledger.Status, code int, detail string) {}

// Client returns an HTTP client bound to p: it goes only to p's upstream, follows no redirect, fails once p is dead.
func (g *Gate) Client(p *Permit) *http.Client { return nil }

// RoundTrip sends one request under p: the same guards as Client without making one.
func (g *Gate) RoundTrip(p *Permit, req *http.Request) (*http.Response, error) {
	return nil, ErrNoPermit
}

// Conn is a connection that outlives a call: its own Do (session.open) lasts as long as it does, and each message on it
// takes a live permit of its own call.
type Conn struct{}

// Conn wraps send, the writer of a pipe or socket opened under p.
func (g *Gate) Conn(p *Permit, send func([]byte) error) *Conn { return nil }

// Send writes msg under a live permit for the same upstream and marks that permit sent.
func (c *Conn) Send(p *Permit, msg []byte) error { return ErrNoPermit }
