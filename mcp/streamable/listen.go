package streamable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

const (
	// listenPause is the wait before a stream that ended is opened again, where the server names none; it doubles up to
	// listenPauseMax while streams last for less than listenSteady.
	listenPause    = 100 * time.Millisecond
	listenPauseMax = time.Minute
	listenSteady   = time.Minute
	// firstTimeout is how long a new session waits for its stream before it is used: what a server would say at once on a
	// stream that is not there, some servers never say.
	firstTimeout = 500 * time.Millisecond
	// listenersMax bounds the streams with one server: over HTTP/1.1 each holds one of the gate's 1024 connections, and
	// calls need some too.
	listenersMax = 512
)

// errNoStream means the server has no stream to listen on: changes are seen when the lists are fetched again.
var errNoStream = errors.New("no stream of changes")

// stream is the stream of a session on which the server speaks by itself.
type stream struct {
	once sync.Once
	want chan struct{} // closed when it is to be opened
	told sync.Once
	open chan struct{} // closed when the server has answered the first attempt

	refused bool // the server has none; set before open is closed
}

func newStream() stream { return stream{want: make(chan struct{}), open: make(chan struct{})} }

// begin has the stream opened.
func (s *stream) begin() { s.once.Do(func() { close(s.want) }) }

// wanted is closed by begin; nil: it has begun already.
func (s *stream) wanted() <-chan struct{} {
	select {
	case <-s.want:
		return nil
	default:
		return s.want
	}
}

// answered notes what came of the first attempt.
func (s *stream) answered(refused bool) {
	s.told.Do(func() {
		s.refused = refused
		close(s.open)
	})
}

// first waits for that, but not for long.
func (s *stream) first(ctx context.Context) {
	timer := time.NewTimer(firstTimeout)
	defer timer.Stop()
	select {
	case <-s.open:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ready has the stream opened and waits until it is; false: the server has none.
func (s *stream) ready(ctx context.Context) (bool, error) {
	s.begin()
	select {
	case <-s.open:
		return !s.refused, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// listens reports whether a session has a stream from the start: the server may say something on it that reaches somebody.
func (ss *sessions) listens(in *session) bool {
	switch {
	case in.pipe != nil:
		return false // the session is one
	case in.key == sessionKey{}:
		return in.peer.Listens
	case in.able.Asks(), in.client != nil && (in.client.Ask != nil || in.client.Notify != nil):
		return true
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.watched[in.key]) > 0
}

// listen follows the stream on which a legacy server speaks by itself, for as long as its session lives.
func (s *Server) listen(ctx context.Context, permit *gate.Permit, in *session) {
	defer in.stream.answered(true)
	if in.pipe != nil {
		in.stream.answered(false)
		return
	}
	t := &turn{server: s, exchange: &upstream.Exchange{Permit: permit}, peer: in.peer, session: in, ctx: ctx}
	s.keepListening(ctx, &listener{
		turn: t,
		open: func(ctx context.Context) (*http.Response, error) { return t.get(ctx, t.lastEvent) },
		begun: func(missed bool) {
			in.stream.answered(false)
			if missed {
				s.missedChanges()
				s.sessions.missedUpdates(in)
			}
		},
		take: t.take,
	})
}

// missedChanges has the lists fetched anew: their changes may have been missed.
func (s *Server) missedChanges() {
	for _, c := range [...]upstream.Change{upstream.ToolsChanged, upstream.ResourcesChanged, upstream.PromptsChanged} {
		s.cfg.Heard(c)
	}
}

// watch is the subscription to a modern server's changes.
type watch struct {
	mu     sync.Mutex
	cancel context.CancelFunc // nil: none
	done   chan struct{}
	closed bool
}

// start subscribes unless that is done already.
func (w *watch) start(s *Server, p *wire.Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil || w.closed || !p.Listens {
		return
	}
	ctx, cancel := context.WithCancel(s.sessions.base)
	done := make(chan struct{})
	w.cancel, w.done = cancel, done
	go func() {
		defer close(done)
		defer cancel()
		// An error leaves the lists to be fetched by their time to live.
		_ = s.cfg.Gate.Do(ctx, s.cfg.Own(policy.SessionOpen), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
			t, open := s.listenRequest(ctx, permit, p, []byte(`{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}`))
			s.keepListening(ctx, &listener{turn: t, open: open, take: t.take, begun: func(missed bool) {
				if missed {
					s.missedChanges()
				}
			}})
			permit.Done(ledger.OK, 0, "")
			return nil
		})
	}()
}

// stop ends the subscription and waits until it has ended.
func (w *watch) stop() {
	w.mu.Lock()
	cancel, done := w.cancel, w.done
	w.cancel = nil
	w.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

// close stops it for good.
func (w *watch) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
}

// listenRequest makes subscriptions/listen for notifications, a raw object, under permit.
func (s *Server) listenRequest(ctx context.Context, permit *gate.Permit, p *wire.Peer, notifications []byte) (*turn, func(context.Context) (*http.Response, error)) {
	x := &upstream.Exchange{Permit: permit, Method: "subscriptions/listen"}
	x.Params = append(append([]byte(`{"notifications":`), notifications...), '}')
	t := &turn{server: s, exchange: x, peer: p, ctx: ctx}
	return t, func(ctx context.Context) (*http.Response, error) {
		t.id = s.ids.Add(1)
		o := &wire.Request{ID: t.id, Method: x.Method, Params: x.Params, Meta: p.Meta(ctx, x, t.id, s.self)}
		return t.post(ctx, o.Body(), o)
	}
}

// listener is a stream that is opened again when it ends.
type listener struct {
	turn  *turn
	open  func(context.Context) (*http.Response, error)
	begun func(missed bool)                          // it is open; missed: it was not, for a while
	take  func(context.Context, *wire.Message) error // takes each message that is no answer
	ended func(*upstream.Answer)                     // the server refused it; nil: nobody asks
}

// keepListening opens the stream again and again until ctx ends or the server says that it has none.
func (s *Server) keepListening(ctx context.Context, l *listener) {
	if s.listeners.Add(1) > listenersMax {
		s.listeners.Add(-1)
		s.cfg.Log.Warn("too many streams are open with a server: no more are", "server", s.cfg.Name, "max", listenersMax)
		return
	}
	defer s.listeners.Add(-1)
	pause := listenPause
	opened := false
	for {
		began := time.Now()
		open, err := s.listenOnce(ctx, l, opened)
		opened = opened || open
		if ctx.Err() != nil || errors.Is(err, errNoStream) {
			return
		}
		s.cfg.Log.Debug("a stream of changes ended", "server", s.cfg.Name, "err", err)
		if time.Since(began) > listenSteady {
			pause = listenPause
		}
		wait := pause
		if open && l.turn.retry > 0 {
			wait = max(l.turn.retry, pause/2) // as the server wishes, but not without pause
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, listenPauseMax)
	}
}

// listenOnce follows one stream to its end; opened: it was open before, and what came meanwhile may be lost.
func (s *Server) listenOnce(ctx context.Context, l *listener, opened bool) (open bool, err error) {
	t := l.turn
	resp, err := l.open(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	if !isStream(resp) {
		return false, t.noStream(l, resp)
	}
	s.streams.Add(1)
	defer s.streams.Add(-1)
	if opened {
		s.reconnects.Add(1)
	}
	l.begun(opened)
	t.refusals, t.asks = 0, 0
	in := sse.NewReader(resp.Body, eventBytesMax)
	for {
		e, err := in.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return true, nil
			}
			return true, err
		}
		t.resumable(&e)
		if len(bytes.TrimSpace(e.Data)) == 0 {
			continue
		}
		m, err := wire.Parse(e.Data)
		switch {
		case err != nil:
			return true, err
		case m.Failed():
			l.refuse(m.Clone().Answer(http.StatusOK))
			return true, errNoStream
		case m.Method == "":
			return true, nil // the graceful end
		}
		if err := l.take(ctx, m); err != nil {
			return true, err
		}
	}
}

// noStream says what an answer that is no stream means: none at all, or none now.
func (t *turn) noStream(l *listener, resp *http.Response) error {
	s := t.server
	if t.sessionLost(&upstream.RPCError{HTTP: resp.StatusCode}, true) { // it has started again
		s.sessions.drop(t.session)
		if t.session.key == (sessionKey{}) {
			s.cfg.Heard(upstream.Lost)
		}
		return errNoStream
	}
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return errors.New(resp.Status)
	}
	if t.lastEvent != "" { // perhaps it only does not know where that was
		t.lastEvent = ""
		return errors.New(resp.Status)
	}
	if m, err := readMessage(resp, errorBodyMax); err == nil && m.Failed() {
		l.refuse(m.Answer(resp.StatusCode))
	}
	return errNoStream
}

func (l *listener) refuse(a *upstream.Answer) {
	if l.ended != nil {
		l.ended(a)
	}
}
