package front

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/flights"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// link is one client on a connection of its own: its messages come one by one, and everything that is said to it leaves
// by one stream. HTTP+SSE and stdio are links. The session that is opened over a link ends with it.
type link struct {
	*Front
	r     *http.Request // that opened it: its credential is asked for again as long as the link lasts
	owner owner
	space string
	out   *reply.Reply // the stream
	mixed bool         // both eras come over it, and no message has headers: stdio

	ended context.Context
	end   context.CancelFunc

	opened  chan struct{} // closed when there is a session
	session atomic.Pointer[session]

	flights flights.Set

	mu     sync.Mutex     // guards ending; held when work begins
	ending bool           // what is being served is waited for, and nothing begins
	work   sync.WaitGroup // messages being served
}

// newLink makes the link that x opens. out is its stream. The link ends with the request that opened it or with the
// gateway, at the latest.
func (x *exchange) newLink(out *reply.Reply, mixed bool) *link {
	l := &link{
		Front: x.Front, r: x.r, owner: ownerOf(x.base), space: x.space.Name, out: out, mixed: mixed,
		opened: make(chan struct{}),
	}
	ended, end := context.WithCancel(x.r.Context())
	stop := context.AfterFunc(x.closing, end)
	l.ended, l.end = ended, func() { stop(); end() }
	return l
}

// close ends the link and its session, and waits for what is being served.
func (l *link) close() {
	l.end()
	if s := l.session.Load(); s != nil {
		l.sessions.close(s)
	}
	l.finish()
}

// begin serves a message of x in its own time; false: the link is ending. A panic ends that message and not the process.
func (l *link) begin(x *exchange, id []byte, serve func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return false
	}
	l.work.Go(func() { x.apart(id, serve) })
	return true
}

// finish waits for what is being served. Nothing begins from then on.
func (l *link) finish() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.work.Wait()
}

// open makes s the session of the link; false: it has one already.
func (l *link) open(s *session) bool {
	if !l.session.CompareAndSwap(nil, s) {
		return false
	}
	s.read() // it is never idle
	s.enter(l.out)
	context.AfterFunc(l.ended, func() { l.sessions.close(s) })
	close(l.opened)
	return true
}

// converse tells the client of the link's session what no request of its own brings, until the link ends or its
// credential is good no more.
func (l *link) converse(x *exchange) {
	select {
	case <-l.opened:
	case <-l.ended.Done():
		return
	case <-l.quiet.Done():
		return
	}
	s := l.session.Load()
	x.watch(l.ended, s.claim, s.updates, s.tellLists, s.tellUpdates)
}

// exchange begins the way of one message of the link. It came with r, from base.
func (l *link) exchange(r *http.Request, base *policy.Principal) *exchange {
	x := &exchange{Front: l.Front, w: nowhere{}, r: r, base: base, link: l, session: l.session.Load()}
	x.out = reply.On(l.out)
	x.space = l.cfg.Backend.Catalog().Space(l.space)
	return x
}

// take serves one message. What is not answered and initialize, which what follows stands on, are done when it returns;
// everything else is done in its own time.
func (x *exchange) take(m *rpc.Message, meta *era.Meta) {
	switch {
	case x.space == nil:
		x.turnAway(m, rpc.Refused(http.StatusNotFound, "there is no MCP endpoint of this name any more"))
	case m.Response() || m.Notification():
		x.link.hear(x, m)
	case m.Method == "initialize":
		x.initialize(m)
	default:
		x.link.start(x, m, meta)
	}
}

// hear takes a message that is not answered.
func (l *link) hear(x *exchange, m *rpc.Message) {
	if m.Method == "notifications/cancelled" {
		l.flights.Cancel(m.Get(rpc.RequestID)) // and what came in a batch is the session's
	}
	if x.session == nil {
		return // nobody's, as yet
	}
	if err := x.hear(m); err != nil {
		x.turnAway(nil, err)
	}
}

// start serves a request of either era in its own time.
func (l *link) start(x *exchange, m *rpc.Message, meta *era.Meta) {
	ctx, cancel := context.WithCancel(l.ended)
	x.r = x.r.WithContext(ctx)
	f := flights.Flight{Cancel: func() {
		x.out.Drop() // a client that cancels has stopped waiting
		cancel()
	}}
	if m.Method == "subscriptions/listen" {
		f.End = cancel
	}
	if err := l.flights.Enter(m.ID, f); err != nil {
		cancel()
		x.turnAway(m, err)
		return
	}
	finish := sync.OnceFunc(func() { l.flights.Leave(m.ID) })
	begun := l.begin(x, m.ID, func() {
		defer cancel()
		defer finish()
		x.out.Ending = finish // whoever has the answer may use its id again
		if l.mixed && meta.Era(nil, m) == upstream.Modern {
			x.modern(m, meta)
			return
		}
		x.legacy(m, meta)
	})
	if !begun {
		cancel()
		finish()
		x.turnAway(m, l.over())
	}
}

// over is the answer to what comes when the link is ending.
func (l *link) over() *rpc.Error {
	return rpc.Refused(http.StatusServiceUnavailable, "this connection is ending; open another")
}

// drain waits for the answers that are on their way. Listen streams, which would not end by themselves, end now.
func (l *link) drain() {
	l.flights.EndStreams()
	l.finish()
}

// linksOwnerMax bounds the links that one principal has open at a time and that are told apart by id.
const linksOwnerMax = sessionsOwnerMax

// nowhere is the response of a message that is answered elsewhere.
type nowhere struct{}

// Header implements http.ResponseWriter.
func (nowhere) Header() http.Header { return http.Header{} }

// WriteHeader implements http.ResponseWriter.
func (nowhere) WriteHeader(int) {}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
