package stdio

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

const (
	// acknowledgeTimeout bounds the wait for what a modern child says first on a subscription.
	acknowledgeTimeout = 30 * time.Second
	// againAfter is the wait before a subscription that the child has ended is made again.
	againAfter = time.Second
)

// subscription is one subscriptions/listen of a modern child: to one resource or one task, for one watcher. What comes on
// it carries its request's id, so that it can be no other's, and the shared child serves.
type subscription struct {
	child   *child
	name    string // the resource's URI or the task's id
	task    bool
	updated func(params []byte)
	first   chan *upstream.Answer // takes one: nil when the child has acknowledged it, else why there is none
	once    sync.Once
}

// subscribe watches what x is about in the shared child, which is started again when it dies.
func (s *Server) subscribe(ctx context.Context, x *upstream.Exchange, updated func(params []byte)) (stop func(), a *upstream.Answer, err error) {
	if s.subscriptions.Add(1) > watchersMax {
		s.subscriptions.Add(-1)
		return nil, nil, s.cfg.Fault(upstream.Unreachable, nil, "is watched for too many resources already")
	}
	sub := &subscription{
		child: s.shared, name: x.Name, task: x.Method == upstream.TasksGet, updated: updated, first: make(chan *upstream.Answer, 1),
	}
	living, stop := context.WithCancel(s.shared.halted)
	begun := s.begin(func() {
		defer s.subscriptions.Add(-1)
		defer stop()
		sub.run(living)
	})
	if !begun {
		stop()
		s.subscriptions.Add(-1)
		return nil, nil, s.cfg.Fault(upstream.Gone, nil, "is being stopped")
	}
	timer := time.NewTimer(acknowledgeTimeout)
	defer timer.Stop()
	select {
	case a := <-sub.first:
		if a == nil {
			return stop, nil, nil
		}
		stop()
		return nil, a, nil
	case <-s.shared.halted.Done():
		err = s.cfg.Fault(upstream.Gone, nil, "is being stopped")
	case <-timer.C:
		err = s.cfg.Fault(upstream.Late, nil, "did not acknowledge a subscription in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	stop()
	return nil, nil, err
}

// begin has Close wait for f; false: it waits already.
func (s *Server) begin(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// run keeps the subscription until ctx ends or the child refuses it.
func (s *subscription) run(ctx context.Context) {
	for missed := false; ; missed = true {
		p, err := s.child.connect(ctx)
		if err == nil && s.listen(ctx, p, missed) || ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(againAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// listen follows the subscription in one child; over: it is not to be made again. missed says that it was made before, so
// that changes in between were not heard.
func (s *subscription) listen(ctx context.Context, p *pipe, missed bool) (over bool) {
	if p.peer.Era != upstream.Modern {
		s.settle(upstream.NoSubscriptions())
		return true
	}
	server := s.child.server
	id := server.ids.Add(1)
	x := &upstream.Exchange{Permit: p.permit, Method: "subscriptions/listen", Params: s.params(), Tasks: s.task}
	w := p.register(ctx, x, id)
	defer p.forget(id)
	r := &wire.Request{ID: id, Method: x.Method, Params: x.Params, Meta: p.peer.Meta(ctx, x, id, server.self)}
	if p.conn.Send(p.permit, r.Body()) != nil {
		return false
	}
	for {
		select {
		case <-w.signal:
		case <-p.dead:
			return false
		case <-ctx.Done():
			p.beside(wire.Cancelled(id))
			return true
		}
		for _, m := range p.collect(w) {
			over, ended := s.take(ctx, p, m, missed)
			if over {
				p.beside(wire.Cancelled(id))
			}
			if ended || over {
				return over
			}
		}
	}
}

// params is what the child is asked to tell of.
func (s *subscription) params() []byte {
	b := strictjson.Quote([]byte(`{"notifications":{`), s.member())
	b = strictjson.Quote(append(b, ":["...), s.name)
	return append(b, "]}}"...)
}

func (s *subscription) member() string {
	if s.task {
		return "taskIds"
	}
	return "resourceSubscriptions"
}

// take takes what the child says on the subscription. over: it has none for this; ended: this one has ended.
func (s *subscription) take(ctx context.Context, p *pipe, m *wire.Message, missed bool) (over, ended bool) {
	switch m.Method {
	case "":
		a := m.Answer(0)
		if a.Error == nil {
			return false, true // in order, as when it is about to stop
		}
		if a.Error.Code == wire.CodeMethod {
			a = upstream.NoSubscriptions()
		}
		s.settle(a)
		return true, true
	case "notifications/subscriptions/acknowledged":
		if !slices.Contains(wire.Texts(m.Param("notifications"), s.member()), s.name) {
			s.settle(&upstream.Answer{Error: upstream.NewError(wire.CodeMethod, "this server does not tell of changes of this")})
			return true, true
		}
		s.settle(nil)
		if missed {
			s.catchUp(ctx, p)
		}
	case "notifications/resources/updated", "notifications/tasks":
		if ctx.Err() == nil {
			s.updated(wire.WithoutSubscription(m.Params()))
		}
	}
	return false, false
}

// settle says what came of the first attempt.
func (s *subscription) settle(a *upstream.Answer) { s.once.Do(func() { s.first <- a }) }

// catchUp tells what may have changed while nothing was heard.
func (s *subscription) catchUp(ctx context.Context, p *pipe) {
	if !s.task {
		s.updated(wire.Object("uri", s.name))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, acknowledgeTimeout)
	defer cancel()
	x := &upstream.Exchange{Permit: p.permit, Method: upstream.TasksGet, Name: s.name, Params: wire.Object("taskId", s.name), Tasks: true}
	a, err := s.child.exchange(ctx, x, p)
	if err == nil && a.Error == nil { // else whoever waits for the task asks itself some time
		s.updated(wire.Without(a.Result, "resultType", "_meta"))
	}
}

// subscribed hands m to the subscription whose id it carries; false: it carries none, or is about lists, which are
// everybody's.
func (p *pipe) subscribed(m *wire.Message) bool {
	if _, ok := wire.ChangeOf(m.Method); ok {
		return false
	}
	params := m.Params()
	meta := strictjson.Lookup(params, strictjson.Whole(params), "_meta")
	v := strictjson.Lookup(params, meta, wire.SubscriptionID)
	if !v.Present() {
		return false
	}
	if id, ok := wire.Integer(v.In(params)); ok {
		p.put(id, m)
	}
	return true
}
