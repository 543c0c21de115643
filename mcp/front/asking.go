package front

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The bounds of what clients are asked. How long a client takes to answer is bounded by the call it is asked for alone:
// people think, and the server says how long it can wait.
const (
	questionsMax = 64               // that one session's client has not answered yet
	streamWithin = 10 * time.Second // a question that has no stream to go out on waits so long for the client to open one
)

// question is what a client was asked and has not answered yet.
type question struct {
	answer chan *upstream.Answer // takes one
	server string                // whose question it is; empty: the session cannot tell
	token  []byte                // under which that server wants to hear of progress; nil: it does not
}

// asker returns how a call to a server that is answered by out puts that server's questions to the session's client; nil:
// the client can be asked nothing.
func (s *session) asker(out *reply.Reply, server string) upstream.Ask {
	if !s.asks {
		return nil
	}
	return func(ctx context.Context, method string, params []byte) *upstream.Answer {
		return s.ask(ctx, out, server, method, params)
	}
}

// ask puts a question to the session's client and waits for the answer; see upstream.Ask. It goes out on own, the reply
// to the call it belongs to, when the client reads that as an event stream, and else on the session's stream.
func (s *session) ask(ctx context.Context, own *reply.Reply, server, method string, params []byte) *upstream.Answer {
	params, refused := era.Question(s.version, s.capabilities, method, params)
	if refused != nil {
		return unasked(refused)
	}
	q := &question{answer: make(chan *upstream.Answer, 1), server: server}
	if server != "" {
		q.token = progressToken(params)
	}
	id, ok := s.pose(q)
	if !ok {
		return unasked(rpc.Refused(http.StatusTooManyRequests, "the client has too many questions to answer already"))
	}
	defer s.withdraw(id)
	on := s.carry(ctx, own, rpc.AppendRequest(nil, id, method, withToken(params, id, q)))
	if on != nil {
		select {
		case a := <-q.answer:
			return a
		case <-s.ended.Done():
		case <-ctx.Done():
		}
	}
	switch {
	case s.ended.Err() != nil: // which ends its calls, too
		return unasked(internal("the client's session has ended"))
	case on != nil:
		s.takeBack(on, id)
		return unasked(internal("the question was taken back before the client had answered"))
	case ctx.Err() != nil:
		return unasked(internal("the question was taken back before the client was asked"))
	}
	return unasked(internal("the client has no event stream open to be asked on"))
}

// unasked is the answer of a client that could not be asked.
func unasked(e *rpc.Error) *upstream.Answer {
	return &upstream.Answer{Error: &upstream.RPCError{Code: e.Code, Raw: e.Object()}}
}

func internal(text string) *rpc.Error { return &rpc.Error{Code: rpc.CodeInternal, Message: text} }

// progressToken is the token under which a server wants to hear how its question gets on; nil: there is none.
func progressToken(params []byte) []byte {
	v := strictjson.Lookup(params, strictjson.Lookup(params, strictjson.Whole(params), "_meta"), "progressToken")
	if v.Kind != '"' && v.Kind != '0' {
		return nil
	}
	return v.In(params)
}

// withToken puts the question's id in the place of the server's progress token: two servers may use the same. Where it is
// not known whose the progress would be, none is asked for.
func withToken(params, id []byte, q *question) []byte {
	meta := strictjson.Lookup(params, strictjson.Whole(params), "_meta")
	if !strictjson.Lookup(params, meta, "progressToken").Present() {
		return params
	}
	change := strictjson.Change{Name: "progressToken"}
	if q.token != nil {
		change.Value = id
	}
	return rpc.With(params, strictjson.Change{Name: "_meta", Value: rpc.With(meta.In(params), change)})
}

// pose enters a question under an id of its own; false: there are too many.
func (s *session) pose(q *question) (id []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.questions) >= questionsMax {
		return nil, false
	}
	s.asked++
	id = strconv.AppendUint(nil, s.asked, 10)
	if s.questions == nil {
		s.questions = map[string]*question{}
	}
	s.questions[string(id)] = q
	return id, true
}

// withdraw forgets a question: whatever comes for its id from now on is nobody's.
func (s *session) withdraw(id []byte) *question {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.questions[string(id)]
	delete(s.questions, string(id))
	return q
}

// takeBack tells the client that a question needs no answer any more.
func (s *session) takeBack(on *reply.Reply, id []byte) {
	params := append(append([]byte(`{"requestId":`), id...), `,"reason":"the server waits for the answer no longer"}`...)
	msg := rpc.AppendNotification(nil, "notifications/cancelled", params)
	if !on.Event(msg) {
		s.say(msg)
	}
}

// answered takes a response of the client to the question it answers, if that still waits. The error says that it cannot
// be read, which is an answer, too: the question is not asked again.
func (s *session) answered(m *rpc.Message) *rpc.Error {
	q := s.withdraw(m.ID)
	if q == nil {
		return nil
	}
	a, ok := era.ReadAnswer(m)
	if !ok {
		q.answer <- unasked(internal("the client's answer cannot be read"))
		return rpc.Invalid("a response has a result, which is an object, or an error with a code")
	}
	q.answer <- a
	return nil
}

// progress passes on what the client says of its work on a question to the server whose question it is.
func (x *exchange) progress(m *rpc.Message) {
	params := m.Get(rpc.Params)
	token := strictjson.Lookup(params, strictjson.Whole(params), "progressToken")
	s := x.session
	s.mu.Lock()
	q := s.questions[string(token.In(params))]
	s.mu.Unlock()
	if q != nil && q.token != nil {
		x.cfg.Backend.Tell(q.server, s.client.ID, m.Method, rpc.With(params, strictjson.Change{Name: "progressToken", Value: q.token}))
	}
}
