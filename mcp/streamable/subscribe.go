package streamable

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

// watchedMax bounds the resources watched for one caller: more than a human or an agent keeps an eye on.
const watchedMax = 1000

// watched is one resource that the server was asked to tell about.
type watched struct {
	token chan struct{} // holds one: the server is asked about it by one at a time
	in    *session      // in which a legacy server was last asked; nil: not yet. Whoever holds the token

	mu       sync.Mutex // guards watchers
	watchers map[*watcher]bool
}

// watcher is one caller that is told.
type watcher struct {
	updated func(params []byte)
	stopped atomic.Bool
	mu      sync.Mutex // held while it is told
}

func newWatched() *watched {
	return &watched{token: make(chan struct{}, 1), watchers: map[*watcher]bool{}}
}

func (w *watched) add(updated func(params []byte)) *watcher {
	one := &watcher{updated: updated}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watchers[one] = true
	return one
}

// remove ends one.
func (w *watched) remove(one *watcher) {
	one.stopped.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watchers, one)
}

func (w *watched) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watchers) == 0
}

// tell tells every watcher, each by one at a time.
func (w *watched) tell(params []byte) {
	w.mu.Lock()
	all := make([]*watcher, 0, len(w.watchers))
	for one := range w.watchers {
		all = append(all, one)
	}
	w.mu.Unlock()
	for _, one := range all {
		one.mu.Lock()
		if !one.stopped.Load() {
			one.updated(params)
		}
		one.mu.Unlock()
	}
}

// hold takes the token of w, which must be given back.
func hold(ctx context.Context, token chan struct{}) (release func(), err error) {
	select {
	case token <- struct{}{}:
		return func() { <-token }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Subscribe implements upstream.Server.
func (s *Server) Subscribe(ctx context.Context, x *upstream.Exchange, updated func(params []byte)) (stop func(), a *upstream.Answer, err error) {
	p := s.peer.Load()
	switch {
	case p == nil:
		return nil, nil, s.cfg.Fault(upstream.Unreachable, nil, "is not connected yet")
	case p.Era == upstream.Modern:
		return s.feeds.subscribe(ctx, x, p, updated)
	case !p.Subscribes, x.Method == upstream.TasksGet:
		return nil, upstream.NoSubscriptions(), nil
	}
	ss := &s.sessions
	key, behalf := ss.keyOf(x, true)
	w, release, err := ss.hold(ctx, key, x.Name)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if w.in == nil {
		a, err := ss.subscribe(ctx, x, key, behalf, w)
		if err != nil || a.Error != nil {
			ss.unwatched(key, x.Name, w)
			return nil, a, err
		}
	}
	one := w.add(updated)
	var once sync.Once
	return func() { once.Do(func() { w.remove(one); ss.unwatch(key, x.Name, w) }) }, nil, nil
}

// subscribe asks the server in the session of key, whose stream has to be there for what it tells. The token of w is
// held.
func (ss *sessions) subscribe(ctx context.Context, x *upstream.Exchange, key sessionKey, behalf string, w *watched) (*upstream.Answer, error) {
	s := ss.server
	for again := false; ; again = true {
		in, err := ss.take(ctx, key, behalf, x.Client)
		if err != nil {
			return nil, err
		}
		listens, err := true, error(nil)
		if in.pipe == nil {
			listens, err = in.stream.ready(ctx)
		}
		var a *upstream.Answer
		switch {
		case err == nil && listens:
			a, err = s.exchange(ctx, &upstream.Exchange{Permit: x.Permit, Method: "resources/subscribe", Params: wire.Object("uri", x.Name)}, in.peer, in)
		case err == nil:
			a = upstream.NoSubscriptions()
		}
		ss.release(in)
		if !errors.Is(err, errSessionLost) {
			if err == nil && a.Error == nil {
				w.in = in
			}
			return a, err
		}
		ss.drop(in)
		if again {
			return nil, s.cfg.Fault(upstream.Gone, err, "forgets its sessions as soon as they are open")
		}
	}
}

// hold is watch with the token of what is watched, which must be given back.
func (ss *sessions) hold(ctx context.Context, key sessionKey, uri string) (w *watched, release func(), err error) {
	for {
		w := ss.watch(key, uri)
		if w == nil {
			return nil, nil, ss.server.cfg.Fault(upstream.Unreachable, nil, "is asked to tell of more than %d resources at once", watchedMax)
		}
		release, err := hold(ctx, w.token)
		if err != nil {
			ss.unwatch(key, uri, w) // whoever holds the token may be about to watch
			return nil, nil, err
		}
		ss.mu.Lock()
		still := ss.watched[key][uri] == w
		ss.mu.Unlock()
		if still {
			return w, release, nil
		}
		release() // its last watcher has left meanwhile
	}
}

// watch returns what is watched of uri in the session of key; nil: it is too much.
func (ss *sessions) watch(key sessionKey, uri string) *watched {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	of := ss.watched[key]
	if of == nil {
		of = map[string]*watched{}
		ss.watched[key] = of
	}
	w := of[uri]
	if w == nil && len(of) < watchedMax {
		w = newWatched()
		of[uri] = w
	}
	return w
}

// unwatched forgets w if nobody watches. The token of w is held.
func (ss *sessions) unwatched(key sessionKey, uri string, w *watched) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !w.empty() {
		return
	}
	if of := ss.watched[key]; of[uri] == w {
		if delete(of, uri); len(of) == 0 {
			delete(ss.watched, key)
		}
	}
}

// unwatch has the server told, in the background, that nobody watches a resource any more, if that is so.
func (ss *sessions) unwatch(key sessionKey, uri string, w *watched) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.closed || !w.empty() {
		return
	}
	ss.wg.Go(func() {
		release, err := hold(ss.base, w.token)
		if err != nil {
			return
		}
		defer release()
		if !w.empty() {
			return
		}
		defer ss.unwatched(key, uri, w) // not before: who watches it anew is to ask behind this
		in := w.in
		if in == nil || !ss.current(in) {
			return
		}
		w.in = nil
		ctx, cancel := context.WithTimeout(ss.base, sideTimeout)
		defer cancel()
		// A server that does not answer goes on telling what nobody hears.
		_, _ = ss.server.exchange(ctx, &upstream.Exchange{Permit: in.permit, Method: "resources/unsubscribe", Params: wire.Object("uri", uri)}, in.peer, in)
	})
}

// current reports whether in is the session of its key.
func (ss *sessions) current(in *session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.all[in.key] == in
}

// watchAgain asks, in a session that took the place of a lost one, for what was watched in that.
func (ss *sessions) watchAgain(ctx context.Context, in *session) {
	for uri, w := range ss.watchedIn(in) {
		release, err := hold(ctx, w.token)
		if err != nil {
			return
		}
		if w.in != nil && w.in != in && !w.empty() {
			a, err := ss.server.exchange(ctx, &upstream.Exchange{Permit: in.permit, Method: "resources/subscribe", Params: wire.Object("uri", uri)}, in.peer, in)
			switch {
			case err != nil || a.Error != nil:
				ss.server.cfg.Log.Warn("a resource is not watched any more", "server", ss.server.cfg.Name, "err", err)
			default:
				w.in = in
				w.tell(wire.Object("uri", uri)) // what it told meanwhile is lost
			}
		}
		release()
	}
}

// watchedIn is what is watched in the session.
func (ss *sessions) watchedIn(in *session) map[string]*watched {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return maps.Clone(ss.watched[in.key])
}

// updated hands on what the server tells of a resource. It may be one below that which is watched.
func (ss *sessions) updated(in *session, m *wire.Message) {
	uri, err := wire.Text(m.Param("uri"))
	if err != nil {
		return
	}
	ss.mu.Lock()
	told := about(ss.watched[in.key], uri)
	ss.mu.Unlock()
	for _, w := range told {
		w.tell(m.Params())
	}
}

// about are those of all that an update of uri is about.
func about(all map[string]*watched, uri string) (told []*watched) {
	for at, w := range all {
		rest, below := strings.CutPrefix(uri, at)
		if below && (rest == "" || strings.HasSuffix(at, "/") || strings.HasPrefix(rest, "/")) {
			told = append(told, w)
		}
	}
	return told
}

// missedUpdates tells of every resource watched in the session: while its stream was not there they may have changed.
func (ss *sessions) missedUpdates(in *session) {
	for uri, w := range ss.watchedIn(in) {
		w.tell(wire.Object("uri", uri))
	}
}
