package updates

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Max bounds the resources that one session, or one listen stream, watches.
const Max = 256

// ErrFull means that a session watches enough.
var ErrFull = errors.New("updates: too many subscriptions")

// Set are the subscriptions of a session, one for each URI however often it is asked for. Safe for concurrent use; the
// zero Set is empty.
type Set struct {
	mu    sync.Mutex // guards what follows
	over  bool
	byURI map[string]*subscription
}

type subscription struct {
	settled chan struct{} // closed when it is known whether the server took it
	stop    func()        // set before that; nil: it did not
}

// Add makes the subscription to uri by subscribe, unless there is one. Only one call for a URI subscribes at a time;
// others wait for it, or for ctx. The error is subscribe's, ErrFull or ctx's.
func (s *Set) Add(ctx context.Context, uri string, subscribe func() (stop func(), err error)) error {
	for {
		sub, fresh, err := s.enter(uri)
		switch {
		case err != nil:
			return err
		case fresh:
			sub.stop, err = subscribe()
			s.settle(uri, sub)
			return err
		}
		select {
		case <-sub.settled:
			if sub.stop != nil {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enter returns the subscription to uri; fresh: it is to be made.
func (s *Set) enter(uri string) (sub *subscription, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub = s.byURI[uri]; sub != nil {
		return sub, false, nil
	}
	if len(s.byURI) >= Max {
		return nil, false, ErrFull
	}
	if s.byURI == nil {
		s.byURI = map[string]*subscription{}
	}
	sub = &subscription{settled: make(chan struct{})}
	s.byURI[uri] = sub
	return sub, true, nil
}

// settle says that it is known what became of a fresh subscription.
func (s *Set) settle(uri string, sub *subscription) {
	s.mu.Lock()
	over := s.over
	if sub.stop == nil || over {
		delete(s.byURI, uri)
	}
	close(sub.settled)
	s.mu.Unlock()
	if sub.stop != nil && over {
		sub.stop() // Close came before
	}
}

// Remove ends the subscription to uri, if there is one. The error is ctx's, while one is being made.
func (s *Set) Remove(ctx context.Context, uri string) error {
	s.mu.Lock()
	sub := s.byURI[uri]
	s.mu.Unlock()
	if sub == nil {
		return nil
	}
	select {
	case <-sub.settled:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	if s.byURI[uri] == sub {
		delete(s.byURI, uri)
	}
	s.mu.Unlock()
	if sub.stop != nil {
		sub.stop()
	}
	return nil
}

// URIs are what is subscribed to, in no order.
func (s *Set) URIs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.byURI))
}

// Close ends all subscriptions, also those that are being made.
func (s *Set) Close() {
	s.mu.Lock()
	s.over = true
	var stops []func()
	for _, sub := range s.byURI {
		select {
		case <-sub.settled:
			stops = append(stops, sub.stop)
		default: // settle ends it
		}
	}
	s.byURI = nil
	s.mu.Unlock()
	for _, stop := range stops {
		if stop != nil {
			stop()
		}
	}
}
