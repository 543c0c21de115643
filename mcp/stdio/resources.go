package stdio

import (
	"context"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

// watchersMax bounds the watchers of one child.
const watchersMax = 1024

// watcher is told of one resource.
type watcher struct {
	mu      sync.Mutex // guards updated, and orders its calls
	updated func(params []byte)
}

func (w *watcher) tell(params []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.updated != nil {
		w.updated(params)
	}
}

// Subscribe implements upstream.Server: in a legacy child of the caller's own, or in a modern one. It is started again when
// it dies, and the watchers are told that they may have missed something.
func (s *Server) Subscribe(ctx context.Context, x *upstream.Exchange, updated func(params []byte)) (stop func(), a *upstream.Answer, err error) {
	if s.peer.Load() == nil {
		if _, err := s.shared.connect(ctx); err != nil {
			return nil, nil, err
		}
	}
	switch p := s.peer.Load(); {
	case p.Era == upstream.Modern:
		return s.subscribe(ctx, x, updated)
	case x.Method == upstream.TasksGet || !p.Subscribes || s.cfg.Shared:
		return nil, upstream.NoSubscriptions(), nil
	}
	c, release, err := s.childOf(ctx, x, true)
	if err != nil {
		return nil, nil, err
	}
	w := &watcher{updated: updated}
	if !c.watch(x.Name, w) {
		release()
		return nil, nil, s.cfg.Fault(upstream.Unreachable, nil, "is watched for too many resources already")
	}
	end := sync.OnceFunc(func() {
		c.unwatch(x.Name, w)
		release()
	})
	p, err := c.connect(ctx)
	if err == nil {
		a, err = c.subscribe(ctx, x, p)
	}
	if err != nil || a.Error != nil {
		end()
		return nil, a, err
	}
	return end, nil, nil
}

// subscribe asks a legacy child to tell of what x names, behind what is under way.
func (c *child) subscribe(ctx context.Context, x *upstream.Exchange, p *pipe) (*upstream.Answer, error) {
	select {
	case c.token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.token }()
	return c.exchange(ctx, &upstream.Exchange{Permit: x.Permit, Method: "resources/subscribe", Params: ofURI(x.Name)}, p)
}

// unsubscribe tells the child that nobody watches the resource, if that is still so when it is its turn.
func (c *child) unsubscribe(l *launch, uri string) {
	select {
	case c.token <- struct{}{}:
	case <-c.halted.Done():
		return
	}
	defer func() { <-c.token }()
	c.mu.Lock()
	watched := len(c.watchers[uri]) > 0
	c.mu.Unlock()
	select {
	case <-l.ready:
		if l.err == nil && !watched {
			r := &wire.Request{ID: c.server.ids.Add(1), Method: "resources/unsubscribe", Params: ofURI(uri)}
			_ = l.pipe.conn.Send(l.pipe.permit, r.Body()) // one that is gone tells of nothing
		}
	default: // it is not asked for it when it is up
	}
}

func ofURI(uri string) []byte { return append(strictjson.Quote([]byte(`{"uri":`), uri), '}') }

// watch enters a watcher; false: there are enough.
func (c *child) watch(uri string, w *watcher) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, all := range c.watchers {
		n += len(all)
	}
	if n >= watchersMax {
		return false
	}
	if c.watchers == nil {
		c.watchers = map[string]map[*watcher]bool{}
	}
	if c.watchers[uri] == nil {
		c.watchers[uri] = map[*watcher]bool{}
	}
	c.watchers[uri][w] = true
	return true
}

// unwatch takes a watcher out; the child is told when nobody watches the resource any more.
func (c *child) unwatch(uri string, w *watcher) {
	c.mu.Lock()
	delete(c.watchers[uri], w)
	last := len(c.watchers[uri]) == 0
	if last {
		delete(c.watchers, uri)
	}
	l := c.current
	c.mu.Unlock()
	go func() { // whoever stops may be the one who is told, and does not wait
		w.mu.Lock()
		w.updated = nil
		w.mu.Unlock()
	}()
	if last && l != nil {
		c.server.begin(func() { c.unsubscribe(l, uri) })
	}
}

// updated tells the watchers of a resource what the child says of it.
func (c *child) updated(uri string, params []byte) {
	c.mu.Lock()
	var all []*watcher
	for w := range c.watchers[uri] {
		all = append(all, w)
	}
	c.mu.Unlock()
	for _, w := range all {
		w.tell(params)
	}
}

// settled goes on, with a child that has just started, with what one before it was asked.
func (c *child) settled(p *pipe) {
	if p.peer.Era == upstream.Modern && p.peer.Listens {
		p.listen()
	}
	c.mu.Lock()
	again := c.starts > 1
	var uris []string
	for uri := range c.watchers {
		uris = append(uris, uri)
	}
	c.mu.Unlock()
	if !again {
		return
	}
	for _, uri := range uris {
		r := &wire.Request{ID: c.server.ids.Add(1), Method: "resources/subscribe", Params: ofURI(uri)}
		if p.conn.Send(p.permit, r.Body()) != nil {
			return // it is gone already, and the next is asked
		}
		c.updated(uri, ofURI(uri)) // it may have changed in between
	}
}

// again starts a child that has died, or has not started, again if somebody watches a resource in it.
func (c *child) again() {
	c.mu.Lock()
	watched, wait := len(c.watchers) > 0 && !c.left, max(c.backoff(), 0)
	c.mu.Unlock()
	if !watched {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.halted.Done():
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.watchers) > 0 && !c.left && c.current.over() {
		c.launch()
	}
}

// listen has a modern child tell of changed lists.
func (p *pipe) listen() {
	s := p.child.server
	id := s.ids.Add(1)
	x := &upstream.Exchange{Permit: p.permit, Method: "subscriptions/listen"}
	r := &wire.Request{ID: id, Method: x.Method, Meta: p.peer.Meta(s.base, x, id, s.self),
		Params: []byte(`{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}}`)}
	p.beside(r.Body())
}
