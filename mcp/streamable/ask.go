package streamable

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

const (
	// openQuestionsMax bounds the questions of one session that wait for their answer. It is beyond what one principal may
	// have waiting (package park), where room is made at the cost of the oldest.
	openQuestionsMax = 256
	// answerTimeout bounds the way of a caller's answer to the server: it may hold a sampled image.
	answerTimeout = 30 * time.Second
)

// take takes a message of the server's own that came on the stream of t: a request, or a notification.
func (t *turn) take(ctx context.Context, m *wire.Message) error {
	if m.Request() {
		return t.reply(ctx, m)
	}
	if change, ok := wire.ChangeOf(m.Method); ok {
		t.server.cfg.Heard(change)
		return nil
	}
	in := t.session
	if in == nil {
		t.deliver(m)
		return nil
	}
	switch m.Method {
	case "notifications/cancelled":
		in.takeBack(t, string(m.Param("requestId")))
	case "notifications/resources/updated":
		t.server.sessions.updated(in, m)
	case "notifications/elicitation/complete":
		if in.client != nil && in.client.Notify != nil {
			in.client.Notify(m.Method, m.Params())
		}
	case "notifications/progress":
		id, _ := wire.Integer(m.Token())
		if of := in.flight(id); of != nil { // servers put it on whichever stream is there
			of.deliver(m)
		}
	case "notifications/message":
		in.logged(t, m)
	}
	return nil
}

// logged hands a log message on: one on a call's own stream is that call's. What came on the session's stream is its
// client's; without one it belongs to a call only if no other call could be meant.
func (in *session) logged(t *turn, m *wire.Message) {
	if t.id != 0 {
		t.deliver(m)
		return
	}
	if in.client != nil {
		if in.client.Notify != nil {
			in.client.Notify(m.Method, m.Params())
		}
		return
	}
	if in.key == (sessionKey{}) {
		return // all callers share it: the line may be of a call that has ended
	}
	only := in.only(func(of *turn) bool { return of.exchange.LogLevel != "" && of.exchange.Notify != nil })
	if only != nil {
		only.deliver(m)
	}
}

// reply answers a request of the server's own: by a refusal, or by what the caller says to it.
func (t *turn) reply(ctx context.Context, m *wire.Message) error {
	c := &t.server.cfg
	in := t.session
	if in == nil { // a modern server has no place to receive an answer, and may not ask
		if t.refusals++; t.refusals > refusedMax {
			return c.Fault(upstream.Garbage, nil, "kept asking where it may not ask")
		}
		return nil
	}
	in.mu.Lock()
	able := in.able
	in.mu.Unlock()
	refusal := able.Refuses(m)
	if refusal == nil {
		if t.asks++; t.asks > askedMax {
			return c.Fault(upstream.Garbage, nil, "asked more than %d questions in one answer", askedMax)
		}
		refusal = t.carry(ctx, m)
	} else if t.refusals++; t.refusals > refusedMax {
		return c.Fault(upstream.Garbage, nil, "kept asking for what its client does not offer")
	}
	if refusal != nil {
		t.beside(ctx, refusal)
	}
	return nil
}

// carry begins to ask the caller whom m is for. The answer is a refusal when there is nobody to ask.
func (t *turn) carry(ctx context.Context, m *wire.Message) (refusal []byte) {
	in, of := t.session, t
	if t.exchange.Ask == nil {
		var why string
		if of, why = in.addressee(); of == nil && why != "" {
			return wire.Refusal(m, wire.CodeMethod, why)
		}
	}
	q := &question{server: t.server, from: t, of: of, message: m.Clone()}
	var begun bool
	if of == nil {
		q.ask, q.by = in.client.Ask, t
		ctx, q.cancel = context.WithCancel(ctx)
		begun = in.begin(q) && in.asking(q, ctx)
	} else {
		q.ask, q.by = of.exchange.Ask, of
		ctx, q.cancel = context.WithCancel(of.ctx)
		begun = in.begin(q) && of.asking(q, ctx)
	}
	if !begun {
		q.cancel()
		in.forgetQuestion(q)
		return wire.Refusal(m, codeInternal, "too many questions are open, or the call that this one belongs to has ended")
	}
	t.server.questions.Add(1)
	return nil
}

// codeInternal is JSON-RPC's for what went wrong on the asked side.
const codeInternal = -32603

// question is a request of the server's own on its way to a caller.
type question struct {
	server  *Server
	from    *turn // on whose stream it came
	of      *turn // the exchange it belongs to; nil: the session's client
	by      *turn // under whose permit the answer goes back
	ask     upstream.Ask
	message *wire.Message
	cancel  context.CancelFunc // the server takes it back, or its exchange is over
}

// asking runs q unless the exchange is over.
func (t *turn) asking(q *question, ctx context.Context) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.questions.Go(func() { q.run(ctx) })
	return true
}

// asking runs q, which belongs to no exchange, while the session lasts.
func (in *session) asking(q *question, ctx context.Context) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.over {
		return false
	}
	in.work.Go(func() { q.run(ctx) })
	return true
}

// run asks and posts the answer. A question that was taken back gets none.
func (q *question) run(ctx context.Context) {
	in := q.from.session
	defer q.cancel()
	defer in.forgetQuestion(q)
	a := q.ask(ctx, q.message.Method, q.message.Params())
	if ctx.Err() != nil {
		return
	}
	if a == nil {
		a = &upstream.Answer{Error: upstream.NewError(codeInternal, "the client gave no answer")}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	q.by.send(ctx, wire.Response(q.message, a))
}

// beside posts what no answer is expected to, whatever has become of ctx.
func (t *turn) beside(ctx context.Context, body []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideTimeout)
	defer cancel()
	t.send(ctx, body)
}

// send posts what no answer is expected to. That it was not taken is for the server to find out.
func (t *turn) send(ctx context.Context, body []byte) {
	c := &t.server.cfg
	resp, err := t.post(ctx, body, nil)
	if err != nil {
		c.Log.Debug("a message beside a call was not taken", "server", c.Name, "err", err)
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, errorBodyMax)
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		c.Log.Debug("a message beside a call was refused", "server", c.Name, "status", resp.StatusCode)
	}
}

// enter notes an exchange that is in flight in the session.
func (in *session) enter(t *turn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.flights[t.id] = t
	if in.slow.armed || in.id == "" || in.stream.wanted() == nil {
		return
	}
	in.slow.armed, in.slow.call = true, t.id
	if in.slow.timer == nil {
		in.slow.timer = time.AfterFunc(slowAfter, in.noticeSlow)
	} else {
		in.slow.timer.Reset(slowAfter)
	}
}

// slowAfter is how long a call waits before its session gets a stream that it would not need: some servers ask whatever
// was declared, on that stream alone, and wait for ever for the answer, which is a refusal.
const slowAfter = time.Second

// slow notices that a call of a session takes long. It is armed once for many calls.
type slow struct {
	timer *time.Timer
	armed bool
	call  int64 // in flight when it was armed
}

// noticeSlow opens the stream of the session if a call has been in flight for long, and goes on watching if there are
// others.
func (in *session) noticeSlow() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.slow.armed = false
	if in.flights[in.slow.call] != nil {
		in.stream.begin()
		return
	}
	for id := range in.flights {
		in.slow.armed, in.slow.call = true, id
		in.slow.timer.Reset(slowAfter)
		return
	}
}

// exit ends what is still going on for an exchange: its caller has the answer, and is told and asked nothing more.
func (in *session) exit(t *turn) {
	t.mu.Lock()
	t.over = true // before its questions are ended, so that none begins behind that
	t.mu.Unlock()
	in.mu.Lock()
	delete(in.flights, t.id)
	for q := range in.questions {
		if q.of == t {
			q.cancel()
		}
	}
	in.mu.Unlock()
	t.questions.Wait()
}

// flight is the exchange id; nil: there is none, or not any more.
func (in *session) flight(id int64) *turn {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.flights[id]
}

// only is the one exchange in flight for which what holds; nil: there is none, or more than one.
func (in *session) only(what func(*turn) bool) *turn {
	in.mu.Lock()
	defer in.mu.Unlock()
	var found *turn
	for _, t := range in.flights {
		if what(t) {
			if found != nil {
				return nil
			}
			found = t
		}
	}
	return found
}

// addressee is whom a question is for that came on no stream of a call: in a client's own session its newest call, or
// nil for the client itself; otherwise the only call there is. why says why there is nobody to ask.
func (in *session) addressee() (of *turn, why string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	calls := 0
	for _, t := range in.flights {
		if t.exchange.Ask == nil {
			continue
		}
		calls++
		if of == nil || t.id > of.id {
			of = t
		}
	}
	switch {
	case in.client != nil && (of != nil || in.client.Ask != nil):
		return of, ""
	case calls == 1:
		return of, ""
	case calls == 0:
		return nil, "no call is in flight that this could belong to"
	}
	return nil, "several calls are in flight, and nothing says which of them this belongs to"
}

// begin notes q, so that it can be taken back; false: there are too many.
func (in *session) begin(q *question) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.questions) >= openQuestionsMax {
		return false
	}
	in.questions[q] = true
	return true
}

func (in *session) forgetQuestion(q *question) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.questions, q)
}

// takeBack ends the question id, as the server wishes, which says so on the stream of t. Only where the server keeps a
// session is it one server that counts, whatever the stream.
func (in *session) takeBack(t *turn, id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for q := range in.questions {
		if (q.from == t || in.stateful()) && bytes.Equal(q.message.ID(), []byte(id)) {
			q.cancel()
		}
	}
}

// say posts a message of a client's, under the session's own permit.
func (in *session) say(ctx context.Context, s *Server, permit *gate.Permit, body []byte) {
	t := &turn{server: s, exchange: &upstream.Exchange{Permit: permit}, peer: in.peer, session: in}
	t.beside(ctx, body)
}
