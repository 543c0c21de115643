package streamable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

const (
	// errorBodyMax bounds the body of an HTTP error: it holds one JSON-RPC error or nothing of use.
	errorBodyMax = 1 << 20
	// eventBytesMax bounds one event of a stream.
	eventBytesMax = 8 << 20
	// discoverTimeout bounds a whole Discover over HTTP: a server that hangs must not hold up the others' lists.
	discoverTimeout = 60 * time.Second
	// sideTimeout bounds what is sent beside a call: cancelled, refusals, DELETE.
	sideTimeout = 2 * time.Second
	// tailTimeout is how long the end of a stream is awaited once the answer is there, so that its connection can be used
	// again.
	tailTimeout = 20 * time.Millisecond
	// lingersMax is how many ends in a row may fail to come before they are not awaited any more.
	lingersMax = 3
	// refusedMax bounds the requests of a server's own that are refused on one stream; askedMax those that are carried to
	// a caller: an agent that samples in a loop makes some hundred.
	refusedMax = 100
	askedMax   = 1000
)

// Server is an MCP server reached by streamable HTTP. It is an upstream.Server; [New] makes it.
type Server struct {
	cfg  upstream.Config
	self []byte // clientInfo
	ids  atomic.Int64

	url          *url.URL    // never changed, as are the headers that all requests and those with a body begin with
	every, posts http.Header // not to be changed

	peer     atomic.Pointer[wire.Peer]         // nil until Discover has settled the era
	headers  atomic.Pointer[wire.ParamHeaders] // of the modern server's tools
	lingers  atomic.Int32                      // streams in a row that it left open behind the answer
	discover chan struct{}                     // holds one token: the era is settled by one at a time
	vain     time.Time                         // when a call last had it settled anew in vain; whoever holds the token
	sessions sessions
	piped    atomic.Bool // its sessions are streams of HTTP+SSE
	watch    watch
	feeds    feeds

	listeners  atomic.Int64 // streams that are kept, open or to be opened again
	streams    atomic.Int64 // of those, open now
	questions  atomic.Int64 // carried to callers
	reconnects atomic.Int64 // sessions and streams opened again
}

// New makes a Server of cfg, which has a URL. It connects to nothing yet.
func New(cfg upstream.Config) (*Server, error) {
	if err := cfg.Prepare(); err != nil {
		return nil, err
	}
	template, err := http.NewRequest(http.MethodPost, cfg.URL.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("server %s has a URL that cannot be used: %w", cfg.Name, err)
	}
	s := &Server{cfg: cfg, self: cfg.ClientInfo(), url: template.URL, discover: make(chan struct{}, 1)}
	s.every = http.Header{
		"User-Agent":      {"tollgate/" + s.cfg.Version},
		"Accept-Encoding": {"identity"}, // a compressed stream is late, and a small body can be a large answer
	}
	s.posts = maps.Clone(s.every)
	s.posts["Content-Type"] = []string{"application/json"}
	s.posts["Accept"] = []string{"application/json, text/event-stream"}
	s.sessions.init(s)
	s.feeds.init(s)
	return s, nil
}

// headersOf are the headers that a request begins with.
func (s *Server) headersOf(method string) http.Header {
	if method == http.MethodPost {
		return s.posts
	}
	return s.every
}

// Call implements upstream.Server.
func (s *Server) Call(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
	p := s.peer.Load()
	if p == nil {
		return nil, s.cfg.Fault(upstream.Unreachable, nil, "is not connected yet")
	}
	if _, ok := ctx.Deadline(); !ok && !x.Timed && x.Ask == nil { // who can be asked has a clock that stands still meanwhile
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wire.CallTimeout)
		defer cancel()
	}
	var a *upstream.Answer
	var err error
	if p.Era == upstream.Modern {
		a, err = s.callModern(ctx, x, p)
	} else {
		a, err = s.callLegacy(ctx, x)
	}
	if f, ok := errors.AsType[*upstream.Fault](err); ok && f.Kind == upstream.Unreachable && f.HTTP == 0 {
		s.cfg.Heard(upstream.Lost)
	}
	return a, err
}

// callModern sends x and mends once what a server refuses before it acts: headers made from an old schema, a version it
// did not mean, an era it has left.
func (s *Server) callModern(ctx context.Context, x *upstream.Exchange, p *wire.Peer) (*upstream.Answer, error) {
	a, err := s.exchange(ctx, x, p, nil)
	if leftModern(a, err) {
		if p := s.resettle(ctx, p); p != nil && p.Era == upstream.Legacy {
			return s.callLegacy(ctx, x)
		}
		return a, err
	}
	if err != nil || a.Error == nil || a.Error.HTTP != http.StatusBadRequest {
		return a, err
	}
	switch a.Error.Code {
	case wire.CodeHeaderMismatch:
		if err := s.relist(ctx, p); err != nil {
			return a, nil // the server's own words say more than why they could not be mended
		}
	case wire.CodeVersion: // it names the version that it was asked in
	default:
		return a, nil
	}
	return s.exchange(ctx, x, p, nil)
}

// relist fetches the tools of a modern server anew, for the headers they want.
func (s *Server) relist(ctx context.Context, p *wire.Peer) error {
	return s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		o := &upstream.Offer{}
		tools, err := wire.List(ctx, o, s.asker(permit, p, nil), "tools/list", "tools")
		if err != nil {
			return err
		}
		_, headers, _ := wire.SortTools(tools)
		s.headers.Store(&headers)
		permit.Done(ledger.OK, 0, "")
		return nil
	})
}

// asker sends the gateway's own requests under permit.
func (s *Server) asker(permit *gate.Permit, p *wire.Peer, in *session) wire.Asker {
	return func(ctx context.Context, method string, params []byte) (*upstream.Answer, error) {
		return s.exchange(ctx, &upstream.Exchange{Permit: permit, Method: method, Params: params}, p, in)
	}
}

// exchange sends x once, in the session in if the server is a legacy one, and reads its answer.
func (s *Server) exchange(ctx context.Context, x *upstream.Exchange, p *wire.Peer, in *session) (*upstream.Answer, error) {
	id := s.ids.Add(1)
	o := &wire.Request{ID: id, Method: x.Method, Name: x.Name, Params: x.Params, Meta: p.Meta(ctx, x, id, s.self)}
	t := &turn{server: s, exchange: x, id: id, peer: p, session: in, ctx: ctx, retry: retryDefault}
	if in != nil {
		if in.pipe != nil {
			t.answer = make(chan *wire.Message, 1)
		}
		in.enter(t)
		defer in.exit(t)
	}
	resp, err := t.post(ctx, o.Body(), o)
	if err != nil {
		return nil, t.ended(ctx, err)
	}
	var a *upstream.Answer
	if t.answer != nil {
		a, err = t.await(ctx, resp)
	} else {
		a, err = t.read(ctx, resp)
	}
	if err != nil {
		return nil, t.ended(ctx, err)
	}
	return a, nil
}

// turn is one request on the wire and what comes back for it; or a stream on which the server speaks by itself.
type turn struct {
	server   *Server
	exchange *upstream.Exchange
	id       int64
	peer     *wire.Peer
	session  *session           // nil for a modern server
	ctx      context.Context    // of the exchange
	answer   chan *wire.Message // holds the answer that came on the stream of the session; nil: it comes on this one

	sent      bool
	refusals  int           // of requests of the server's own on this stream
	asks      int           // likewise, carried to a caller
	lastEvent string        // id of the newest event of a resumable stream; empty: it cannot be resumed
	retry     time.Duration // wait before that
	fruitless int           // resumes in a row that brought no event

	mu        sync.Mutex     // held while the caller is told something; guards over
	over      bool           // the caller has its answer: nothing more is for it
	questions sync.WaitGroup // to the caller
}

// deliver hands the caller of t a notification of its own.
func (t *turn) deliver(m *wire.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		wire.Deliver(t.exchange, m, t.id)
	}
}

// post sends body under the exchange's permit. o is nil for what is no request.
func (t *turn) post(ctx context.Context, body []byte, o *wire.Request) (*http.Response, error) {
	req, err := t.request(ctx, http.MethodPost, body)
	if err != nil {
		return nil, err
	}
	if o != nil && t.peer.Era == upstream.Modern {
		var p wire.ParamHeaders
		if known := t.server.headers.Load(); known != nil {
			p = *known
		}
		p.Set(req.Header, o)
	}
	t.sent = true
	return t.server.cfg.Gate.RoundTrip(t.exchange.Permit, req)
}

// request begins an HTTP request with the headers all of them have; body nil: it has none.
func (t *turn) request(ctx context.Context, method string, body []byte) (*http.Request, error) {
	c := &t.server.cfg
	to := t.server.url
	if t.session != nil && t.session.pipe != nil && method == http.MethodPost {
		to = t.session.pipe.endpoint
	}
	h := maps.Clone(t.server.headersOf(method))
	req := (&http.Request{Method: method, URL: to, Host: to.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if body != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	own := [...]string{t.peer.Version, ""} // one allocation for both
	if t.session != nil {
		own[1] = t.session.id
	}
	values := own[:]
	if own[0] != "" {
		h[sdk.HeaderProtocolVersion] = values[:1:1]
	}
	if own[1] != "" {
		h[sdk.HeaderSessionID] = values[1:]
	}
	if parent, state := wire.TraceOf(ctx); parent != "" {
		h.Set("Traceparent", parent)
		if state != "" {
			h.Set("Tracestate", state)
		}
	}
	if c.Vault != nil {
		if err := c.Vault.Apply(t.exchange.Permit, h); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// ended explains err and, when the caller is gone, tells a legacy server so: closing the stream does not.
func (t *turn) ended(ctx context.Context, err error) error {
	if t.sent && ctx.Err() != nil && t.session != nil && t.exchange.Method != "initialize" {
		t.beside(ctx, wire.Cancelled(t.id))
	}
	return t.server.cfg.Broken(ctx, err)
}

// read reads the answer from resp, following a stream until it comes.
func (t *turn) read(ctx context.Context, resp *http.Response) (*upstream.Answer, error) {
	defer func() { _ = resp.Body.Close() }()
	c := &t.server.cfg
	kind := mediaType(resp.Header.Get("Content-Type"))
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, c.Fault(upstream.Garbage, nil, "sent a compressed answer that nobody asked for")
	}
	if resp.StatusCode >= 300 {
		return t.refusal(resp, kind)
	}
	switch kind {
	case "application/json":
		m, err := readMessage(resp, wire.AnswerBytesMax)
		if err != nil {
			return nil, t.unreadable(err)
		}
		if !m.Answers(t.id) && !m.Unrouted() {
			return nil, c.Fault(upstream.Garbage, nil, "answered another request than it was asked")
		}
		return m.Answer(resp.StatusCode), nil
	case "text/event-stream":
		a, err := t.stream(ctx, resp)
		for err == nil && a == nil {
			a, err = t.resume(ctx)
		}
		return a, err
	case "":
		return nil, c.Fault(upstream.Garbage, nil, "took the request without an answer (status %d)", resp.StatusCode)
	}
	return nil, c.Fault(upstream.Garbage, nil, "answered neither JSON nor an event stream")
}

// mediaType is a Content-Type without its parameters; empty: it is none.
func mediaType(contentType string) string {
	if contentType == "application/json" || contentType == "text/event-stream" {
		return contentType
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind
}

// refusal reads the answer of an HTTP error.
func (t *turn) refusal(resp *http.Response, kind string) (*upstream.Answer, error) {
	c, status := &t.server.cfg, resp.StatusCode
	f := c.Fault(upstream.Unreachable, nil, "answered HTTP status %d", status)
	f.HTTP = status
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Text = "server " + c.Name + " refused the gateway's credentials (status " + strconv.Itoa(status) + "): check its auth in the config"
	case status < 400:
		f.Text = "server " + c.Name + " answered with a redirect: write the address it leads to in the config"
	case kind == "application/json":
		m, err := readMessage(resp, errorBodyMax)
		if err == nil && (m.Answers(t.id) || m.Unrouted()) && m.Failed() {
			a := m.Answer(status)
			if t.sessionLost(a.Error, m.Unrouted()) {
				return nil, c.Fault(upstream.Gone, errSessionLost, "has forgotten the session")
			}
			return a, nil
		}
	}
	if t.sessionLost(&upstream.RPCError{HTTP: status}, true) {
		return nil, c.Fault(upstream.Gone, errSessionLost, "has forgotten the session")
	}
	return nil, f
}

func (t *turn) unreadable(err error) error {
	var bad *strictjson.Error
	if errors.As(err, &bad) || errors.Is(err, errNotMessage) {
		return t.server.cfg.Fault(upstream.Garbage, err, "answered something that is not an MCP message")
	}
	return err
}

// errNotMessage wraps what parseMessage says.
var errNotMessage = errors.New("not a message")

// readMessage reads a body of at most max bytes as one message.
func readMessage(resp *http.Response, max int64) (*wire.Message, error) {
	if resp.ContentLength > max {
		return nil, upstream.ErrTooLarge
	}
	raw, err := readBody(resp, max)
	if err != nil {
		return nil, err
	}
	m, err := wire.Parse(raw)
	if err != nil {
		return nil, errors.Join(errNotMessage, err)
	}
	return m, nil
}

// readBody reads a body of at most max bytes, of which resp may say how many there are.
func readBody(resp *http.Response, max int64) ([]byte, error) {
	if resp.ContentLength >= 0 {
		raw := make([]byte, resp.ContentLength)
		_, err := io.ReadFull(resp.Body, raw)
		return raw, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, max+1))
	if err == nil && int64(len(raw)) > max {
		err = upstream.ErrTooLarge
	}
	return raw, err
}

// Ping implements upstream.Server. An error answer is a sign of life too.
func (s *Server) Ping(ctx context.Context) error {
	p := s.peer.Load()
	if p == nil {
		return s.cfg.Fault(upstream.Unreachable, nil, "is not connected yet")
	}
	ctx, cancel := context.WithTimeout(ctx, wire.ProbeTimeout)
	defer cancel()
	err := s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerPing), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var a *upstream.Answer
		var err error
		if p.Era == upstream.Legacy {
			a, err = s.callLegacy(ctx, &upstream.Exchange{Permit: permit, Method: "ping"})
		} else {
			a, err = s.exchange(ctx, &upstream.Exchange{Permit: permit, Method: "server/discover"}, p, nil)
		}
		if err == nil {
			upstream.Done(permit, a)
		}
		return err
	})
	return s.cfg.AsFault(err)
}

// Close implements upstream.Server.
func (s *Server) Close(ctx context.Context) error {
	s.watch.close()
	s.feeds.close()
	s.sessions.close(ctx)
	return nil
}

// Counts implements upstream.Server.
func (s *Server) Counts() upstream.Counts {
	return upstream.Counts{
		Sessions: s.sessions.open(), Streams: int(s.streams.Load()),
		Questions: s.questions.Load(), Reconnects: s.reconnects.Load(),
	}
}
