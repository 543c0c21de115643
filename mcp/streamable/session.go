package streamable

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/gate"
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
	// leftMax is how many clients that have left are remembered, so that a call of theirs that comes late opens no session
	// that nobody ends.
	leftMax = 1024
	// tellsMax bounds the notifications of a client that wait to be told in one session: all they say is that roots have
	// changed.
	tellsMax = 4
)

// errSessionLost means the server does not know the session: the request was not acted on.
var errSessionLost = errors.New("the server has forgotten the session")

// errRefused means that the server opened no session.
var errRefused = errors.New("no session was opened")

// sessionKey says what a session is for. Credentials go by principal, so they need no place of their own. The zero key
// is the gateway's own session, in which it lists.
type sessionKey struct {
	keyID, key, user string // of the principal
	able             wire.Abilities
	client           string // Client.ID of a legacy caller
}

// sessions are the open sessions with a legacy server, by whom and what they are for.
type sessions struct {
	server  *Server
	base    context.Context // of every session; ends at the end of Close
	stop    context.CancelFunc
	closing chan struct{} // closed when Close begins
	wg      sync.WaitGroup

	mu      sync.Mutex // guards what follows, and busy and used of each session
	all     map[sessionKey]*session
	watched map[sessionKey]map[string]*watched // resources, by URI
	left    map[string]bool                    // clients that have left
	leavers []string                           // likewise, the oldest first
	closed  bool
}

// session is one session. It is a gate.Do of its own that lasts as long as it does.
type session struct {
	key    sessionKey
	behalf string           // the principal's key, for the ledger
	client *upstream.Client // nil: it is no client's own
	ready  chan struct{}
	leave  func() // ends it; may be called again
	lost   atomic.Bool
	stream stream
	tells  chan []byte   // notifications of the client
	pause  time.Duration // before it is opened again when it is lost and resources are watched in it

	// Set before ready is closed, not changed after.
	err    error
	peer   *wire.Peer
	id     string       // empty: the server gave none
	permit *gate.Permit // the session's own
	pipe   *pipe        // the stream of HTTP+SSE that every answer comes on; nil: streamable HTTP

	busy int
	used time.Time

	mu        sync.Mutex     // guards what follows
	able      wire.Abilities // what the server was told
	level     string         // lowest log level asked for
	flights   map[int64]*turn
	questions map[*question]bool
	slow      slow
	over      bool           // no more work begins
	work      sync.WaitGroup // questions to the client
}

func (ss *sessions) init(s *Server) {
	ss.server, ss.all, ss.closing = s, map[sessionKey]*session{}, make(chan struct{})
	ss.watched, ss.left = map[sessionKey]map[string]*watched{}, map[string]bool{}
	ss.base, ss.stop = context.WithCancel(context.Background())
}

// open is the number of open sessions.
func (ss *sessions) open() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.all)
}

// callLegacy sends x in the session it belongs into, once more in a new one if the server has forgotten it.
func (s *Server) callLegacy(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
	known := s.peer.Load()
	key, behalf := s.sessions.keyOf(x, false)
	for again := false; ; again = true {
		in, err := s.sessions.take(ctx, key, behalf, x.Client)
		if err != nil {
			if errors.Is(err, errRefused) {
				if p := s.resettle(ctx, known); p != nil && p.Era == upstream.Modern {
					return s.callModern(ctx, x, p)
				}
			}
			return nil, err
		}
		s.raiseLevel(ctx, x, in)
		a, err := s.exchange(ctx, x, in.peer, in)
		s.sessions.release(in)
		if leftLegacy(a, err) {
			if p := s.resettle(ctx, known); p != nil && p.Era == upstream.Modern {
				return s.callModern(ctx, x, p)
			}
		}
		if !errors.Is(err, errSessionLost) {
			return a, err
		}
		s.sessions.drop(in)
		if again {
			return nil, s.cfg.Fault(upstream.Gone, err, "forgets its sessions as soon as they are open")
		}
		s.reconnects.Add(1)
	}
}

// raiseLevel asks the server for log messages as low as x wants them, if it has not been asked before.
func (s *Server) raiseLevel(ctx context.Context, x *upstream.Exchange, in *session) {
	if x.LogLevel == "" || x.Notify == nil || !in.peer.Logging || !in.stateful() {
		return
	}
	in.mu.Lock()
	asked := in.level != "" && wire.LevelRank(in.level) <= wire.LevelRank(x.LogLevel)
	if !asked {
		in.level = x.LogLevel
	}
	in.mu.Unlock()
	if asked {
		return
	}
	// Without it there are fewer messages; the call itself is not touched.
	_, _ = s.exchange(ctx, &upstream.Exchange{Permit: x.Permit, Method: "logging/setLevel", Params: wire.Object("level", x.LogLevel)}, in.peer, in)
}

// keyOf says which session x belongs into. A server that keeps no sessions gets none per client, and none per principal
// whom it may ask nothing, unless resources are watched in it.
func (ss *sessions) keyOf(x *upstream.Exchange, watching bool) (key sessionKey, behalf string) {
	call := x.Permit.Call()
	if call.Action.Own() || call.Principal == nil {
		return key, ""
	}
	stateless := ss.stateless()
	version := ""
	if p := ss.server.peer.Load(); p != nil {
		version = p.Version
	}
	key.able = wire.AbilitiesOf(x, version)
	if stateless && !watching && key.able == (wire.Abilities{}) {
		return sessionKey{}, ""
	}
	p := call.Principal
	key.keyID, key.key, key.user = p.KeyID, p.Key, p.User
	if x.Client != nil && !stateless {
		key.client = x.Client.ID
	}
	return key, p.Key
}

// stateless reports whether the server is known to keep no sessions.
func (ss *sessions) stateless() bool {
	ss.mu.Lock()
	own := ss.all[sessionKey{}]
	ss.mu.Unlock()
	return own != nil && own.opened() && !own.stateful()
}

// stateful reports whether the server keeps the session.
func (in *session) stateful() bool { return in.id != "" || in.pipe != nil }

// opened reports whether the session has been opened, without waiting.
func (in *session) opened() bool {
	select {
	case <-in.ready:
		return in.err == nil
	default:
		return false
	}
}

// take returns the session of key, opened if need be, and holds it until release.
func (ss *sessions) take(ctx context.Context, key sessionKey, behalf string, client *upstream.Client) (*session, error) {
	ss.mu.Lock()
	in := ss.all[key]
	if in == nil || ss.closed {
		if err := ss.room(key); err != nil {
			ss.mu.Unlock()
			return nil, err
		}
		in = ss.start(key, behalf, client, listenPause)
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

// room makes room for one more session, that of key: never at the cost of a busy one. ss.mu is held.
func (ss *sessions) room(key sessionKey) error {
	switch {
	case ss.closed:
		return ss.server.cfg.Fault(upstream.Unreachable, nil, "is being disconnected")
	case ss.left[key.client]:
		return ss.server.cfg.Fault(upstream.Gone, nil, "is not asked for a client that has left")
	case len(ss.all) < sessionsMax:
		return nil
	}
	var oldest *session
	for _, in := range ss.all {
		if in.key != (sessionKey{}) && in.busy == 0 && len(ss.watched[in.key]) == 0 && (oldest == nil || in.used.Before(oldest.used)) {
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
func (ss *sessions) start(key sessionKey, behalf string, client *upstream.Client, pause time.Duration) *session {
	ctx, leave := context.WithCancel(context.Background())
	in := &session{
		key: key, behalf: behalf, client: client, ready: make(chan struct{}), leave: leave, stream: newStream(),
		tells: make(chan []byte, tellsMax), pause: pause, used: time.Now(), flights: map[int64]*turn{}, questions: map[*question]bool{},
	}
	if key.client == "" { // no client's own
		in.client = nil
	}
	ss.all[key] = in
	ss.wg.Go(func() {
		defer leave()
		began := time.Now()
		ss.run(ctx, in)
		if time.Since(began) > listenSteady {
			in.pause = listenPause
		}
		ss.again(in)
	})
	return in
}

// again opens a session that ended by itself anew if resources are watched in it.
func (ss *sessions) again(in *session) {
	wanted := func() bool { return !ss.closed && len(ss.watched[in.key]) > 0 && ss.all[in.key] == nil }
	ss.mu.Lock()
	ok := wanted()
	ss.mu.Unlock()
	if !ok {
		return
	}
	timer := time.NewTimer(in.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ss.closing:
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if wanted() && ss.room(in.key) == nil {
		ss.server.reconnects.Add(1)
		ss.start(in.key, in.behalf, in.client, min(2*in.pause, listenPauseMax))
	}
}

// run is the life of a session. leaving ends when it is to go.
func (ss *sessions) run(leaving context.Context, in *session) {
	c := &ss.server.cfg
	call := c.Own(policy.SessionOpen)
	call.OnBehalf = in.behalf
	opened := false
	err := c.Gate.Do(ss.base, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		in.permit = permit
		closePipe, err := ss.server.initialize(ctx, permit, in)
		if err != nil {
			return err
		}
		defer closePipe()
		permit.Done(ledger.OK, 0, "")
		opened = true
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
// It opens the session for use once the stream on which the server speaks by itself is there, if it is to be. The
// gateway's own never idles, nor does a client's, which ends with its client.
func (ss *sessions) live(ctx, leaving context.Context, permit *gate.Permit, in *session) {
	listening, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		stop()
		in.mu.Lock()
		in.over = true
		in.mu.Unlock()
		in.work.Wait()
		wg.Wait()
	}()
	listen := func() { wg.Go(func() { ss.server.listen(listening, permit, in) }) }
	if ss.listens(in) {
		in.stream.begin()
		listen()
		in.stream.first(leaving)
	}
	close(in.ready)
	wg.Go(func() { ss.watchAgain(listening, in) })
	ticker := time.NewTicker(sessionIdle / 2)
	defer ticker.Stop()
	want := in.stream.wanted()
	for {
		select {
		case <-leaving.Done():
			return
		case <-ctx.Done():
			return
		case <-want:
			want = nil
			listen()
		case body := <-in.tells:
			in.say(ctx, ss.server, permit, body)
		case <-ticker.C:
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
	kept := in.key == (sessionKey{}) || in.key.client != "" || len(ss.watched[in.key]) > 0
	if kept || in.busy > 0 || time.Since(in.used) < sessionIdle {
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

// Leave implements upstream.Server.
func (s *Server) Leave(client string) {
	ss := &s.sessions
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if client == "" || ss.left[client] {
		return
	}
	if len(ss.leavers) == leftMax {
		delete(ss.left, ss.leavers[0])
		ss.leavers = ss.leavers[1:]
	}
	ss.left[client] = true
	ss.leavers = append(ss.leavers, client)
	for key, in := range ss.all {
		if key.client == client {
			delete(ss.all, key)
			in.leave()
		}
	}
	maps.DeleteFunc(ss.watched, func(key sessionKey, _ map[string]*watched) bool { return key.client == client })
}

// Tell implements upstream.Server.
func (s *Server) Tell(client, method string, params []byte) {
	ss := &s.sessions
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for key, in := range ss.all {
		if client == "" || key.client != client || method == wire.RootsChanged && !key.able.RootsChanged {
			continue
		}
		select {
		case in.tells <- wire.Notification(method, string(params)):
		default: // as many wait, and all say the same
		}
	}
}

// leaveAll ends every session of a server that keeps none any more.
func (ss *sessions) leaveAll() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for key, in := range ss.all {
		delete(ss.all, key)
		in.leave()
	}
	clear(ss.watched)
}

// close ends all sessions; those that have not ended when ctx does are cut.
func (ss *sessions) close(ctx context.Context) {
	ss.mu.Lock()
	if !ss.closed {
		ss.closed = true
		close(ss.closing)
	}
	for key, in := range ss.all {
		delete(ss.all, key)
		in.leave()
	}
	ss.mu.Unlock()
	stop := context.AfterFunc(ctx, ss.stop)
	defer stop()
	ss.wg.Wait()
	ss.stop()
}
