package front

import (
	"net/http"
	"net/url"
	"time"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// helloWithin is how long a stream of HTTP+SSE may be open before its client has opened a session.
const helloWithin = time.Minute

// linkParam is the parameter of the POST address that names the stream.
const linkParam = "session"

// sse serves HTTP+SSE, the transport of 2024-11-05: GET opens the stream and is told the address that messages are posted
// to, whose answers come on the stream.
func (x *exchange) sse() {
	switch x.r.Method {
	case http.MethodGet:
		x.openSSE()
	case http.MethodPost:
		x.postSSE()
	default:
		x.w.Header().Set("Allow", http.MethodGet+", "+http.MethodPost)
		x.refuse(nil, rpc.Refused(http.StatusMethodNotAllowed, "use GET to open the stream; newer clients use /mcp"))
	}
}

// openSSE is the stream, from its beginning to its end.
func (x *exchange) openSSE() {
	out := reply.NewStream(x.w, x.r)
	defer out.End()
	l := x.newLink(out, false)
	defer l.close()
	id, ok := x.links.Add(l.owner, l)
	if !ok {
		out.End()
		x.refuse(nil, rpc.Refused(http.StatusTooManyRequests, "too many streams of this key are open; close one and try again"))
		return
	}
	defer x.links.Remove(id)
	hello := time.AfterFunc(helloWithin, func() {
		if l.session.Load() == nil {
			l.end()
		}
	})
	defer hello.Stop()
	address := (&url.URL{Path: x.r.URL.Path, RawQuery: linkParam + "=" + id}).String()
	out.Named("endpoint", address)
	x.out = out
	l.converse(x)
	if x.quiet.Err() != nil {
		l.drain()
	}
}

// postSSE takes one message. What cannot be read is refused at once; whatever else there is to say comes on the stream.
func (x *exchange) postSSE() {
	body, problem := edge.Body(x.w, x.r, edge.Limits{})
	if problem != nil {
		x.turnAway(nil, rpc.Refused(problem.Status, problem.Text))
		return
	}
	l, ok := x.links.Find(x.r.URL.Query().Get(linkParam), ownerOf(x.base))
	if !ok || l.space != x.space.Name {
		x.body = body
		x.passOrEnd(x.r.URL.Query().Get(linkParam), nil, rpc.Refused(http.StatusNotFound, "this stream has ended; open it again with GET"))
		return
	}
	m, meta := x.message(body)
	if m == nil {
		return
	}
	x.w.WriteHeader(http.StatusAccepted)
	next := l.exchange(x.r, x.base)
	if m.Method == "initialize" {
		// It may wait for servers, and the client for this response.
		if !l.begin(next, m.ID, func() { next.take(m, meta) }) {
			next.turnAway(m, l.over())
		}
		return
	}
	next.take(m, meta)
}
