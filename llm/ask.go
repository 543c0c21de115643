package llm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// serve answers one request: it asks its targets in turn until one has answered.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, format *dialect.Format) {
	req, err := p.read(w, r, format)
	if err != nil {
		format.Family.Write(w, err)
		return
	}
	t := p.table.Load()
	targets, err := p.route(r.Context(), t, req)
	if err != nil {
		p.gate.Refuse(r.Context(), req.call(), err.Message)
		format.Family.Write(w, err)
		return
	}
	a := &answering{w: w, client: r.Context(), prices: t.prices}
	var told *failure
	for _, t := range targets[:min(len(targets), attemptsMax)] {
		f := p.try(a, req, t)
		if f == nil {
			return
		}
		if told == nil || f.asked && !told.asked { // the first provider that was asked explains best
			told = f
		}
		if !f.another || r.Context().Err() != nil {
			break
		}
	}
	told.write(w, format.Family)
}

// answering is the answer to one request while its targets are asked.
type answering struct {
	w        http.ResponseWriter
	client   context.Context // ends when the client leaves
	prices   *price.Catalog
	attempts int    // targets that were asked
	first    string // id of the first of their calls
}

// failure is why a target did not answer.
type failure struct {
	err     *dialect.Error // said by the gateway
	status  int            // else said by the provider, as it came
	header  http.Header
	body    []byte
	another bool // another target may be asked
	asked   bool // the provider was asked
}

func (f *failure) write(w http.ResponseWriter, family dialect.Family) {
	if f.err != nil {
		family.Write(w, f.err)
		return
	}
	returned(w.Header(), f.header)
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body) // whoever asked is gone: nobody is left to tell
}

// route finds the targets of req in the order in which they are to be asked; there is at least one.
func (p *Proxy) route(ctx context.Context, t *table, req *request) ([]*target, *dialect.Error) {
	targets, several := t.aliases[req.name], false
	if targets == nil {
		if tg, ok := t.direct(req.name); ok {
			targets = []*target{tg}
		} else if targets = t.owners(req.name); targets == nil && p.discover(ctx, t, req.principal) {
			targets = t.owners(req.name)
		}
		several = len(targets) > 1
	}
	if len(targets) == 0 {
		return nil, unknownModel(req.format.Family, req.name)
	}
	if len(targets) > 1 {
		if seen := p.visible(req, targets); len(seen) > 0 {
			targets = seen
		} else {
			return targets[:1], nil // its own call will be refused, and recorded, like that to any hidden model
		}
	}
	able := speaking(targets, req.format.Dialect)
	switch {
	case len(able) == 0 && !p.seen(req, targets[0]):
		return targets[:1], nil // refused as hidden, before anything is sent
	case len(able) == 0:
		return nil, wrongDialect(req, targets)
	case several && len(able) > 1:
		return nil, ambiguous(req.name, able)
	}
	able, err := p.pinned(req, able)
	if err != nil || len(able) == 1 {
		return able, err
	}
	now := p.now()
	return arrange(able, conversation(req), func(t *target) bool { return p.rests.resting(t.model, now) }), nil
}

// speaking keeps the targets that a request of dialect d can be sent to. Counting tokens can be done without the provider.
func speaking(targets []*target, d vendor.Dialect) []*target {
	var out []*target
	for i, t := range targets {
		switch able := t.provider.Speaks(d) || d == vendor.CountTokens && t.provider.Speaks(vendor.Messages); {
		case able && len(out) == i:
			out = targets[: i+1 : i+1] // as a rule all are
		case able:
			out = append(out, t)
		}
	}
	return out
}

// visible keeps the targets that req's principal may know of.
func (p *Proxy) visible(req *request, targets []*target) []*target {
	var out []*target
	for _, t := range targets {
		if p.seen(req, t) {
			out = append(out, t)
		}
	}
	return out
}

func (p *Proxy) seen(req *request, t *target) bool {
	call := req.call()
	t.name(&call)
	return p.gate.Visible(&call)
}

// name makes call one to t.
func (t *target) name(call *policy.Call) {
	call.Upstream, call.Target, call.Model = t.provider.Name, t.model.Name, &t.model
}

// unknownModel is the answer for a model that is not there and for one that is hidden: nobody can tell which.
func unknownModel(family dialect.Family, name string) *dialect.Error {
	return &dialect.Error{Status: http.StatusNotFound, Code: "model_not_found", Param: param(family), Message: fmt.Sprintf(
		"the model %q does not exist or this key may not use it; GET /v1/models lists those it may", name)}
}

func param(family dialect.Family) string {
	if family == dialect.OpenAI {
		return "model"
	}
	return ""
}

func wrongDialect(req *request, targets []*target) *dialect.Error {
	var paths []string
	for _, d := range speaks(targets) {
		paths = append(paths, "POST "+vendor.Dialect(d).Path())
	}
	return &dialect.Error{Status: http.StatusBadRequest, Code: "unsupported_dialect", Param: param(req.format.Family), Message: fmt.Sprintf(
		"the model %q is not served at %s; it is at %s", req.name, req.format.Dialect.Path(), strings.Join(paths, ", "))}
}

func ambiguous(name string, targets []*target) *dialect.Error {
	var names []string
	for _, t := range targets {
		names = append(names, t.path)
	}
	return &dialect.Error{Status: http.StatusNotFound, Code: "model_ambiguous", Message: fmt.Sprintf(
		"several providers have a model %q; say which one: %s", name, strings.Join(names, ", "))}
}

// try asks one target. Nil means that the client has its answer, or as much of it as there will be.
func (p *Proxy) try(a *answering, req *request, t *target) *failure {
	call := req.call()
	t.name(&call)
	call.Args = p.spliced(req, t)
	call.Attempt, call.Parent = a.attempts+1, a.first
	cost, err := a.prices.Find(&t.provider.Terms, t.model.Name, p.now())
	if err != nil {
		if !p.gate.Visible(&call) {
			return p.hidden(a, req, call)
		}
		p.gate.Refuse(a.client, call, err.Error())
		return &failure{another: true, err: unpriced(req.name)}
	}
	ctx := a.client
	if t.provider.Drain {
		var stop func()
		ctx, stop = p.drains.follow(ctx)
		defer stop()
	}
	var f *failure
	x := exchange{p: p, req: req, t: t, a: a, price: cost, rc: http.NewResponseController(a.w)}
	hold := x.hold(&call)
	err = p.gate.Do(ctx, call, hold, func(ctx context.Context, permit *gate.Permit) error {
		a.attempts++
		if a.first == "" {
			a.first = permit.Call().ID
		}
		x.permit = permit
		f = x.run(ctx)
		return nil
	})
	if err != nil {
		return p.refused(req, err)
	}
	if f == nil {
		x.finish()
	}
	return f
}

// hidden lets the gate refuse and record a call to a model that the principal may not know of and that has no price.
func (p *Proxy) hidden(a *answering, req *request, call policy.Call) *failure {
	err := p.gate.Do(a.client, call, ledger.Hold{}, func(context.Context, *gate.Permit) error { return price.ErrUnknownPrice })
	return p.refused(req, err)
}

func unpriced(name string) *dialect.Error {
	return &dialect.Error{Status: http.StatusForbidden, Code: "model_unpriced", Message: fmt.Sprintf(
		"the model %q has no known price, so it cannot be charged: whoever runs the gateway must write `price:` or `unpriced: allow` for its provider", name)}
}

// refused says to the caller why the gate did not admit a call.
func (p *Proxy) refused(req *request, err error) *failure {
	var denied *gate.DeniedError
	var limit *ledger.LimitError
	switch {
	case errors.As(err, &denied) && denied.Hidden, errors.Is(err, gate.ErrUnknownUpstream):
		return &failure{another: true, err: unknownModel(req.format.Family, req.name)}
	case errors.As(err, &denied) && denied.Approve:
		return &failure{another: true, err: &dialect.Error{Status: http.StatusForbidden, Code: "approval_required", Message: denied.Error()}}
	case errors.As(err, &denied):
		return &failure{another: true, err: &dialect.Error{Status: http.StatusForbidden, Code: "denied_by_policy", Message: denied.Error()}}
	case errors.As(err, &limit):
		return &failure{err: limited(limit)}
	case errors.Is(err, price.ErrUnknownPrice):
		return &failure{another: true, err: unpriced(req.name)}
	case errors.Is(err, ledger.ErrOffline):
		return &failure{err: &dialect.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", RetryAfter: offlineRetry,
			Message: "the gateway has lost the database that its limits are in, so it makes no calls; try again"}}
	}
	if !errors.Is(err, ledger.ErrUnwritable) && !errors.Is(err, context.Canceled) { // who has left while a limit was asked for is no fault
		p.log.Error("a call was not admitted", "model", req.name, "err", err)
	}
	return &failure{err: &dialect.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", RetryAfter: unwritableRetry,
		Message: "the gateway cannot record calls at the moment, so it makes none; try again"}}
}

// limited is a refusal by a limit: money is 402, everything else comes back with time, 429.
func limited(e *ledger.LimitError) *dialect.Error {
	out := &dialect.Error{Status: http.StatusTooManyRequests, Code: "rate_limit_exceeded", Message: e.Error(), RetryAfter: e.RetryAfter}
	if e.Unit == ledger.UnitUSD {
		out.Status, out.Code = http.StatusPaymentRequired, "insufficient_quota"
	}
	if out.RetryAfter == 0 && !e.Never {
		out.RetryAfter = limitRetry
	}
	return out
}
