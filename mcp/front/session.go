package front

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/asked"
	"github.com/tollgate/tollgate/mcp/front/flights"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/front/updates"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// The bounds of legacy sessions. A client that opens sessions and forgets them costs its own oldest ones, never anybody
// else's before all are full.
const (
	sessionsMax      = 20_000
	sessionsOwnerMax = 500 // of one principal
	sessionIdle      = time.Hour
	sweepEvery       = 5 * time.Minute // how long a session that is idle for too long may still be there
	streamsMax       = 4               // GET streams of one session
)

// owner is whom a session is bound to.
type owner struct{ keyID, key, user string }

func ownerOf(p *policy.Principal) owner { return owner{p.KeyID, p.Key, p.User} }

// session is the state of one legacy client. What the gateway decides is decided by the principal of each request, never
// by that of the session.
type session struct {
	id      string
	owner   owner
	space   string
	version string
	claim   string // name/version of the client, by its own word

	client       *upstream.Client // what servers know of it
	capabilities []byte           // raw object: what counts of those it declared; see era.Declared
	asks         bool             // it declared that it can be asked something

	ended context.Context
	end   context.CancelFunc

	questions     asked.Questions
	subscriptions updates.Set
	updates       *updates.Queue // of the resources subscribed to
	store         *replay.Store
	inFlight      flights.Set // requests, so that the client can cancel them

	mu       sync.Mutex     // guards what follows
	level    string         // lowest log level wanted
	seen     sums           // of the lists the client knows, or has been told to fetch
	readers  int            // GETs that are open
	streams  []*reply.Reply // those for what is said outside of requests, in the order they were opened
	paused   *reply.Reply   // the last of them to lose its connection, if it can be resumed
	pausedAt time.Time
	log      *replay.Log[*reply.Reply] // of streams that can be resumed; nil until there is one
	opened   chan struct{}             // closed when the next stream is; nil: nobody waits for it
	used     time.Time
}

// sessions are all sessions of this process. A restart ends them: clients are answered 404 and initialize again.
type sessions struct {
	closing context.Context // its end ends all of them
	backend Backend
	newID   func() string
	events  replay.Store

	mu      sync.Mutex // guards what follows; taken before a session's
	byID    map[string]*session
	counts  map[owner]int
	opened  uint64 // sessions so far
	sweeper *time.Timer
}

func newSessions(closing context.Context, b Backend, newID func() string) *sessions {
	return &sessions{closing: closing, backend: b, newID: newID, byID: map[string]*session{}, counts: map[owner]int{}}
}

// hello is what a client says of itself when it opens a session.
type hello struct {
	owner        owner
	space        string
	version      string // as negotiated
	claim        string
	capabilities []byte
}

// open makes a session; nil: all places are taken by busy ones.
func (ss *sessions) open(h hello) *session {
	s := &session{
		id: ss.newID(), owner: h.owner, space: h.space, version: h.version, claim: h.claim,
		level: "info", used: time.Now(),
		capabilities: bytes.Clone(era.Declared(h.version, h.capabilities)), // not the whole message
	}
	s.asks = era.Asks(s.capabilities)
	s.ended, s.end = context.WithCancel(ss.closing)
	s.updates, s.store = updates.NewQueue(), &ss.events
	ss.mu.Lock()
	defer ss.mu.Unlock()
	o := h.owner
	if ss.counts[o] >= sessionsOwnerMax && !ss.evict(func(s *session) bool { return s.owner == o }) ||
		len(ss.byID) >= sessionsMax && !ss.evict(func(*session) bool { return true }) {
		s.end()
		return nil
	}
	ss.byID[s.id] = s
	ss.counts[o]++
	ss.opened++
	s.client = &upstream.Client{ID: strconv.FormatUint(ss.opened, 10), Notify: s.notify}
	if s.asks {
		s.client.Ask = s.asker(nil, "")
	}
	context.AfterFunc(s.ended, func() {
		s.subscriptions.Close()
		ss.backend.Leave(s.client.ID)
	})
	if ss.sweeper == nil {
		ss.sweeper = time.AfterFunc(sweepEvery, ss.sweep)
	}
	return s
}

// sweep ends the sessions that their clients have forgotten.
func (ss *sessions) sweep() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.byID {
		if used, idle := s.idleSince(); idle && time.Since(used) > sessionIdle {
			ss.remove(s)
		}
	}
	ss.sweeper = nil
	if len(ss.byID) > 0 && ss.closing.Err() == nil {
		ss.sweeper = time.AfterFunc(sweepEvery, ss.sweep)
	}
}

// evict ends the session idle for longest of those that match, and reports whether there was one. Holding mu.
func (ss *sessions) evict(match func(*session) bool) bool {
	var oldest *session
	var since time.Time
	for _, s := range ss.byID {
		if !match(s) {
			continue
		}
		if used, idle := s.idleSince(); idle && (oldest == nil || used.Before(since)) {
			oldest, since = s, used
		}
	}
	if oldest == nil {
		return false
	}
	ss.remove(oldest)
	return true
}

// remove ends s. Holding mu.
func (ss *sessions) remove(s *session) {
	if ss.byID[s.id] != s {
		return
	}
	delete(ss.byID, s.id)
	if ss.counts[s.owner]--; ss.counts[s.owner] == 0 {
		delete(ss.counts, s.owner)
	}
	s.end()
}

// find returns the session of that id if it is o's, at that path, and not idle for too long. Whatever does not fit is
// answered alike, so that an id cannot be tried out.
func (ss *sessions) find(id string, o owner, space string) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.byID[id]
	if s == nil || s.owner != o || s.space != space {
		return nil
	}
	if used, idle := s.idleSince(); idle && time.Since(used) > sessionIdle {
		ss.remove(s)
		return nil
	}
	s.touch()
	return s
}

func (ss *sessions) close(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.remove(s)
}

func (s *session) idleSince() (used time.Time, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.inFlight.Idle() && s.readers == 0
}

func (s *session) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
}

// finish counts a request out of those that the client can cancel.
func (s *session) finish(id []byte) {
	s.inFlight.Leave(id)
	s.touch()
}

func (s *session) setLevel(level string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = level
}

func (s *session) logLevel() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level
}

// resume finds the session that the request names, or answers why there is none.
func (x *exchange) resume(m *rpc.Message) bool {
	switch {
	case x.session != nil:
		return true
	case x.link != nil:
		x.turnAway(m, rpc.Invalid("no session: send initialize first"))
		return false
	}
	ids := x.r.Header.Values("Mcp-Session-Id")
	if len(ids) != 1 {
		x.turnAway(m, rpc.Refused(http.StatusBadRequest,
			"no session: send initialize first and its Mcp-Session-Id with every request, or use protocol version "+era.V2026+", which has none"))
		return false
	}
	x.session = x.sessions.find(ids[0], ownerOf(x.base), x.space.Name)
	if x.session == nil {
		x.passOrEnd(ids[0], m, rpc.Refused(http.StatusNotFound, "this session has ended; send initialize again"))
		return false
	}
	return true
}

func (x *exchange) delete() {
	if x.resume(nil) {
		x.sessions.close(x.session)
		x.w.WriteHeader(http.StatusNoContent)
	}
}
