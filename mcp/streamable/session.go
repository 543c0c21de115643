package streamable

import (
	"context"
	"errors"
	"net/http"
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
	// sessionTimeout bounds initialize.
	sessionTimeout = 30 * time.Second
	// sessionIdle is how long an unused session is kept: agents pause for minutes, servers forget after hours.
	sessionIdle = 30 * time.Minute
	// sessionsMax bounds the sessions with one server; the one unused longest makes room.
	sessionsMax = 1000
	// sessionIDMax bounds the id a server gives: it is sent back with each request.
	sessionIDMax = 1024
)

// errSessionLost means the server does not know the session: the request was not acted on.
var errSessionLost = errors.New("the server has forgotten the session")

// sessions are the open sessions with a legacy server, one per principal and one of the gateway's own (key "").
type sessions struct {
	server *Server
	base   context.Context // of every session; ends at the end of Close
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows, and busy and used of each session
	all    map[string]*session
	closed bool
}

// session is one session. It is a gate.Do of its own that lasts as long as it does.
type session struct {
	key    string
	behalf string // the principal's key, for the ledger
	ready  chan struct{}
	leave  func() // ends it; may be called again
	left   chan struct{}
	lost   atomic.Bool // the server has forgotten it: there is nothing to delete

	// Set before ready is closed, not changed after.
	err  error
	peer *wire.Peer
	id   string // empty: the server keeps no session

	busy int
	used time.Time

	levelMu sync.Mutex
	level   string // lowest log level asked for
}

func (ss *sessions) init(s *Server) {
	ss.server, ss.all = s, map[string]*session{}
	ss.base, ss.stop = context.WithCancel(context.Background())
}

// callLegacy sends x in the session of its principal, once more in a new one if the server has forgotten it.
func (s *Server) callLegacy(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
	key, behalf := s.sessions.keyOf(x.Permit)
	for again := false; ; again = true {
		in, err := s.sessions.take(ctx, key, behalf)
		if err != nil {
			return nil, err
		}
		s.raiseLevel(ctx, x, in)
		a, err := s.exchange(ctx, x, in.peer, in)
		s.sessions.release(in)
		if !errors.Is(err, errSessionLost) {
			return a, err
		}
		s.sessions.drop(in)
		if again {
			return nil, s.cfg.Fault(upstream.Gone, err, "forgets its sessions as soon as they are open")
		}
	}
}

// raiseLevel asks the server for log messages as low as x wants them, if it has not been asked before.
func (s *Server) raiseLevel(ctx context.Context, x *upstream.Exchange, in *session) {
	if x.LogLevel == "" || x.Notify == nil || !in.peer.Logging || in.id == "" {
		return
	}
	in.levelMu.Lock()
	asked := in.level != "" && wire.LevelRank(in.level) <= wire.LevelRank(x.LogLevel)
	if !asked {
		in.level = x.LogLevel
	}
	in.levelMu.Unlock()
	if asked {
		return
	}
	params := append(strictjson.Quote([]byte(`{"level":`), x.LogLevel), '}')
	// Without it there are fewer messages; the call itself is not touched.
	_, _ = s.exchange(ctx, &upstream.Exchange{Permit: x.Permit, Method: "logging/setLevel", Params: params}, in.peer, in)
}

// keyOf says whose session a call belongs into. A server that keeps no sessions gets none per principal.
func (ss *sessions) keyOf(permit *gate.Permit) (key, behalf string) {
	call := permit.Call()
	if call.Action.Own() || call.Principal == nil {
		return "", ""
	}
	ss.mu.Lock()
	own := ss.all[""]
	ss.mu.Unlock()
	if own != nil && own.open() && own.id == "" {
		return "", ""
	}
	p := call.Principal
	return p.KeyID + "\x00" + p.Key + "\x00" + p.User, p.Key
}

// open reports whether the session has been opened, without waiting.
func (in *session) open() bool {
	select {
	case <-in.ready:
		return in.err == nil
	default:
		return false
	}
}

// take returns the session of key, opened if need be, and holds it until release.
func (ss *sessions) take(ctx context.Context, key, behalf string) (*session, error) {
	ss.mu.Lock()
	in := ss.all[key]
	if in == nil || ss.closed {
		if err := ss.room(); err != nil {
			ss.mu.Unlock()
			return nil, err
		}
		in = ss.start(key, behalf)
	}
	in.busy++
	ss.mu.Unlock()
	select {
	case <-in.ready:
	case <-ctx.Done():
		ss.release(in)
		return nil, ctx.Err()
	}
	if in.err != nil {
		ss.release(in)
		return nil, in.err
	}
	return in, nil
}

func (ss *sessions) release(in *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	in.busy--
	in.used = time.Now()
}

// room makes room for one more session: never at the cost of a busy one. ss.mu is held.
func (ss *sessions) room() error {
	if ss.closed {
		return ss.server.cfg.Fault(upstream.Unreachable, nil, "is being disconnected")
	}
	if len(ss.all) < sessionsMax {
		return nil
	}
	var oldest *session
	for _, in := range ss.all {
		if in.key != "" && in.busy == 0 && (oldest == nil || in.used.Before(oldest.used)) {
			oldest = in
		}
	}
	if oldest == nil {
		return ss.server.cfg.Fault(upstream.Unreachable, nil, "has %d sessions and all are busy: try again later", sessionsMax)
	}
	delete(ss.all, oldest.key)
	oldest.leave()
	return nil
}

// start begins a session. ss.mu is held.
func (ss *sessions) start(key, behalf string) *session {
	ctx, leave := context.WithCancel(context.Background())
	in := &session{key: key, behalf: behalf, ready: make(chan struct{}), leave: leave, left: make(chan struct{}), used: time.Now()}
	ss.all[key] = in
	ss.wg.Go(func() {
		defer close(in.left)
		defer leave()
		ss.run(ctx, in)
	})
	return in
}

// run is the life of a session. leaving ends when it is to go.
func (ss *sessions) run(leaving context.Context, in *session) {
	c := &ss.server.cfg
	call := c.Own(policy.SessionOpen)
	call.OnBehalf = in.behalf
	opened := false
	err := c.Gate.Do(ss.base, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		if err := ss.server.initialize(ctx, permit, in); err != nil {
			return err
		}
		permit.Done(ledger.OK, 0, "")
		opened = true
		close(in.ready)
		ss.live(ctx, leaving, permit, in)
		if !in.lost.Load() && in.id != "" {
			ss.server.end(ctx, permit, in)
		}
		return nil
	})
	if !opened {
		if err == nil {
			err = errors.New("the gate did not open it")
		}
		in.err = c.AsFault(err)
		ss.forget(in)
		close(in.ready)
	}
}

// live waits until the session is to go: it was dropped or evicted, the server closes, or nobody has used it for long.
// The gateway's own never idles and listens for changes.
func (ss *sessions) live(ctx, leaving context.Context, permit *gate.Permit, in *session) {
	listening, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var idle <-chan time.Time
	if in.key == "" {
		wg.Go(func() { ss.server.listen(listening, permit, in) })
	} else {
		ticker := time.NewTicker(sessionIdle / 2)
		defer ticker.Stop()
		idle = ticker.C
	}
	for {
		select {
		case <-leaving.Done():
			return
		case <-ctx.Done():
			return
		case <-idle:
			if ss.retire(in) {
				return
			}
		}
	}
}

// retire takes a session that nobody uses out of the map.
func (ss *sessions) retire(in *session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if in.busy > 0 || time.Since(in.used) < sessionIdle {
		return false
	}
	if ss.all[in.key] == in {
		delete(ss.all, in.key)
	}
	return true
}

func (ss *sessions) forget(in *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.all[in.key] == in {
		delete(ss.all, in.key)
	}
}

// drop ends a session that the server has forgotten.
func (ss *sessions) drop(in *session) {
	in.lost.Store(true)
	ss.forget(in)
	in.leave()
}

// close ends all sessions; those that have not ended when ctx does are cut.
func (ss *sessions) close(ctx context.Context) {
	ss.mu.Lock()
	ss.closed = true
	for _, in := range ss.all {
		in.leave()
	}
	ss.mu.Unlock()
	stop := context.AfterFunc(ctx, ss.stop)
	defer stop()
	ss.wg.Wait()
	ss.stop()
}

// initialize opens the session in under its own permit.
func (s *Server) initialize(ctx context.Context, permit *gate.Permit, in *session) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	x := &upstream.Exchange{Permit: permit, Method: "initialize", Params: wire.Initialize(s.self, wire.Abilities{}, "")}
	id := s.ids.Add(1)
	t := &turn{server: s, exchange: x, id: id, peer: &wire.Peer{Era: upstream.Legacy}, session: in, retry: retryDefault}
	o := &wire.Request{ID: id, Method: x.Method, Params: x.Params}
	resp, err := t.post(ctx, o.Body(), o)
	if err != nil {
		return t.ended(ctx, err)
	}
	session := resp.Header.Get(sdk.HeaderSessionID)
	a, err := t.read(ctx, resp)
	if err != nil {
		return t.ended(ctx, err)
	}
	if in.peer, err = wire.Hello(&s.cfg, a); err != nil {
		return err
	}
	if !validSessionID(session) {
		return s.cfg.Fault(upstream.Garbage, nil, "gave a session id that is not visible ASCII of at most %d bytes", sessionIDMax)
	}
	in.id, t.peer = session, in.peer
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
	if t.session == nil || t.session.id == "" {
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
