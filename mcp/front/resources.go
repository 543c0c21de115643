package front

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/policy"
)

// The bounds of resource subscriptions.
const (
	subscriptionsMax  = 256 // of one session, or of one listen stream
	subscribeParallel = 8   // of one listen request that are asked for at a time
	updatesMax        = 256 // different ones that wait to be told
)

const resourceUpdated = "notifications/resources/updated"

// updates are the changes of resources that wait to be told. One that comes again before it was told is told once, so
// that a client that reads slowly holds up no server.
type updates struct {
	wake chan struct{} // takes one: there is something to tell

	mu      sync.Mutex // guards what follows
	waiting [][]byte   // params, in the order they came
	tasks   []taskNews
}

func newUpdates() *updates { return &updates{wake: make(chan struct{}, 1)} }

// add enters the params of an update that came for the subscription to uri. When too many different ones wait, which are
// of parts of the resource, they are told as one of the whole.
func (u *updates) add(uri string, params []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) >= updatesMax {
		params = append(strictjson.Quote([]byte(`{"uri":`), uri), '}')
	}
	if !slices.ContainsFunc(u.waiting, func(w []byte) bool { return bytes.Equal(w, params) }) {
		u.waiting = append(u.waiting, bytes.Clone(params))
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, and forgets it.
func (u *updates) take() [][]byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.waiting
	u.waiting = nil
	return all
}

// putBack enters again what could not be told; it waits for the next stream.
func (u *updates) putBack(all [][]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting = append(all, u.waiting...)
	u.waiting = u.waiting[:min(len(u.waiting), updatesMax+subscriptionsMax)]
}

// subscription is one of a session.
type subscription struct {
	settled chan struct{} // closed when it is known whether the server took it
	stop    func()        // set before that; nil: it did not
}

// subscribe serves resources/subscribe. A session has one subscription to a URI, however often it asks.
func (x *exchange) subscribe(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	uri, ok := m.Text(rpc.URI)
	if !ok {
		return nil, rpc.BadParams("uri is missing or no string")
	}
	s := x.session
	sub, fresh, err := s.subscription(ctx, uri)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return []byte("{}"), nil
	}
	stop, err := x.watchResource(ctx, c, uri, s.updates)
	s.settle(uri, sub, stop)
	if err != nil {
		return nil, err
	}
	return []byte("{}"), nil
}

// unsubscribe serves resources/unsubscribe. What is not subscribed needs nothing done.
func (x *exchange) unsubscribe(ctx context.Context, m *rpc.Message, _ *era.Context) ([]byte, error) {
	uri, ok := m.Text(rpc.URI)
	if !ok {
		return nil, rpc.BadParams("uri is missing or no string")
	}
	x.session.mu.Lock()
	sub := x.session.subscriptions[uri]
	x.session.mu.Unlock()
	if sub != nil {
		select {
		case <-sub.settled:
			x.session.drop(uri, sub)
		case <-ctx.Done():
			return nil, internal("the request was cancelled")
		}
	}
	return []byte("{}"), nil
}

// watchResource has a resource watched for the caller. What it may see is asked again for each update: a subscription
// lives longer than a rule.
func (x *exchange) watchResource(ctx context.Context, c *era.Context, uri string, to *updates) (stop func(), err error) {
	p := x.caller(c.Client).principal
	e := x.find(ctx, func(s *catalog.Space) *catalog.Entry { return x.first(c, s.Resource(uri)) })
	unknown := noResource(c, uri)
	if e == nil {
		x.record(p, "resources/subscribe", uri, "unknown name")
		return nil, unknown
	}
	call := &Call{
		Principal: p, Action: policy.ResourceSubscribe, Entry: e, Method: "resources/subscribe",
		Params: append(strictjson.Quote([]byte(`{"uri":`), e.Name), '}'), Context: c,
	}
	if x.session != nil {
		call.Client = x.session.client
	}
	backend := x.cfg.Backend
	stop, err = backend.Subscribe(ctx, call, func(params []byte) {
		if !backend.Visible(p)(&e.Tool) {
			return
		}
		if e.Name != uri {
			params = append(strictjson.Quote([]byte(`{"uri":`), uri), '}') // the server's own name for it is another's here
		}
		to.add(uri, params)
	})
	if err == ErrHidden {
		err = unknown
	}
	return stop, err
}

// subscription returns the session's subscription to uri, which is settled unless it is fresh: then the caller settles it.
func (s *session) subscription(ctx context.Context, uri string) (sub *subscription, fresh bool, err error) {
	for {
		s.mu.Lock()
		sub = s.subscriptions[uri]
		full := len(s.subscriptions) >= subscriptionsMax
		if sub == nil && !full {
			sub = &subscription{settled: make(chan struct{})}
			if s.subscriptions == nil {
				s.subscriptions = map[string]*subscription{}
			}
			s.subscriptions[uri] = sub
			s.mu.Unlock()
			return sub, true, nil
		}
		s.mu.Unlock()
		if sub == nil {
			return nil, false, rpc.Refused(http.StatusTooManyRequests, "this session has enough subscriptions; end one first")
		}
		select {
		case <-sub.settled:
			if sub.stop != nil {
				return sub, false, nil
			}
		case <-ctx.Done():
			return nil, false, internal("the request was cancelled")
		}
	}
}

// settle says what became of a fresh subscription; stop nil: nothing.
func (s *session) settle(uri string, sub *subscription, stop func()) {
	s.mu.Lock()
	sub.stop = stop
	if stop == nil {
		delete(s.subscriptions, uri)
	}
	close(sub.settled)
	s.mu.Unlock()
	if stop != nil && s.ended.Err() != nil {
		s.drop(uri, sub) // dropAll came before
	}
}

// drop ends a settled subscription.
func (s *session) drop(uri string, sub *subscription) {
	s.mu.Lock()
	if s.subscriptions[uri] == sub {
		delete(s.subscriptions, uri)
	}
	s.mu.Unlock()
	if sub.stop != nil {
		sub.stop()
	}
}

// dropAll ends the subscriptions of a session that has ended.
func (s *session) dropAll() {
	s.mu.Lock()
	var stops []func()
	for _, sub := range s.subscriptions {
		if sub.stop != nil {
			stops = append(stops, sub.stop)
		}
	}
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// subscribeAll has the resources watched that a listen request names; see watchAll.
func (x *exchange) subscribeAll(ctx context.Context, m *rpc.Message, c *era.Context, to *updates) (uris []string, stop func(), err error) {
	return x.watchAll(m, "resourceSubscriptions", func(x *exchange, uri string) (func(), error) { return x.watchResource(ctx, c, uri, to) })
}

// watchAll has watch called for all texts of a member of a listen request's notifications, a few at a time, and returns
// those that it did not fail for: the others, unknown, hidden or of servers that do not tell of such, are left out of what
// is acknowledged. stop ends all. kept is nil when the request does not have the member.
func (x *exchange) watchAll(m *rpc.Message, member string, watch func(*exchange, string) (stop func(), err error)) (kept []string, stop func(), err error) {
	params := m.Get(rpc.Params)
	list := strictjson.Lookup(params, strictjson.Lookup(params, strictjson.Whole(params), "notifications"), member)
	if !list.Present() || list.Kind == 'n' {
		return nil, func() {}, nil
	}
	var asked []string
	for _, v := range strictjson.Elements(params, list) {
		text, err := strictjson.Unquote(v.In(params))
		if v.Kind != '"' || err != nil {
			return nil, nil, rpc.BadParams(member + " must be strings")
		}
		if !slices.Contains(asked, text) {
			asked = append(asked, text)
		}
	}
	if list.Kind != '[' || len(asked) > subscriptionsMax {
		return nil, nil, rpc.BadParams(member + " must be an array of at most 256 strings")
	}
	stops := make([]func(), len(asked))
	slots := make(chan struct{}, subscribeParallel)
	var wg sync.WaitGroup
	for i, text := range asked {
		slots <- struct{}{}
		wg.Go(func() {
			one := *x // find may look the space up anew
			stops[i], _ = watch(&one, text)
			<-slots
		})
	}
	wg.Wait()
	for i, text := range asked {
		if stops[i] != nil {
			kept = append(kept, text)
		}
	}
	return kept, func() {
		for _, stop := range stops {
			if stop != nil {
				stop()
			}
		}
	}, nil
}
