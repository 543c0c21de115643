package front

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// Streams of sessions since 2025-03-26 can be resumed: their events have ids, and a client that has lost a connection
// gets what came after the last one it saw by a GET that names it. Since 2025-11-25 a stream begins with an event that has
// an id and nothing else, so that there is something to come back with.

// retryAfter is how long clients are asked to wait before they come back.
const retryAfter = time.Second

// belong makes the reply one that the session's client can resume, if its revision has that.
func (o *reply) belong(s *session, kind replay.Kind) {
	if o.parent != nil || s.version < era.V2025Mar {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.session, o.kind = s, kind
}

// primes reports whether the stream begins with an event that has only an id. Holding mu.
func (o *reply) primes() bool { return o.session != nil && o.session.version >= era.V2025Nov }

// trailed begins to keep the events of a stream that can be resumed and returns what goes before them. Holding mu.
func (o *reply) trailed() []byte {
	if o.session == nil {
		return nil
	}
	o.trail = o.session.events().Open(o.kind, o)
	if !o.primes() {
		return nil
	}
	prime := fmt.Appendf(nil, "id: %s\nretry: %d\ndata: \n\n", o.trail.ID(), retryAfter.Milliseconds())
	o.trail.Add(prime)
	return prime
}

// attach goes on with the stream on another connection, behind the event of that number. whole is false when something
// came in between that is not kept; ok is false when that is the end of the stream.
func (o *reply) attach(w http.ResponseWriter, r *http.Request, n uint64, hangUp func()) (whole, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	events, whole, last := o.trail.After(n)
	if o.over && !last {
		return false, false
	}
	if o.hangUp != nil {
		o.hangUp()
	}
	o.w, o.left, o.broken, o.hangUp = w, r.Context().Done(), false, hangUp
	startStream(w)
	o.put(events...)
	if o.over {
		hangUp()
	} else {
		o.idle.Reset(keepAliveEvery)
	}
	return whole, true
}

// leave takes the connection w from the stream. had is false when it has another one already; waits says that it can have
// another.
func (o *reply) leave(w http.ResponseWriter) (had, waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w != w {
		return false, false
	}
	o.broken = true
	o.idle.Stop()
	return true, !o.over && o.trail != nil
}

// dropped reports whether the stream is one for what is said outside of requests that another has taken the place of.
func (o *reply) dropped() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kind == replay.Session && o.over
}

// events are the kept events of the session.
func (s *session) events() *replay.Log[*reply] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		s.log = replay.NewLog[*reply](s.store)
		context.AfterFunc(s.ended, s.log.Close)
	}
	return s.log
}

// seenLast is the stream that the client wants to resume, by the Last-Event-ID of its GET, and the number of the last
// event it has seen; nil: it gets a new one.
func (x *exchange) seenLast() (*reply, uint64, *rpc.Error) {
	id := x.r.Header.Get("Last-Event-ID")
	if id == "" || x.session.version < era.V2025Mar {
		return nil, 0, nil
	}
	stream, kind, n, ok := x.session.events().Find(id)
	switch {
	case !ok:
		return nil, 0, rpc.Refused(http.StatusBadRequest, "this Last-Event-ID is none of this session")
	case stream != nil && !stream.Of.dropped():
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
	defer s.mu.Unlock()
	for i := range s.seen {
		s.seen[i] = ^s.seen[i]
	}
	for uri := range s.subscriptions {
		s.updates.add(uri, append(append([]byte(`{"uri":`), rpc.String(uri)...), '}'))
	}
}

// goOn continues a stream of the session on this GET until it ends, the client goes away or comes back elsewhere.
func (x *exchange) goOn(ctx context.Context, out *reply, n uint64, hangUp func()) {
	whole, ok := out.attach(x.w, x.r, n, hangUp)
	if !ok {
		x.refuse(nil, eventsGone())
		return
	}
	x.out = out
	if out.kind == replay.Session {
		if !whole {
			x.session.forget()
		}
		x.stand(ctx)
		return
	}
	x.session.streamOpened()
	defer func() { _, _ = out.leave(x.w) }()
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
