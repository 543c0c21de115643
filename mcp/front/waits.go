package front

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/park"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// waits reports whether the call of a modern request may have to wait for its caller, or is one that has waited: its
// server is a legacy one, which asks in mid-call. Between modern peers questions and answers are in the messages.
func (x *exchange) waits(m *rpc.Message, call *Call) bool {
	c := call.Context
	if c.Era != upstream.Modern {
		return false
	}
	switch call.Action {
	case policy.ToolCall, policy.PromptGet, policy.ResourceRead:
	default:
		return false
	}
	if x.cfg.Backend.Legacy(call.Entry.Server) {
		return m.Kind(rpc.RequestState) != 0 || m.Kind(rpc.InputResponses) != 0 || era.Asks(c.Capabilities)
	}
	state, _ := m.Text(rpc.RequestState)
	return state != "" && x.lot.Ours(state) // of a server that has become modern: no business of its own
}

// wait makes a call that may wait for its caller, or goes on with one that has.
func (x *exchange) wait(ctx context.Context, m *rpc.Message, call *Call, asked string) (*era.Result, error) {
	call.Params = rpc.With(call.Params, strictjson.Change{Name: "inputResponses"}, strictjson.Change{Name: "requestState"})
	visit := x.visit(m, call, asked)
	if m.Kind(rpc.RequestState) == 0 {
		return x.begin(ctx, visit, call)
	}
	ticket, err := x.ticket(m, visit.Request)
	if err != nil {
		return nil, x.turnBack(m, call, err)
	}
	if !ticket.Parked() {
		declined, err := ticket.Declined(m.Get(rpc.InputResponses))
		switch {
		case err != nil:
			return nil, x.turnBack(m, call, err)
		case declined:
			return nil, x.turnBack(m, call, &rpc.Error{Code: rpc.CodeInternal, Message: "the page that the server needs to be visited first was declined, so the call was not made"})
		}
		return x.begin(ctx, visit, call)
	}
	if result, err := x.cfg.Backend.Again(ctx, call); result != nil || err != nil {
		ticket.End()
		return result, err
	}
	if err := ticket.Resume(visit, m.Get(rpc.InputResponses)); err != nil {
		return nil, x.turnBack(m, call, err)
	}
	return ticket.Listen(ctx, visit)
}

// ticket opens the state of a request.
func (x *exchange) ticket(m *rpc.Message, r *park.Request) (*park.Ticket, *rpc.Error) {
	state, ok := m.Text(rpc.RequestState)
	if !ok {
		return nil, rpc.BadParams("requestState must be a string")
	}
	return x.lot.Open(state, r)
}

// visit is the request as what listens to its call.
func (x *exchange) visit(m *rpc.Message, call *Call, asked string) *park.Visit {
	p := call.Principal
	auth, owner := x.cfg.Auth, ownerOf(x.base)
	r := x.r.WithContext(context.WithoutCancel(x.r.Context())) // it is looked at after it has been answered
	return &park.Visit{
		Request: &park.Request{
			KeyID: p.KeyID, Key: p.Key, User: p.User, Space: x.space.Name, Method: m.Method, Name: asked,
			Server: call.Entry.Server, Target: call.Entry.Name, Args: call.Args,
		},
		Context: call.Context, Notify: call.Notify,
		Valid: func() bool {
			base, err := auth.Authenticate(r)
			return err == nil && ownerOf(base) == owner
		},
	}
}

// begin makes the call on a goroutine of its own, so that it can outlive the request.
func (x *exchange) begin(ctx context.Context, v *park.Visit, call *Call) (*era.Result, error) {
	if !era.Asks(call.Context.Capabilities) {
		return x.cfg.Backend.Call(ctx, call)
	}
	return x.lot.Run(ctx, v, func(ctx context.Context, ask upstream.Ask, notify func(string, []byte)) (result *era.Result, err error) {
		defer x.survive(&err)
		call.Ask, call.Notify = ask, notify
		result, err = x.cfg.Backend.Call(ctx, call)
		if e := (*rpc.Error)(nil); errors.As(err, &e) && e.Code == rpc.CodeURLElicitation {
			return x.lot.Pages(v.Request, e.Raw)
		}
		return result, err
	})
}

// survive keeps a panic in one call from ending the process, as net/http does for those on a request's own goroutine.
func (x *exchange) survive(err *error) {
	if p := recover(); p != nil {
		*err = &rpc.Error{Code: rpc.CodeInternal, Message: "the gateway could not answer"}
		if x.cfg.Log != nil {
			x.cfg.Log.Error("a call panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}
}

// apart serves a message on a goroutine that is not its request's own; id is that of the message.
func (x *exchange) apart(id []byte, serve func()) {
	var err error
	defer func() {
		if e := (*rpc.Error)(nil); errors.As(err, &e) {
			x.out.Fail(id, e)
		}
	}()
	defer x.survive(&err)
	serve()
}

// turnBack records that a request which went on with a call was refused.
func (x *exchange) turnBack(m *rpc.Message, call *Call, e *rpc.Error) *rpc.Error {
	x.record(call.Principal, m.Method, call.Entry.Exposed(x.space.Prefixed), e.Message)
	return e
}
