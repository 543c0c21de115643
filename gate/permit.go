package gate

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/policy"
)

// extendShare is the part of the hold that an extension reserves at least, so that a long stream does not write an entry
// per chunk: a quarter.
const extendShare = 4

// Permit is one admitted call. It dies when Do returns. Its methods are safe for concurrent use.
type Permit struct {
	ctx    callContext // what fn runs under
	cancel context.CancelFunc

	call        policy.Call // never changed once fn runs
	hold        ledger.Hold
	gate        *Gate
	pool        *pool // nil for local calls
	span        trace.Span
	reservation *ledger.Reservation
	trace       httptrace.ClientTrace // of its requests: tells when they leave
	captured    bool                  // its payload is; never changed once fn runs

	live atomic.Bool
	sent atomic.Bool

	mu      sync.Mutex // guards what follows
	charged bool
	usage   ledger.Usage
	cost    ledger.Nano // reserved so far
	tokens  int64
	done    bool
	outcome ledger.Outcome
	capture *payload.Capture // nil: its payload is not captured, or not any more
}

// callContext is the context of a call: it knows the permit and is cancelled when the permit dies. What is sent in it
// tells the permit when it leaves. A body of our own type would tell as well, but the transport sends only a body that it
// knows to be in memory in one piece with the header.
type callContext struct {
	context.Context
	permit *Permit
}

type permitKey struct{}

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	switch key {
	case permitKey{}:
		return c.permit
	case c.permit.gate.traceKey:
		return &c.permit.trace
	}
	return c.Context.Value(key)
}

// traceKey is the key under which an HTTP client looks for a trace. It is httptrace's own and is learnt by being asked: a
// context that answers to it saves one of httptrace's, and a copy of the request, per call.
func traceKey() any {
	asked := &keyAsked{Context: context.Background()}
	httptrace.ContextClientTrace(asked)
	return asked.key
}

// keyAsked keeps the key that it was asked for last.
type keyAsked struct {
	context.Context
	key any
}

// Value implements context.Context.
func (k *keyAsked) Value(key any) any {
	k.key = key
	return nil
}

// FromContext returns the permit that ctx runs under, or nil.
func FromContext(ctx context.Context) *Permit {
	p, _ := ctx.Value(permitKey{}).(*Permit)
	return p
}

// Call is what was decided: the tool, model and arguments that are sent are read from here. It must not be changed.
func (p *Permit) Call() *policy.Call { return &p.call }

// Live reports whether the call is still running.
func (p *Permit) Live() bool { return p != nil && p.live.Load() }

// Allows reports whether p is live and for the named upstream; a vault asks it before it hands out a credential.
func (p *Permit) Allows(side policy.Side, upstream string) error {
	if !p.Live() || side == policy.Local || p.call.Action.Side() != side || p.call.Upstream != upstream {
		return ErrNoPermit
	}
	return nil
}

// Sent marks that something left the process, so that the call can no longer be voided. Client and Conn do it themselves.
func (p *Permit) Sent() { p.sent.Store(true) }

// Synced waits until the reservation is on disk; an answer may not be shown before. Client waits by itself before it
// returns a response; carriers that are not HTTP call it.
func (p *Permit) Synced(ctx context.Context) error { return p.reservation.Synced(ctx) }

// Charge reports what the call has used so far (cumulative). Past the hold it reserves more, or returns ErrSpent; the
// report stands either way, since it has been used.
func (p *Permit) Charge(u ledger.Usage) error {
	if !p.Live() {
		return ErrNoPermit
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.charged, p.usage = true, u
	if p.cost == 0 && p.tokens == 0 {
		p.cost, p.tokens = p.hold.Cost, p.hold.Tokens
	}
	cost, tokens := u.Cost-p.cost, u.Quantities.Tokens()-p.tokens
	if cost <= 0 && tokens <= 0 {
		return nil
	}
	cost, tokens = max(cost, 0), max(tokens, 0)
	ample, amplest := cost, tokens
	if cost > 0 {
		ample = max(cost, p.hold.Cost/extendShare)
	}
	if tokens > 0 {
		amplest = max(tokens, p.hold.Tokens/extendShare)
	}
	err := p.reservation.Extend(ample, amplest)
	if err != nil && (ample > cost || amplest > tokens) {
		ample, amplest = cost, tokens
		err = p.reservation.Extend(cost, tokens)
	}
	if err != nil {
		return errors.Join(ErrSpent, err)
	}
	p.cost += ample
	p.tokens += amplest
	return nil
}

// Answered hands over what the upstream answered, or the next part of it, for the payload that is captured. It keeps
// nothing of b, and does nothing where nothing is captured.
func (p *Permit) Answered(b []byte) {
	if !p.captured {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.capture.Answer(b)
}

// Done reports a whole answer: status and upstream code. Without it a sent call is posted with its hold, estimated.
func (p *Permit) Done(status ledger.Status, code int, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	p.outcome = ledger.Outcome{Status: status, Code: code, Detail: detail}
}

// end kills the permit and settles its reservation. It is deferred, so it also runs when fn panics.
func (p *Permit) end() {
	p.live.Store(false)
	p.cancel()
	p.mu.Lock()
	o, void := p.settlement()
	if void {
		p.capture.Discard()
	} else {
		o.Result, o.Payload = p.capture.End(p.reservation.EntryID(), p.reservation.User())
	}
	p.capture = nil
	p.mu.Unlock()
	var err error
	if void {
		err = p.reservation.Void(o)
	} else {
		err = p.reservation.Post(o)
	}
	if err != nil {
		// The reservation stays open in the journal; the next start posts it as interrupted.
		p.gate.log.Error("a call could not be settled", "call", p.call.ID, "err", err)
	}
	p.gate.settled(p, &o)
}

// settlement says how the reservation ends; doc.go has the table.
func (p *Permit) settlement() (o ledger.Outcome, void bool) {
	o = p.outcome
	o.Latency = p.gate.now().Sub(p.call.Now)
	if !p.sent.Load() && (p.pool != nil || !p.done) {
		if !p.done {
			o.Status = ledger.Unsent
		}
		return o, true
	}
	if p.done && o.Status == ledger.Failed {
		return o, false
	}
	if !p.done {
		o.Status = ledger.Cut
	}
	o.Usage = p.usage
	if !p.charged {
		o.Usage = p.reservation.Held() // the worst case where a hard limit holds it
		o.Usage.Estimated = o.Usage.Cost > 0 || o.Usage.Quantities.Tokens() > 0
	}
	if o.Status != ledger.OK && o.Status != ledger.ToolError {
		o.Usage.Estimated = true
	}
	return o, false
}
