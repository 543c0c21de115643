package streamable

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

// acknowledgeTimeout bounds the wait for the first message of a stream that tells of resources.
const acknowledgeTimeout = 30 * time.Second

// overlap is how long the stream of a feed is still read once the next has taken its place: what the server had sent on it
// before it knew of the next may be on its way, and comes on no other. What is said meanwhile comes twice.
const overlap = time.Second

// feeds are the streams on which a modern server tells of resources, one per principal.
type feeds struct {
	server *Server
	base   context.Context // of every stream
	cut    context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows, and the resources of each feed
	all    map[sessionKey]*feed
	closed bool
}

// feed is the one stream of a principal. What is watched on it is changed by opening the next one before it is closed.
type feed struct {
	key       sessionKey
	behalf    string
	token     chan struct{} // holds one: it is changed by one at a time
	resources map[string]*watched
	on        *tap // nil: none. Whoever holds the token
	before    *tap // likewise; the one whose place it took, which is read for the overlap. Nil: none
}

// tap is one stream of a feed; it is opened again when it breaks.
type tap struct {
	names []string // of what it tells of
	stop  context.CancelFunc
	first chan *upstream.Answer // holds one: a refusal, or nil once names are those that the server acknowledged
	told  sync.Once
	dead  chan struct{} // closed when it has ended for good
}

func (fs *feeds) init(s *Server) {
	fs.server, fs.all = s, map[sessionKey]*feed{}
	fs.base, fs.cut = context.WithCancel(context.Background())
}

// subscribe watches the resource of x for its principal.
func (fs *feeds) subscribe(ctx context.Context, x *upstream.Exchange, p *wire.Peer, updated func(params []byte)) (stop func(), a *upstream.Answer, err error) {
	key, behalf := fs.server.sessions.keyOf(x, true)
	key.able, key.client = wire.Abilities{}, "" // a stream of changes asks nothing
	name, ok := nameOf(x)
	if !ok {
		return nil, upstream.NoSubscriptions(), nil
	}
	f, w, release, err := fs.hold(ctx, key, behalf, p, name)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if f.on == nil || f.on.over() || !slices.Contains(f.on.names, name) {
		next, a, err := fs.open(ctx, f, p, fs.watchedIn(f, name))
		if err == nil && a == nil && !slices.Contains(next.names, name) {
			a = &upstream.Answer{Error: upstream.NewError(wire.CodeMethod, "this server does not tell of changes of this")}
			next.stop()
		}
		if err != nil || a != nil {
			fs.unwatched(f, name, w)
			return nil, a, err
		}
		f.turnTo(next)
	}
	one := w.add(updated)
	var once sync.Once
	return func() { once.Do(func() { w.remove(one); fs.unwatch(f, p, name, w) }) }, nil, nil
}

// turnTo makes next the stream of f. Of those before it only the last is still read, and none when nobody watches any
// more. The token of f is held.
func (f *feed) turnTo(next *tap) {
	if f.before != nil {
		f.before.stop()
	}
	f.before, f.on = f.on, next
	switch old := f.before; {
	case old == nil:
	case next == nil:
		old.stop()
	default:
		time.AfterFunc(overlap, old.stop)
	}
}

func (t *tap) over() bool {
	select {
	case <-t.dead:
		return true
	default:
		return false
	}
}

// watch returns the feed of key and what is watched of uri in it; nil: it is too much.
func (fs *feeds) watch(key sessionKey, behalf, uri string) (*feed, *watched) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.all[key]
	if f == nil {
		f = &feed{key: key, behalf: behalf, token: make(chan struct{}, 1), resources: map[string]*watched{}}
		fs.all[key] = f
	}
	w := f.resources[uri]
	if w == nil && len(f.resources) < watchedMax {
		w = newWatched()
		f.resources[uri] = w
	}
	return f, w
}

// hold is watch with the token of the feed, which must be given back.
func (fs *feeds) hold(ctx context.Context, key sessionKey, behalf string, p *wire.Peer, uri string) (f *feed, w *watched, release func(), err error) {
	for {
		f, w := fs.watch(key, behalf, uri)
		if w == nil {
			return nil, nil, nil, fs.server.cfg.Fault(upstream.Unreachable, nil, "is asked to tell of more than %d resources at once", watchedMax)
		}
		release, err := hold(ctx, f.token)
		if err != nil {
			fs.unwatch(f, p, uri, w) // whoever holds the token may be about to watch
			return nil, nil, nil, err
		}
		fs.mu.Lock()
		still := fs.all[key] == f && f.resources[uri] == w
		fs.mu.Unlock()
		if still {
			return f, w, release, nil
		}
		release() // its last watcher has left meanwhile
	}
}

// watchedIn are the resources of f that somebody watches, and also.
func (fs *feeds) watchedIn(f *feed, also string) []string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var uris []string
	for _, uri := range slices.Sorted(maps.Keys(f.resources)) {
		if uri == also || !f.resources[uri].empty() {
			uris = append(uris, uri)
		}
	}
	return uris
}

// unwatched forgets w if nobody watches, and f with the last resource; false: somebody does. The token of f is held.
func (fs *feeds) unwatched(f *feed, uri string, w *watched) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !w.empty() {
		return false
	}
	if f.resources[uri] == w {
		delete(f.resources, uri)
	}
	if len(f.resources) == 0 && fs.all[f.key] == f {
		delete(fs.all, f.key)
	}
	return true
}

// unwatch has the stream of f changed, in the background, to one that does not tell of uri, if nobody watches that.
func (fs *feeds) unwatch(f *feed, p *wire.Peer, uri string, w *watched) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed || !w.empty() {
		return
	}
	fs.wg.Go(func() {
		release, err := hold(fs.base, f.token)
		if err != nil {
			return
		}
		defer release()
		if !fs.unwatched(f, uri, w) || f.on == nil {
			return
		}
		rest := fs.watchedIn(f, "")
		switch {
		case len(rest) == 0:
			f.turnTo(nil)
			return
		case !slices.Contains(f.on.names, uri):
			return // it has been left out already
		}
		if next, a, err := fs.open(fs.base, f, p, rest); err == nil && a == nil {
			f.turnTo(next)
		} // else the old one goes on, and tells of one resource that nobody watches
	})
}

// open opens a stream that tells of what is watched under names and waits for what the server acknowledges.
func (fs *feeds) open(ctx context.Context, f *feed, p *wire.Peer, names []string) (*tap, *upstream.Answer, error) {
	s := fs.server
	fs.mu.Lock()
	if fs.closed {
		fs.mu.Unlock()
		return nil, nil, s.cfg.Fault(upstream.Unreachable, nil, "is being disconnected")
	}
	living, stop := context.WithCancel(fs.base)
	t := &tap{names: names, stop: stop, first: make(chan *upstream.Answer, 1), dead: make(chan struct{})}
	fs.wg.Go(func() {
		defer stop()
		defer close(t.dead)
		fs.run(living, f, p, t)
	})
	fs.mu.Unlock()
	timer := time.NewTimer(acknowledgeTimeout)
	defer timer.Stop()
	select {
	case a := <-t.first:
		if a != nil {
			stop()
			return nil, a, nil
		}
		return t, nil, nil
	case <-t.dead:
		select {
		case a := <-t.first:
			if a != nil {
				return nil, a, nil
			}
		default:
		}
		return nil, nil, s.cfg.Fault(upstream.Gone, nil, "does not keep a stream of changes open")
	case <-timer.C:
		stop()
		return nil, nil, s.cfg.Fault(upstream.Late, nil, "did not acknowledge a subscription in time")
	case <-ctx.Done():
		stop()
		return nil, nil, ctx.Err()
	}
}

// run keeps t open until its life ends or the server refuses it.
func (fs *feeds) run(living context.Context, f *feed, p *wire.Peer, t *tap) {
	s := fs.server
	call := s.cfg.Own(policy.SessionOpen)
	call.OnBehalf = f.behalf
	_ = s.cfg.Gate.Do(living, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		turn, open := s.listenRequest(ctx, permit, p, notificationsOf(t.names))
		turn.exchange.Tasks = true
		s.keepListening(ctx, &listener{
			turn: turn, open: open,
			begun: func(missed bool) {
				if missed {
					fs.missed(ctx, permit, f, p)
				}
			},
			take: func(_ context.Context, m *wire.Message) error { return fs.take(f, t, m) },
			ended: func(a *upstream.Answer) {
				if a.Error.Code == wire.CodeMethod {
					a = upstream.NoSubscriptions()
				}
				t.told.Do(func() { t.first <- a })
			},
		})
		permit.Done(ledger.OK, 0, "")
		return nil
	})
}

// take takes a message of the stream t.
func (fs *feeds) take(f *feed, t *tap, m *wire.Message) error {
	switch m.Method {
	case "notifications/subscriptions/acknowledged":
		t.told.Do(func() {
			t.names = acknowledged(m.Param("notifications"))
			t.first <- nil
		})
	case "notifications/tasks":
		id, err := wire.Text(m.Param("taskId"))
		if err != nil {
			return errors.New("a task without an id")
		}
		fs.mu.Lock()
		w := f.resources[taskPrefix+id]
		fs.mu.Unlock()
		if w != nil {
			w.tell(wire.WithoutSubscription(m.Params()))
		}
	case "notifications/resources/updated":
		uri, err := wire.Text(m.Param("uri"))
		if err != nil {
			return errors.New("an update without a uri")
		}
		fs.mu.Lock()
		told := about(f.resources, uri)
		fs.mu.Unlock()
		params := wire.WithoutSubscription(m.Params())
		for _, w := range told {
			w.tell(params)
		}
	}
	return nil
}

// missed tells of all that is watched on f: while its stream was not there it may have changed.
func (fs *feeds) missed(ctx context.Context, permit *gate.Permit, f *feed, p *wire.Peer) {
	fs.mu.Lock()
	all := maps.Clone(f.resources)
	fs.mu.Unlock()
	for name, w := range all {
		if strings.HasPrefix(name, taskPrefix) {
			fs.missedTask(ctx, permit, p, name, w)
		} else {
			w.tell(wire.Object("uri", name))
		}
	}
}

// close ends every feed.
func (fs *feeds) close() {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	fs.cut()
	fs.wg.Wait()
}

// stringsIn appends a JSON array of texts to b.
func stringsIn(b []byte, texts []string) []byte {
	b = append(b, '[')
	for i, s := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = strictjson.Quote(b, s)
	}
	return append(b, ']')
}
