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
	// listenPause is the wait before a stream of changes that ended is opened again; it doubles up to listenPauseMax while
	// streams last for less than listenSteady.
	listenPause    = time.Second
	listenPauseMax = time.Minute
	listenSteady   = time.Minute
)

// errNoStream means the server has no stream to listen on: changes are seen when the lists are fetched again.
var errNoStream = errors.New("no stream of changes")

// listen follows the stream on which a legacy server tells of changes, for as long as its session lives.
func (s *Server) listen(ctx context.Context, permit *gate.Permit, in *session) {
	if !in.peer.Listens {
		return
	}
	t := &turn{server: s, exchange: &upstream.Exchange{Permit: permit}, peer: in.peer, session: in}
	s.keepListening(ctx, t, func(ctx context.Context) (*http.Response, error) { return t.get(ctx, "") })
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
			s.subscribe(ctx, permit, p)
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

func (s *Server) subscribe(ctx context.Context, permit *gate.Permit, p *wire.Peer) {
	x := &upstream.Exchange{Permit: permit, Method: "subscriptions/listen",
		Params: []byte(`{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}}`)}
	t := &turn{server: s, exchange: x, peer: p}
	s.keepListening(ctx, t, func(ctx context.Context) (*http.Response, error) {
		t.id = s.ids.Add(1)
		o := &wire.Request{ID: t.id, Method: x.Method, Params: x.Params, Meta: p.Meta(ctx, x, t.id, s.self)}
		return t.post(ctx, o.Body(), o)
	})
}

// keepListening opens the stream again and again until ctx ends or the server says that it has none.
func (s *Server) keepListening(ctx context.Context, t *turn, open func(context.Context) (*http.Response, error)) {
	pause := listenPause
	for first := true; ; first = false {
		began := time.Now()
		err := s.listenOnce(ctx, t, open, !first)
		if ctx.Err() != nil || errors.Is(err, errNoStream) {
			return
		}
		s.cfg.Log.Debug("a stream of changes ended", "server", s.cfg.Name, "err", err)
		if time.Since(began) > listenSteady {
			pause = listenPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, listenPauseMax)
	}
}

// listenOnce follows one stream to its end. One that was missed for a while may have missed changes.
func (s *Server) listenOnce(ctx context.Context, t *turn, open func(context.Context) (*http.Response, error), missed bool) error {
	resp, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if !isStream(resp) {
		if t.sessionLost(&upstream.RPCError{HTTP: resp.StatusCode}, true) { // it has started again
			s.sessions.drop(t.session)
			s.cfg.Heard(upstream.Lost)
			return errNoStream
		}
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return errors.New(resp.Status)
		}
		return errNoStream
	}
	if missed {
		for _, c := range [...]upstream.Change{upstream.ToolsChanged, upstream.ResourcesChanged, upstream.PromptsChanged} {
			s.cfg.Heard(c)
		}
	}
	t.ownRequests = 0
	in := sse.NewReader(resp.Body, eventBytesMax)
	for {
		e, err := in.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if len(bytes.TrimSpace(e.Data)) == 0 {
			continue
		}
		m, err := wire.Parse(e.Data)
		switch {
		case err != nil:
			return err
		case m.Request():
			if err := t.ownRequest(ctx, m); err != nil {
				return err
			}
		case m.Failed():
			return errNoStream
		case m.Method == "":
			return nil // the graceful end
		}
		if change, ok := wire.ChangeOf(m.Method); ok {
			s.cfg.Heard(change)
		}
	}
}
