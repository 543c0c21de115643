package stdio

import (
	"bytes"
	"context"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

// questionsMax bounds the questions of one child that wait for their answer. It is beyond what one principal may have
// waiting (package park), where room is made at the cost of the oldest.
const questionsMax = 256

// codeInternal is JSON-RPC's for what went wrong on the asked side.
const codeInternal = -32603

// question is a request of the child's own on its way to a caller.
type question struct {
	message *wire.Message
	of      *waiter // the exchange it belongs to; nil: the client of the child
	ask     upstream.Ask
	permit  *gate.Permit       // under which the answer goes back
	cancel  context.CancelFunc // the child takes it back, or its exchange is over
}

// carry begins to ask the caller whom m is for. The answer is a refusal when there is nobody to ask.
func (p *pipe) carry(m *wire.Message) (refusal []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, why := p.addressee()
	switch {
	case why != "":
		return wire.Refusal(m, wire.CodeMethod, why)
	case len(p.questions) >= questionsMax:
		return wire.Refusal(m, codeInternal, "too many questions are open")
	}
	q := &question{message: m, of: of}
	var ctx context.Context
	if of != nil {
		q.ask, q.permit = of.exchange.Ask, of.exchange.Permit
		ctx, q.cancel = context.WithCancel(of.ctx)
		of.questions.Go(func() { p.ask(ctx, q) })
	} else {
		q.ask, q.permit = p.client.Ask, p.permit
		ctx, q.cancel = context.WithCancel(p.life)
		p.asking.Go(func() { p.ask(ctx, q) })
	}
	p.questions[q] = true
	p.child.server.questions.Add(1)
	return nil
}

// addressee is whom a question of the child is for: in a client's own child its newest call that can be asked, or nil for
// the client itself; otherwise the only such call there is. why says why there is nobody. Holding mu.
func (p *pipe) addressee() (of *waiter, why string) {
	calls, newest := 0, int64(0)
	for id, w := range p.waiting {
		if w.exchange == nil || w.exchange.Ask == nil {
			continue
		}
		if calls++; of == nil || id > newest {
			of, newest = w, id
		}
	}
	switch {
	case p.client != nil && (of != nil || p.client.Ask != nil), calls == 1:
		return of, ""
	case calls == 0:
		return nil, "no call is in flight that this could belong to"
	}
	return nil, "several calls are in flight, and nothing says which of them this belongs to"
}

// ask asks and writes the answer. A question that was taken back gets none.
func (p *pipe) ask(ctx context.Context, q *question) {
	defer q.cancel()
	a := q.ask(ctx, q.message.Method, q.message.Params())
	p.mu.Lock()
	delete(p.questions, q)
	p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if a == nil {
		a = &upstream.Answer{Error: upstream.NewError(codeInternal, "the client gave no answer")}
	}
	_ = p.conn.Send(q.permit, wire.Response(q.message, a)) // a child that is gone ends the exchange, too
}

// takeBack ends the question of that id, as the child wishes.
func (p *pipe) takeBack(id []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for q := range p.questions {
		if bytes.Equal(q.message.ID(), id) {
			q.cancel()
		}
	}
}

// logged hands a log message on: to the only call in flight, else to the client whose child this is. What nothing says the
// owner of is dropped, and so is everything of the shared child, whose callers are not one.
func (p *pipe) logged(m *wire.Message) {
	if p.child.key == (key{}) {
		return
	}
	p.mu.Lock()
	var only int64
	if len(p.waiting) == 1 {
		for id, w := range p.waiting {
			if w.exchange != nil && w.exchange.LogLevel != "" && w.exchange.Notify != nil {
				only = id
			}
		}
	}
	p.mu.Unlock()
	if only != 0 {
		p.put(only, m)
		return
	}
	p.notify(m)
}

// notify hands a notification to the client whose child this is. More than it takes are dropped.
func (p *pipe) notify(m *wire.Message) {
	if p.client == nil || p.client.Notify == nil {
		return
	}
	select {
	case p.notes <- m:
	default:
	}
}

// tellClient tells the client what the child says outside of any call. It is not the reader that does, because the
// client may be slow.
func (p *pipe) tellClient() {
	for {
		select {
		case m := <-p.notes:
			p.client.Notify(m.Method, m.Params())
		case <-p.dead:
			return
		}
	}
}

// level has a child of somebody's own log from the level that x wants: the client's own, or the lowest that a principal has
// wanted so far; what a call does not want is filtered out of what it is told.
func (p *pipe) setLevel(x *upstream.Exchange) {
	if p.child.key == (key{}) || !p.peer.Logging || p.peer.Era == upstream.Modern || x.LogLevel == "" {
		return
	}
	p.mu.Lock()
	if x.LogLevel == p.level || p.client == nil && p.level != "" && wire.LevelRank(p.level) <= wire.LevelRank(x.LogLevel) {
		p.mu.Unlock()
		return
	}
	p.level = x.LogLevel
	p.mu.Unlock()
	// Nobody waits for the answer: a child that refuses it logs as it does.
	r := &wire.Request{ID: p.child.server.ids.Add(1), Method: "logging/setLevel", Params: wire.Object("level", x.LogLevel)}
	_ = p.conn.Send(x.Permit, r.Body())
}
