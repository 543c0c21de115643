package front

import (
	"context"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// How long a question waits. Until it is answered its call goes on, and holds its place in the limits of its key: a client
// that has gone for good does not say so.
const (
	streamWithin = 10 * time.Second // for the client to open a stream, when there is none to go out on
	answerWithin = 10 * time.Minute // for the answer: people think; a server that waits for less says so
)

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
	q, params, ok := s.questions.Pose(server, params)
	if !ok {
		return unasked(rpc.Refused(http.StatusTooManyRequests, "the client has too many questions to answer already"))
	}
	defer s.questions.Withdraw(q.ID)
	on := s.carry(ctx, own, rpc.AppendRequest(nil, q.ID, method, params))
	if on != nil {
		late := time.NewTimer(answerWithin)
		defer late.Stop()
		select {
		case a := <-q.Answer:
			return a
		case <-late.C:
		case <-s.ended.Done():
		case <-ctx.Done():
		}
	}
	switch {
	case s.ended.Err() != nil: // which ends its calls, too
		return unasked(internal("the client's session has ended"))
	case on != nil:
		s.takeBack(on, q.ID)
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
	q := s.questions.Withdraw(m.ID)
	if q == nil {
		return nil
	}
	a, ok := era.ReadAnswer(m)
	if !ok {
		q.Settle(unasked(internal("the client's answer cannot be read")))
		return rpc.Invalid("a response has a result, which is an object, or an error with a code")
	}
	q.Settle(a)
	return nil
}
