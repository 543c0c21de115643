package mcp

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// backend is the gateway as the front sees it.
type backend Gateway

// Catalog implements front.Backend.
func (b *backend) Catalog() *catalog.Catalog { return b.catalog.Load() }

// Changed implements front.Backend.
func (b *backend) Changed() <-chan struct{} { return *b.changed.Load() }

// Policy implements front.Backend.
func (b *backend) Policy() *policy.Set { return b.cfg.Gate.Policy() }

// Visible implements front.Backend.
func (b *backend) Visible(p *policy.Principal) catalog.Visible {
	return func(t *policy.Tool) bool {
		return b.cfg.Gate.Visible(&policy.Call{Principal: p, Action: actionOn(t), Upstream: t.Server, Target: t.Name, Tool: t})
	}
}

func actionOn(t *policy.Tool) policy.Action {
	switch t.Kind {
	case "resource":
		return policy.ResourceRead
	case "prompt":
		return policy.PromptGet
	}
	return policy.ToolCall
}

// Refuse implements front.Backend.
func (b *backend) Refuse(ctx context.Context, c policy.Call, reason string) {
	b.cfg.Gate.Refuse(ctx, c, reason)
}

// Settle implements front.Backend.
func (b *backend) Settle(ctx context.Context, servers []string) {
	all := *b.served.Load()
	for _, name := range servers {
		if s := all[name]; s != nil {
			select {
			case <-s.first:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Degraded implements front.Backend.
func (b *backend) Degraded(servers []string) [][]byte {
	all := *b.served.Load()
	out := make([][]byte, len(servers))
	for i, name := range servers {
		s := all[name]
		if s == nil {
			continue
		}
		h := s.health()
		if h.State == Ready && h.Reason == "" {
			continue
		}
		w := strictjson.Quote([]byte(`{"server":`), name)
		w = strictjson.Quote(append(w, `,"state":`...), string(h.State))
		if h.Reason != "" {
			w = strictjson.Quote(append(w, `,"reason":`...), h.Reason)
		}
		if h.Stale {
			w = append(w, `,"stale":true`...)
		}
		out[i] = append(w, '}')
	}
	return out
}

// Legacy implements front.Backend.
func (b *backend) Legacy(server string) bool {
	s := (*b.served.Load())[server]
	return s != nil && s.legacy()
}

// Local implements front.Backend.
func (b *backend) Local(server string) bool {
	s := (*b.served.Load())[server]
	return s != nil && len(s.def.Command) > 0
}

// Again implements front.Backend.
func (b *backend) Again(ctx context.Context, c *front.Call) (*era.Result, error) {
	g := (*Gateway)(b)
	if err := g.cfg.Gate.Again(ctx, callOf(c)); err != nil {
		return g.answer(c, err)
	}
	return nil, nil
}

// enter counts a call on a server in, until it is told to leave; the error says why it may not begin.
func (b *backend) enter(server string) (*served, *rpc.Error) {
	g := (*Gateway)(b)
	if !g.enter() {
		return nil, rpc.Refused(http.StatusServiceUnavailable, "the gateway is shutting down")
	}
	s := (*g.served.Load())[server]
	if s == nil || !s.enter() {
		g.inFlight.Done()
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "the server is being removed"}
	}
	return s, nil
}

// leave counts a call out.
func (s *served) leave() {
	s.calls.Done()
	s.g.inFlight.Done()
}

// Call implements front.Backend: one gate.Do around one exchange.
func (b *backend) Call(ctx context.Context, c *front.Call) (*era.Result, error) {
	g := (*Gateway)(b)
	s, refused := b.enter(c.Entry.Server)
	if refused != nil {
		return nil, refused
	}
	defer s.leave()
	result, late, err := s.within(ctx, c, s.limit())
	switch {
	case err == nil:
		return result, nil
	case late:
		return nil, s.late()
	}
	return g.answer(c, err)
}

// limit is how long a call on the server may take.
func (s *served) limit() time.Duration {
	if s.def.Timeout != 0 {
		return s.def.Timeout
	}
	return s.g.cfg.CallTimeout
}

func (s *served) late() *rpc.Error {
	return &rpc.Error{Code: rpc.CodeInternal, Message: "the server did not answer within " + s.limit().String(), Data: because("late")}
}

// within is do in the time that c has and the life of the server; late means that the time was over.
func (s *served) within(ctx context.Context, c *front.Call, limit time.Duration) (result *era.Result, late bool, err error) {
	if c.Ask == nil && c.Cancel != nil {
		return s.cancelled(ctx, c, limit)
	}
	var timed context.Context
	var cancel context.CancelFunc
	var clock *clock
	if c.Ask == nil {
		timed, cancel = context.WithTimeout(ctx, limit)
	} else {
		asked := *c
		timed, clock = newClock(ctx, limit)
		asked.Ask = clock.ask(c.Ask)
		if c.Context.Era == upstream.Legacy && c.Context.ProgressToken != nil && !s.legacy() {
			asked.Notify = rising(c.Notify) // through all rounds
		}
		c, cancel = &asked, clock.end
	}
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	result, err = s.do(timed, c, clock)
	return result, errors.Is(context.Cause(timed), context.DeadlineExceeded) && ctx.Err() == nil, err
}

// cancelled is within for a call whose context is its own, to be ended by c.Cancel: most are, and are spared another.
func (s *served) cancelled(ctx context.Context, c *front.Call, within time.Duration) (result *era.Result, late bool, err error) {
	defer context.AfterFunc(s.life, c.Cancel)()
	timer := time.AfterFunc(within, c.Cancel)
	defer timer.Stop()
	result, err = s.do(ctx, c, nil)
	return result, !timer.Stop(), err
}

// callOf is c as the gate decides it.
func callOf(c *front.Call) policy.Call {
	return policy.Call{
		Principal: c.Principal, Action: c.Action, Upstream: c.Entry.Server, Target: c.Entry.Name, Tool: &c.Entry.Tool,
		Args: c.Args, Stream: c.Notify != nil, EstCost: int64(price(c)),
	}
}

// do decides, reserves, carries and settles. clock is that of a call whose caller can be asked, else nil.
func (s *served) do(ctx context.Context, c *front.Call, clock *clock) (*era.Result, error) {
	call := callOf(c)
	hold := ledger.Hold{Cost: price(c), Worst: price(c)}
	if hold.Cost != 0 {
		hold.PriceList = "config"
		hold.Prices = map[string]ledger.Nano{"calls": hold.Cost}
	}
	var result *era.Result
	err := s.g.cfg.Gate.Do(ctx, call, hold, func(ctx context.Context, p *gate.Permit) error {
		a, err := s.carry(ctx, c, exchangeOf(c, p))
		if err == nil && a.result != nil && a.result.Type == era.InputRequired && c.Context.Era == upstream.Legacy && c.Ask != nil {
			a, err = s.rounds(ctx, c, exchangeOf(c, p), a.result, clock)
		}
		if err == nil {
			if a.err != nil {
				a.err = s.withoutCredential(p, a.err)
			}
			result, err = settle(p, c, a)
		}
		if err != nil {
			s.failed(p, err)
			return err
		}
		s.answered.Store(time.Now().UnixNano())
		return p.Synced(ctx)
	})
	return result, err
}

// withoutCredential is a server's error without the credential it was sent, which it may repeat.
func (s *served) withoutCredential(p *gate.Permit, e *upstream.RPCError) *upstream.RPCError {
	h := http.Header{}
	if s.g.cfg.Vault == nil || s.g.cfg.Vault.Apply(p, h) != nil || len(h) == 0 {
		return e // none was sent
	}
	masked := *e
	masked.Raw = redact.Sent(e.Raw, h)
	return &masked
}

// exchangeOf is c on its way to its server under p.
func exchangeOf(c *front.Call, p *gate.Permit) *upstream.Exchange {
	x := c.Context
	name := c.Entry.Name
	if c.Task != "" {
		name = c.Task
	}
	return &upstream.Exchange{
		Permit: p, Method: c.Method, Name: name, Params: c.Params,
		Era: x.Era, Version: x.Version, Meta: x.Meta, ProgressToken: x.ProgressToken,
		LogLevel: x.LogLevel, Capabilities: x.Capabilities, Notify: c.Notify, Ask: c.Ask, Client: c.Client, Timed: true,
	}
}

// price is what a call costs: tools have one, the rest is free.
func price(c *front.Call) ledger.Nano {
	if c.Action != policy.ToolCall {
		return 0
	}
	return c.Entry.Price
}

// whole is a server's whole answer: result or error.
type whole struct {
	result *era.Result
	err    *upstream.RPCError
}

// carry carries x, which is c on its way, to the server and reads the answer that c is given.
func (s *served) carry(ctx context.Context, c *front.Call, x *upstream.Exchange) (whole, error) {
	var a *upstream.Answer
	var err error
	if x.Tasks = s.mayBecomeTask(c); x.Tasks && c.Task == "" && toBeFollowed(c) {
		a, err = s.finish(ctx, c, x)
	} else {
		a, err = s.up.Call(ctx, x)
	}
	switch {
	case err != nil:
		return whole{}, err
	case a.Error != nil:
		return whole{err: a.Error}, nil
	}
	result, err := era.ReadResult(a.Result)
	if err != nil {
		return whole{}, &upstream.Fault{Kind: upstream.Garbage, Text: "the server's result cannot be read", Err: err}
	}
	return whole{result: result}, nil
}

// settle tells the permit what a whole answer came to.
func settle(p *gate.Permit, c *front.Call, a whole) (*era.Result, error) {
	if a.err != nil {
		p.Answered(a.err.Raw)
		p.Done(ledger.Failed, a.err.Code, "")
		uri := ""
		if c.Action == policy.ResourceRead {
			uri = c.Entry.Name
		}
		return nil, era.ErrorFor(c.Context, a.err, uri)
	}
	result := a.result
	p.Answered(result.Raw)
	if !result.Carried(c.Context) || result.Type == era.Task && c.Action != policy.ToolCall {
		p.Done(ledger.Failed, 0, "result type")
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "the server asks for something that this protocol version cannot carry", Data: because("result_type")}
	}
	if result.Type == era.Task {
		if _, err := era.ReadTask(result.Raw); err != nil {
			return nil, &upstream.Fault{Kind: upstream.Garbage, Text: "the server's task cannot be read", Err: err}
		}
	}
	status := ledger.OK
	if result.IsError && c.Action == policy.ToolCall {
		status = ledger.ToolError
	}
	use := ledger.Usage{Cost: price(c)}
	if c.Action.Counted() {
		use.Quantities.Calls = 1
	}
	if err := p.Charge(use); err != nil {
		return nil, err
	}
	p.Done(status, 0, "")
	return result, nil
}

// failed settles what came to no answer, and has the server looked after.
func (s *served) failed(p *gate.Permit, err error) {
	var f *upstream.Fault
	if !errors.As(err, &f) {
		return
	}
	if f.HTTP >= 400 {
		p.Done(ledger.Failed, f.HTTP, string(f.Kind))
	}
	if f.Kind == upstream.Unreachable || f.Kind == upstream.Gone {
		s.hear(upstream.Lost)
	}
	s.g.cfg.Log.Warn("a call came to no answer", "server", s.def.Name, "kind", string(f.Kind), "err", f.Err)
}

// answer says to the caller why there is no result: a tool that is visible and may not be called now has a result that
// says so, which the model behind the client can read; everything else is an error.
func (g *Gateway) answer(c *front.Call, err error) (*era.Result, error) {
	var (
		relayed *rpc.Error
		denied  *gate.DeniedError
		limit   *ledger.LimitError
		fault   *upstream.Fault
	)
	switch {
	case errors.As(err, &relayed):
		return nil, relayed
	case errors.As(err, &denied):
		if denied.Hidden {
			return nil, front.ErrHidden
		}
		return refused(c, deniedCode, denied.Error(), denial(denied))
	case errors.As(err, &limit):
		return refused(c, limitCode(limit), limit.Error(), limitation(limit))
	case errors.As(err, &fault):
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: fault.Text, Data: because(string(fault.Kind))}
	case errors.Is(err, context.Canceled):
		return nil, &rpc.Error{Code: cancelledCode, Message: "the call was cancelled"}
	case errors.Is(err, ledger.ErrUnwritable):
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "the call could not be recorded, so it was not made", Data: because("ledger")}
	case errors.Is(err, ledger.ErrOffline):
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "the gateway has lost the database that its limits are in, so the call was not made; try again",
			Data: []byte(`{"tollgate":{"kind":"offline","retry_after":1}}`)}
	}
	g.cfg.Log.Error("a call failed", "server", c.Entry.Server, "err", err)
	return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "the call could not be made", Data: because("gateway")}
}

// because is the data of an error that the gateway explains.
func because(kind string) []byte {
	return append(strictjson.Quote([]byte(`{"tollgate":{"kind":`), kind), "}}"...)
}

// The codes of refusals that are no results: HTTP's, since MCP has none for them.
const (
	deniedCode    = http.StatusForbidden
	cancelledCode = 499 // what proxies call a request whose client has gone
)

func limitCode(l *ledger.LimitError) int {
	if l.Unit == ledger.UnitUSD {
		return http.StatusPaymentRequired
	}
	return http.StatusTooManyRequests
}

// refused is the answer to a visible call that may not be made; word is the object under tollgate that says why.
func refused(c *front.Call, code int, text string, word []byte) (*era.Result, error) {
	if c.Action != policy.ToolCall {
		return nil, &rpc.Error{Code: code, Message: text, Data: append(append([]byte(`{"tollgate":`), word...), '}')}
	}
	b := strictjson.Quote([]byte(`{"content":[{"type":"text","text":`), text)
	b = append(b, `}],"isError":true,"_meta":{"tollgate":`...)
	b = append(append(b, word...), "}}"...)
	return era.ReadResult(b)
}

func denial(d *gate.DeniedError) []byte {
	b := []byte(`{"rule":[`)
	for i, r := range d.Rules {
		if i > 0 {
			b = append(b, ',')
		}
		b = strictjson.Quote(b, r)
	}
	b = append(b, ']')
	if d.Approve {
		b = append(b, `,"approve":true`...)
	}
	return append(b, '}')
}

func limitation(l *ledger.LimitError) []byte {
	b := strictjson.Quote([]byte(`{"limit":`), l.Limit)
	b = strictjson.Quote(append(b, `,"scope":`...), l.Scope)
	b = strictjson.Quote(append(b, `,"left":`...), l.Left)
	switch {
	case l.Never:
		b = append(b, `,"never":true`...)
	case l.RetryAfter > 0:
		b = append(b, `,"retry_after":`...)
		b = strconv.AppendInt(b, int64(math.Ceil(l.RetryAfter.Seconds())), 10) // seconds
	}
	return append(b, '}')
}

// CallTool calls a tool by its exposed name (server__tool) with a raw JSON object of arguments, for p, and returns the
// raw result. It is the function the front itself uses: same decision, hold and entry. A visible tool that may not be
// called now yields a result with isError and the reason; an unknown or hidden one yields an error.
func (g *Gateway) CallTool(ctx context.Context, p *policy.Principal, name string, args []byte) ([]byte, error) {
	b := (*backend)(g)
	e := b.Catalog().Space("").Tool(name)
	if e == nil {
		b.Settle(ctx, b.Catalog().Space("").Servers)
		e = b.Catalog().Space("").Tool(name)
	}
	if e == nil {
		b.Refuse(ctx, policy.Call{Principal: p, Action: policy.ToolCall, Target: name, Args: args}, "unknown name")
		return nil, errUnknownTool
	}
	if args == nil {
		args = []byte("{}")
	}
	if err := strictjson.Check(args, strictjson.Limits{}); err != nil || args[0] != '{' {
		return nil, errors.New("arguments must be a JSON object")
	}
	params := strictjson.Quote([]byte(`{"name":`), e.Name)
	params = append(append(append(params, `,"arguments":`...), args...), '}')
	result, err := b.Call(ctx, &front.Call{
		Principal: p, Action: policy.ToolCall, Entry: e, Method: "tools/call", Params: params, Args: args, Whole: true,
		Context: &era.Context{Era: upstream.Modern, Version: era.V2026, Capabilities: []byte("{}")},
	})
	switch {
	case errors.Is(err, front.ErrHidden):
		return nil, errUnknownTool
	case err != nil:
		return nil, err
	}
	return result.Raw, nil
}

// errUnknownTool is one text for what does not exist and what is hidden.
var errUnknownTool = errors.New("unknown tool")
