package streamable

import (
	"context"
	"errors"
	"net/http"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

// sessionIDMax bounds the id a server gives: it is sent back with each request.
const sessionIDMax = 1024

// initialize opens the session in under its own permit. A server that takes no POST at its address may be one of
// 2024-11-05, whose session is a stream: closePipe ends it.
func (s *Server) initialize(ctx context.Context, permit *gate.Permit, in *session) (closePipe func(), err error) {
	var f *upstream.Fault
	if s.piped.Load() {
		closePipe, err := s.openPipe(ctx, permit, in)
		if !errors.As(err, &f) || f.Kind != upstream.Garbage {
			return closePipe, err
		}
		s.piped.Store(false) // it has become another server
	}
	err = s.greet(ctx, permit, in)
	if !errors.As(err, &f) {
		return func() {}, err
	}
	switch f.HTTP {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return func() {}, err
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
		if closePipe, pipeErr := s.openPipe(ctx, permit, in); pipeErr == nil {
			s.piped.Store(true)
			return closePipe, nil
		}
	}
	if f.HTTP >= 200 && f.HTTP < 500 {
		f.Err = errors.Join(errRefused, f.Err)
	}
	return func() {}, f
}

// greet sends initialize and notifications/initialized, over HTTP or into the pipe of the session.
func (s *Server) greet(ctx context.Context, permit *gate.Permit, in *session) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	version := ""
	if p := s.peer.Load(); p != nil && p.Era == upstream.Legacy {
		version = p.Version
	}
	able := in.key.able
	if in.key == (sessionKey{}) {
		able = wire.OwnAbilities()
	}
	in.peer = &wire.Peer{Era: upstream.Legacy}
	x := &upstream.Exchange{Permit: permit, Method: "initialize", Params: wire.Initialize(s.self, able, version)}
	id := s.ids.Add(1)
	t := &turn{server: s, exchange: x, id: id, peer: in.peer, session: in, ctx: ctx, retry: retryDefault}
	if in.pipe != nil {
		t.answer = make(chan *wire.Message, 1)
	}
	in.enter(t)
	defer in.exit(t)
	o := &wire.Request{ID: id, Method: x.Method, Params: x.Params}
	resp, err := t.post(ctx, o.Body(), o)
	if err != nil {
		return t.ended(ctx, err)
	}
	session := resp.Header.Get(sdk.HeaderSessionID)
	var a *upstream.Answer
	if t.answer != nil {
		a, err = t.await(ctx, resp)
	} else {
		a, err = t.read(ctx, resp)
	}
	if err != nil {
		return t.ended(ctx, err)
	}
	p, err := wire.Hello(&s.cfg, a)
	if err != nil {
		return err
	}
	if !validSessionID(session) {
		return s.cfg.Fault(upstream.Garbage, nil, "gave a session id that is not visible ASCII of at most %d bytes", sessionIDMax)
	}
	in.peer = p
	in.mu.Lock()
	in.able = in.key.able.In(p.Version)
	in.mu.Unlock()
	if in.pipe == nil {
		in.id = session
	}
	t.peer = p
	resp, err = t.post(ctx, wire.Notification("notifications/initialized", ""), nil)
	if err != nil {
		return t.ended(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		f := s.cfg.Fault(upstream.Unreachable, nil, "opened a session and then refused it (status %d)", resp.StatusCode)
		f.HTTP = resp.StatusCode
		return f
	}
	return nil
}

func validSessionID(id string) bool {
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return false
		}
	}
	return len(id) <= sessionIDMax
}

// end tells the server that the session is over. Servers may refuse that.
func (s *Server) end(ctx context.Context, permit *gate.Permit, in *session) {
	ctx, cancel := context.WithTimeout(ctx, sideTimeout)
	defer cancel()
	t := &turn{server: s, exchange: &upstream.Exchange{Permit: permit}, peer: in.peer, session: in}
	req, err := t.request(ctx, http.MethodDelete, nil)
	if err != nil {
		return
	}
	if resp, err := s.cfg.Gate.RoundTrip(permit, req); err == nil {
		_ = resp.Body.Close()
	}
}

// sessionLost reports whether an HTTP error means that the server does not know the session. The reference SDKs say it
// with 404, or with 400 and an error that names no request.
func (t *turn) sessionLost(e *upstream.RPCError, unrouted bool) bool {
	if t.session == nil || !t.session.stateful() {
		return false
	}
	switch e.HTTP {
	case http.StatusNotFound:
		return unrouted || e.Code != wire.CodeMethod
	case http.StatusBadRequest:
		return unrouted && e.Code == wire.CodeNoSession
	}
	return false
}
