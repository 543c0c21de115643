package front

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/updates"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/policy"
)

// subscribeParallel bounds what a listen request names that is asked for at a time.
const subscribeParallel = 8

// subscribe serves resources/subscribe. A session has one subscription to a URI, however often it asks.
func (x *exchange) subscribe(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	uri, ok := m.Text(rpc.URI)
	if !ok {
		return nil, rpc.BadParams("uri is missing or no string")
	}
	s := x.session
	err := s.subscriptions.Add(ctx, uri, func() (func(), error) { return x.watchResource(ctx, c, uri, s.updates) })
	switch {
	case errors.Is(err, updates.ErrFull):
		return nil, rpc.Refused(http.StatusTooManyRequests, "this session has enough subscriptions; end one first")
	case err != nil:
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
	if err := x.session.subscriptions.Remove(ctx, uri); err != nil {
		return nil, err
	}
	return []byte("{}"), nil
}

// watchResource has a resource watched for the caller. What it may see is asked again for each update: a subscription
// lives longer than a rule.
func (x *exchange) watchResource(ctx context.Context, c *era.Context, uri string, to *updates.Queue) (stop func(), err error) {
	p := x.caller(c.Client).Principal
	e := x.find(ctx, func(s *catalog.Space) *catalog.Entry { return x.first(c, s.Resource(uri)) })
	unknown := noResource(c, uri)
	if e == nil {
		x.record(p, "resources/subscribe", uri, "unknown name")
		return nil, unknown
	}
	call := &Call{
		Principal: p, Action: policy.ResourceSubscribe, Entry: e, Method: "resources/subscribe",
		Params: updates.Of(e.Name), Context: c,
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
			params = updates.Of(uri) // the server's own name for it is another's here
		}
		to.Resource(uri, params)
	})
	if err == ErrHidden {
		err = unknown
	}
	return stop, err
}

// subscribeAll has the resources watched that a listen request names; see watchAll.
func (x *exchange) subscribeAll(ctx context.Context, m *rpc.Message, c *era.Context, to *updates.Queue) (uris []string, stop func(), err error) {
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
		if len(asked) > updates.Max { // before each of many is compared with all others
			break
		}
	}
	if list.Kind != '[' || len(asked) > updates.Max {
		return nil, nil, rpc.BadParams(member + " must be an array of at most 256 strings")
	}
	stops := make([]func(), len(asked))
	slots := make(chan struct{}, subscribeParallel)
	var wg sync.WaitGroup
	for i, text := range asked {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one := *x // find may look the space up anew
			var err error
			defer one.survive(&err)
			stops[i], err = watch(&one, text)
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
