package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

const (
	// bodyBytesMax bounds one answer, a whole event stream included: the largest honest ones are images and files as
	// base64, below 10 MiB.
	bodyBytesMax = 32 << 20
	// errorBodyMax bounds the body of an HTTP error: it holds one JSON-RPC error or nothing of use.
	errorBodyMax = 1 << 20
	// eventBytesMax bounds one event of a stream.
	eventBytesMax = 8 << 20
	// probeTimeout is how long a server may take to answer server/discover before it is taken for a legacy one.
	probeTimeout = 5 * time.Second
	// discoverTimeout bounds a whole Discover over HTTP: a server that hangs must not hold up the others' lists.
	discoverTimeout = 60 * time.Second
	// callTimeout bounds a call whose context has no deadline.
	callTimeout = 10 * time.Minute
	// sideTimeout bounds what is sent beside a call: cancelled, refusals, DELETE.
	sideTimeout = 2 * time.Second
	// tailTimeout is how long the end of a stream is awaited once the answer is there, so that its connection can be used
	// again.
	tailTimeout = 20 * time.Millisecond
	// lingersMax is how many ends in a row may fail to come before they are not awaited any more.
	lingersMax = 3
	// ownRequestsMax bounds the requests a server may make of its client within one answer: all are refused anyway.
	ownRequestsMax = 100
)

// httpServer is a server reached by streamable HTTP.
type httpServer struct {
	cfg  Config
	self []byte // clientInfo
	ids  atomic.Int64

	peer     atomic.Pointer[peer]         // nil until Discover has settled the era
	headers  atomic.Pointer[paramHeaders] // of the modern server's tools
	lingers  atomic.Int32                 // streams in a row that it left open behind the answer
	discover chan struct{}                // holds one token: one Discover at a time
	sessions sessions
	watch    watch
}

func newHTTP(cfg Config, self []byte) *httpServer {
	s := &httpServer{cfg: cfg, self: self, discover: make(chan struct{}, 1)}
	s.sessions.init(s)
	return s
}

// own is a call that the gateway makes in its own name.
func (c *Config) own(a policy.Action) policy.Call { return policy.Call{Action: a, Upstream: c.Name} }

// Call implements Server.
func (s *httpServer) Call(ctx context.Context, x *Exchange) (*Answer, error) {
	p := s.peer.Load()
	if p == nil {
		return nil, s.cfg.fault(Unreachable, nil, "is not connected yet")
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	var a *Answer
	var err error
	if p.era == Modern {
		a, err = s.callModern(ctx, x, p)
	} else {
		a, err = s.callLegacy(ctx, x)
	}
	var f *Fault
	if errors.As(err, &f) && f.Kind == Unreachable && f.HTTP == 0 {
		s.cfg.changed(Lost)
	}
	return a, err
}

// callModern sends x and mends once what a server refuses before it acts: headers made from an old schema, a version it
// did not mean.
func (s *httpServer) callModern(ctx context.Context, x *Exchange, p *peer) (*Answer, error) {
	a, err := s.exchange(ctx, x, p, nil)
	if err != nil || a.Error == nil || a.Error.HTTP != http.StatusBadRequest {
		return a, err
	}
	switch a.Error.Code {
	case codeHeaderMismatch:
		if err := s.relist(ctx, p); err != nil {
			return a, nil // the server's own words say more than why they could not be mended
		}
	case codeVersion:
		if !slices.Contains(supported(a.Error), modernVersion) {
			s.cfg.changed(Lost) // it has become another server: Discover finds out which
			return a, nil
		}
	default:
		return a, nil
	}
	return s.exchange(ctx, x, p, nil)
}

// relist fetches the tools of a modern server anew, for the headers they want.
func (s *httpServer) relist(ctx context.Context, p *peer) error {
	return s.cfg.Gate.Do(ctx, s.cfg.own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		o := &Offer{}
		tools, err := o.list(ctx, s.asker(permit, p, nil), "tools/list", "tools")
		if err != nil {
			return err
		}
		_, headers, _ := sortTools(tools)
		s.headers.Store(&headers)
		permit.Done(ledger.OK, 0, "")
		return nil
	})
}

// asker sends the gateway's own requests under permit.
func (s *httpServer) asker(permit *gate.Permit, p *peer, in *session) ask {
	return func(ctx context.Context, method string, params []byte) (*Answer, error) {
		return s.exchange(ctx, &Exchange{Permit: permit, Method: method, Params: params}, p, in)
	}
}

// exchange sends x once, in the session in if the server is a legacy one, and reads its answer.
func (s *httpServer) exchange(ctx context.Context, x *Exchange, p *peer, in *session) (*Answer, error) {
	id := s.ids.Add(1)
	o := &outgoing{id: id, method: x.Method, name: x.Name, params: x.Params, meta: p.metaOf(ctx, x, id, s.self)}
	t := &turn{server: s, exchange: x, id: id, peer: p, session: in, retry: retryDefault}
	resp, err := t.post(ctx, o.body(), o)
	if err != nil {
		return nil, t.ended(ctx, err)
	}
	a, err := t.read(ctx, resp)
	if err != nil {
		return nil, t.ended(ctx, err)
	}
	return a, nil
}

// turn is one request on the wire and what comes back for it.
type turn struct {
	server   *httpServer
	exchange *Exchange
	id       int64
	peer     *peer
	session  *session // nil for a modern server

	sent        bool
	ownRequests int
	lastEvent   string        // id of the newest event of a resumable stream; empty: it cannot be resumed
	retry       time.Duration // wait before that
	fruitless   int           // resumes in a row that brought no event
}

// post sends body under the exchange's permit. o is nil for what is no request.
func (t *turn) post(ctx context.Context, body []byte, o *outgoing) (*http.Response, error) {
	req, err := t.request(ctx, http.MethodPost, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if o != nil && t.peer.era == Modern {
		var p paramHeaders
		if known := t.server.headers.Load(); known != nil {
			p = *known
		}
		p.modern(req.Header, o)
	}
	t.sent = true
	return t.server.cfg.Gate.RoundTrip(t.exchange.Permit, req)
}

// request begins an HTTP request with the headers all of them have.
func (t *turn) request(ctx context.Context, method string, body io.Reader) (*http.Request, error) {
	c := &t.server.cfg
	req, err := http.NewRequestWithContext(ctx, method, c.URL.String(), body)
	if err != nil {
		return nil, c.fault(Unreachable, err, "has a URL that cannot be used")
	}
	h := req.Header
	h.Set("User-Agent", "tollgate/"+c.Version)
	h.Set("Accept-Encoding", "identity") // a compressed stream is late, and a small body can be a large answer
	if t.peer.version != "" {
		h.Set(sdk.HeaderProtocolVersion, t.peer.version)
	}
	if t.session != nil && t.session.id != "" {
		h.Set(sdk.HeaderSessionID, t.session.id)
	}
	if parent, state := traceOf(ctx); parent != "" {
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
		t.beside(ctx, cancelled(t.id))
	}
	return t.server.cfg.broken(ctx, err)
}

// beside posts what no answer is expected to, whatever has become of ctx.
func (t *turn) beside(ctx context.Context, body []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideTimeout)
	defer cancel()
	resp, err := t.post(ctx, body, nil)
	if err != nil {
		t.server.cfg.Log.Debug("a message beside a call was not taken", "server", t.server.cfg.Name, "err", err)
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, errorBodyMax)
	_ = resp.Body.Close()
}

// read reads the answer from resp, following a stream until it comes.
func (t *turn) read(ctx context.Context, resp *http.Response) (*Answer, error) {
	defer func() { _ = resp.Body.Close() }()
	c := &t.server.cfg
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, c.fault(Garbage, nil, "sent a compressed answer that nobody asked for")
	}
	if resp.StatusCode >= 300 {
		return t.refused(resp, kind)
	}
	switch kind {
	case "application/json":
		m, err := readMessage(resp, bodyBytesMax)
		if err != nil {
			return nil, t.unreadable(err)
		}
		if !m.answers(t.id) && !m.unrouted() {
			return nil, c.fault(Garbage, nil, "answered another request than it was asked")
		}
		return m.answer(resp.StatusCode), nil
	case "text/event-stream":
		a, err := t.stream(ctx, resp)
		for err == nil && a == nil {
			a, err = t.resume(ctx)
		}
		return a, err
	case "":
		return nil, c.fault(Garbage, nil, "took the request without an answer (status %d)", resp.StatusCode)
	}
	return nil, c.fault(Garbage, nil, "answered neither JSON nor an event stream")
}

// refused reads the answer of an HTTP error.
func (t *turn) refused(resp *http.Response, kind string) (*Answer, error) {
	c, status := &t.server.cfg, resp.StatusCode
	f := c.fault(Unreachable, nil, "answered HTTP status %d", status)
	f.HTTP = status
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Text = "server " + c.Name + " refused the gateway's credentials (status " + strconv.Itoa(status) + "): check its auth in the config"
	case status < 400:
		f.Text = "server " + c.Name + " answered with a redirect: write the address it leads to in the config"
	case kind == "application/json":
		m, err := readMessage(resp, errorBodyMax)
		if err == nil && (m.answers(t.id) || m.unrouted()) && m.at[atError].Present() {
			a := m.answer(status)
			if t.sessionLost(a.Error, m.unrouted()) {
				return nil, errSessionLost
			}
			return a, nil
		}
	}
	if t.sessionLost(&RPCError{HTTP: status}, true) {
		return nil, errSessionLost
	}
	return nil, f
}

func (t *turn) unreadable(err error) error {
	var bad *strictjson.Error
	if errors.As(err, &bad) || errors.Is(err, errNotMessage) {
		return t.server.cfg.fault(Garbage, err, "answered something that is not an MCP message")
	}
	return err
}

// errNotMessage wraps what parseMessage says.
var errNotMessage = errors.New("not a message")

// readMessage reads a body of at most max bytes as one message.
func readMessage(resp *http.Response, max int64) (*message, error) {
	if resp.ContentLength > max {
		return nil, errTooLarge
	}
	var buf bytes.Buffer
	if resp.ContentLength > 0 {
		buf.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, max+1))
	if err != nil {
		return nil, err
	}
	if n > max {
		return nil, errTooLarge
	}
	m, err := parseMessage(buf.Bytes())
	if err != nil {
		return nil, errors.Join(errNotMessage, err)
	}
	return m, nil
}

// Ping implements Server. An error answer is a sign of life too.
func (s *httpServer) Ping(ctx context.Context) error {
	p := s.peer.Load()
	if p == nil {
		return s.cfg.fault(Unreachable, nil, "is not connected yet")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := s.cfg.Gate.Do(ctx, s.cfg.own(policy.ServerPing), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var a *Answer
		var err error
		if p.era == Legacy {
			a, err = s.callLegacy(ctx, &Exchange{Permit: permit, Method: "ping"})
		} else {
			a, err = s.exchange(ctx, &Exchange{Permit: permit, Method: "server/discover"}, p, nil)
		}
		if err == nil {
			done(permit, a)
		}
		return err
	})
	return s.cfg.asFault(err)
}

// done settles one of the gateway's own calls by its answer.
func done(permit *gate.Permit, a *Answer) {
	if a.Error != nil {
		permit.Done(ledger.Failed, a.Error.Code, "")
		return
	}
	permit.Done(ledger.OK, 0, "")
}

// Close implements Server.
func (s *httpServer) Close(ctx context.Context) error {
	s.watch.close()
	s.sessions.close(ctx)
	return nil
}

// changed tells the gateway, if it listens.
func (c *Config) changed(what Change) {
	if c.Changed != nil {
		c.Changed(what)
	}
}
