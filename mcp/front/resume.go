package front

import (
	"context"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/front/updates"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// Streams of sessions since 2025-03-26 can be resumed: their events have ids, and a client that has lost a connection
// gets what came after the last one it saw by a GET that names it. Since 2025-11-25 a stream begins with an event that has
// an id and nothing else, so that there is something to come back with.

// belong makes a reply one that the session's client can resume, if its revision has that.
func (s *session) belong(o *reply.Reply, kind replay.Kind) {
	if s.version >= era.V2025Mar {
		o.Keep(kind, s, s.version >= era.V2025Nov)
	}
}

// Events implements reply.Keeper.
func (s *session) Events() *replay.Log[*reply.Reply] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		s.log = replay.NewLog[*reply.Reply](s.store)
		context.AfterFunc(s.ended, s.log.Close)
	}
	return s.log
}

// seenLast is the stream that the client wants to resume, by the Last-Event-ID of its GET, and the number of the last
// event it has seen; nil: it gets a new one.
func (x *exchange) seenLast() (*reply.Reply, uint64, *rpc.Error) {
	id := x.r.Header.Get("Last-Event-ID")
	if id == "" || x.session.version < era.V2025Mar {
		return nil, 0, nil
	}
	stream, kind, n, ok := x.session.Events().Find(id)
	switch {
	case !ok:
		return nil, 0, rpc.Refused(http.StatusBadRequest, "this Last-Event-ID is none of this session")
	case stream != nil && !stream.Of.Replaced():
		return stream.Of, n, nil
	case kind == replay.Call:
		return nil, 0, eventsGone()
	}
	x.session.forget()
	return nil, 0, nil
}

func eventsGone() *rpc.Error {
	return rpc.Refused(http.StatusGone, "what came after this event is kept no more; send the request again")
}

// forget has the next stream tell of all that may have changed, since what was told of it may be lost.
func (s *session) forget() {
	s.mu.Lock()
	for i := range s.seen {
		s.seen[i] = ^s.seen[i]
	}
	s.mu.Unlock()
	for _, uri := range s.subscriptions.URIs() {
		s.updates.Resource(uri, updates.Of(uri))
	}
}

// goOn continues the stream of a call on this GET until it ends, the client goes away or comes back elsewhere.
func (x *exchange) goOn(ctx context.Context, out *reply.Reply, n uint64, hangUp func()) {
	if _, ok := out.Attach(x.w, x.r, n, hangUp); !ok {
		x.refuse(nil, eventsGone())
		return
	}
	x.session.streamOpened()
	defer func() { _, _ = out.Leave(x.w) }()
	recheck := time.NewTicker(recheckEvery)
	defer recheck.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.closing.Done():
			return
		case <-recheck.C:
			if !x.stillGood() {
				return
			}
		}
	}
}
