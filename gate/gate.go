package gate

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/policy"
)

// Config makes a gate. Ledger is required; Policy nil denies everything.
type Config struct {
	Ledger    *ledger.Ledger
	Payloads  *payload.Recorder // nil: no payload is captured
	Policy    *policy.Set
	Upstreams []Upstream
	Log       *slog.Logger
	Tracer    trace.Tracer     // nil: no spans. Do starts one span per call, with the gen_ai.* or mcp.* attributes
	Meter     metric.Meter     // nil: no metrics. Do counts calls, durations, tokens, cost and refusals
	Now       func() time.Time // nil: the ledger's
}

// Gate is the one door. All methods are safe for concurrent use.
type Gate struct {
	ledger *ledger.Ledger
	keeper *payload.Recorder
	policy atomic.Pointer[policy.Set]
	pools  pools
	meters *meters
	tracer trace.Tracer
	log    *slog.Logger
	now    func() time.Time

	traceKey any // see callContext; never changed
}

// quoted is a text in quotation marks, as %q writes it, and the sign that there is more of it.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"…?`)

// own is who the gateway itself is, in its own actions.
var own = &policy.Principal{Key: "tollgate"}

// New makes a gate; it refuses a Config without a ledger.
func New(cfg Config) (*Gate, error) {
	if cfg.Ledger == nil {
		return nil, errors.New("gate: no ledger, so nothing could be recorded and nothing may be called")
	}
	g := &Gate{ledger: cfg.Ledger, keeper: cfg.Payloads, tracer: cfg.Tracer, log: cfg.Log, now: cfg.Now, traceKey: traceKey()}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = cfg.Ledger.Now
	}
	var err error
	if g.meters, err = newMeters(cfg.Meter); err != nil {
		return nil, err
	}
	if err := g.Reload(cfg.Policy, cfg.Upstreams); err != nil {
		return nil, err
	}
	return g, nil
}

// Reload replaces policy and upstreams whole; pools of unchanged upstreams are kept, others drain. On an error nothing is
// replaced.
func (g *Gate) Reload(set *policy.Set, upstreams []Upstream) error {
	if set == nil {
		set = policy.None()
	}
	if err := g.pools.replace(upstreams); err != nil {
		return err
	}
	g.policy.Store(set)
	return nil
}

// Close drops idle connections. Calls in flight are not touched.
func (g *Gate) Close() { g.pools.closeIdle() }

// Policy returns the set in force.
func (g *Gate) Policy() *policy.Set { return g.policy.Load() }

// Visible is the list-time decision for the call's tool or model: comfort, not the wall.
func (g *Gate) Visible(c *policy.Call) bool { return g.Policy().Visible(c) }

// Refuse records a request that was turned away before it could become a call: bad JSON, an unknown model, no valid key.
// It appends a denied entry; those without a principal add up to one per minute and source. It never waits for the disk.
// What the reason quotes of the request, for its caller, is left out of the entry: it may be anything.
func (g *Gate) Refuse(ctx context.Context, call policy.Call, reason string) {
	g.fill(ctx, &call)
	reason = quoted.ReplaceAllString(reason, `"…"`)
	if err := g.ledger.Deny(&call, &policy.Decision{Revision: g.Policy().Revision()}, reason); err != nil {
		g.log.Error("a refusal could not be recorded", "action", string(call.Action), "err", err)
	}
	g.meters.refused(ctx, &call, "request")
}

// Again decides a call once more that was admitted long ago and has waited for its caller since: nil, or a *DeniedError,
// which is recorded. Nothing is reserved, because the call holds what it needs.
func (g *Gate) Again(ctx context.Context, call policy.Call) error {
	g.fill(ctx, &call)
	d := g.decide(&call)
	if d.Effect == policy.Allow {
		return nil
	}
	return g.denied(ctx, &call, &d)
}

// Do decides, reserves, runs fn with a permit and settles, exactly once, also when fn panics. Errors before fn:
// *DeniedError, *ledger.LimitError, ledger.ErrUnwritable, ledger.ErrOffline, ErrUnknownUpstream. Otherwise fn's own.
// A call made under another permit's ctx takes that permit's principal and records its id as parent.
// An own action (policy.Action.Own) skips policy and limits and has the gateway's own principal.
func (g *Gate) Do(ctx context.Context, call policy.Call, hold ledger.Hold, fn func(context.Context, *Permit) error) error {
	if err := inherit(ctx, &call); err != nil {
		return err
	}
	ctx, span := g.start(ctx, &call)
	defer span.End()
	p := &Permit{call: call, hold: hold, gate: g, span: span}
	p.pool = g.pools.find(call.Action.Side(), call.Upstream)
	if err := g.admit(ctx, p); err != nil {
		spanRefused(span, err)
		return err
	}
	p.capture = g.keeper.Begin(&p.call)
	p.captured = p.capture != nil
	g.meters.began(&p.call)
	defer p.end() // settles, whatever fn does
	ctx, p.cancel = context.WithCancel(ctx)
	p.ctx = callContext{ctx, p}
	p.trace.WroteHeaders = p.Sent
	p.live.Store(true)
	return fn(&p.ctx, p)
}

// inherit applies the rules for a call made under the permit in ctx.
func inherit(ctx context.Context, call *policy.Call) error {
	outer := FromContext(ctx)
	if call.Action.Own() {
		if outer != nil && call.OnBehalf == "" {
			call.OnBehalf = outer.call.Principal.Key
		}
		call.Principal = own
		return nil
	}
	if outer == nil {
		return nil
	}
	if outer.call.Action == policy.ScriptRun && call.Action == policy.ScriptRun {
		return &DeniedError{Message: "a script cannot start a script"}
	}
	if !outer.call.Action.Own() {
		call.Principal = outer.call.Principal
		if call.Parent == "" {
			call.Parent = outer.call.ID
		}
	}
	return nil
}

// fill sets what the caller left to the gate.
func (g *Gate) fill(ctx context.Context, call *policy.Call) {
	if call.Now.IsZero() {
		call.Now = g.now()
	}
	if call.ID == "" {
		call.ID = ledger.NewID(call.Now).String()
	}
	if call.TraceID == "" {
		if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
			call.TraceID = sc.TraceID().String()
		}
	}
}

// admit decides and reserves. After nil the reservation is open.
func (g *Gate) admit(ctx context.Context, p *Permit) error {
	call := &p.call
	d := g.decide(call)
	if d.Effect == policy.Allow && p.pool == nil && call.Action.Side() != policy.Local {
		g.deny(ctx, call, &d, ErrUnknownUpstream.Error())
		return ErrUnknownUpstream
	}
	if d.Effect != policy.Allow {
		return g.denied(ctx, call, &d)
	}
	r, err := g.ledger.Reserve(ctx, call, &d, p.hold)
	if err != nil {
		g.meters.refused(ctx, call, reasonOf(err))
		return err
	}
	p.reservation = r
	return nil
}

// decide asks the policy; the gateway's own actions need none.
func (g *Gate) decide(call *policy.Call) policy.Decision {
	set := g.Policy()
	switch {
	case call.Principal == nil:
		return policy.Decision{Effect: policy.Deny, Revision: set.Revision(), Message: "no principal: every call is made for somebody"}
	case call.Action.Own():
		return policy.Decision{Effect: policy.Allow, Revision: set.Revision()}
	}
	if set.NeedsSpend() {
		spend := g.ledger.Spend(call.Principal, call.Now)
		call.Spend = &spend
	}
	return set.Decide(call)
}

// denied records a refusal by policy and returns it as an error.
func (g *Gate) denied(ctx context.Context, call *policy.Call, d *policy.Decision) error {
	err := &DeniedError{Rules: d.Rules, Message: d.Message, Hidden: d.Hidden, Approve: d.Effect == policy.Approve}
	g.deny(ctx, call, d, err.Error())
	return err
}

// deny records a refusal by policy. That it could not be recorded changes nothing for the caller: it is refused anyway.
func (g *Gate) deny(ctx context.Context, call *policy.Call, d *policy.Decision, reason string) {
	if err := g.ledger.Deny(call, d, reason); err != nil {
		g.log.Error("a denial could not be recorded", "call", call.ID, "err", err)
	}
	g.meters.refused(ctx, call, "policy")
}
