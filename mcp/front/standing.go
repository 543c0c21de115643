package front

import (
	"context"
	"slices"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// What the gateway says to a session's client outside of any request goes out on one of its GET streams: the newest that
// is open. The revisions forbid to say it on more than one.

// attach enters a GET stream; false: there are enough.
func (s *session) attach(out *reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) >= streamsMax {
		return false
	}
	s.streams = append(s.streams, out)
	s.streamOpened()
	return true
}

// streamOpened wakes those who wait for a stream. Holding mu.
func (s *session) streamOpened() {
	if s.opened != nil {
		close(s.opened)
		s.opened = nil
	}
}

// detach takes a GET stream out that has ended.
func (s *session) detach(out *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = slices.DeleteFunc(s.streams, func(o *reply) bool { return o == out })
	s.used = time.Now()
}

// standing is the GET stream that is open and was opened last, or nil.
func (s *session) standing() *reply {
	s.mu.Lock()
	all := slices.Clone(s.streams)
	s.mu.Unlock()
	for _, out := range slices.Backward(all) {
		if out.connected() {
			return out
		}
	}
	return nil
}

// say writes a message to the session's stream and returns it; nil: there is none, and the message is lost.
func (s *session) say(msg []byte) *reply {
	if out := s.standing(); out != nil && out.event(msg) {
		return out
	}
	return nil
}

// carry writes a question to own, or to the session's stream, for one of which it waits a while, and returns which it was;
// nil: there was none.
func (s *session) carry(ctx context.Context, own *reply, msg []byte) *reply {
	var late <-chan time.Time
	for {
		s.mu.Lock()
		if s.opened == nil {
			s.opened = make(chan struct{})
		}
		opened := s.opened
		s.mu.Unlock()
		if own != nil && own.connected() && own.event(msg) {
			return own
		}
		if out := s.say(msg); out != nil {
			return out
		}
		if late == nil {
			late = time.After(streamWithin)
		}
		select {
		case <-opened:
		case <-late:
			return nil
		case <-ctx.Done():
			return nil
		case <-s.ended.Done():
			return nil
		}
	}
}

// notify is upstream.Client.Notify: log messages below the level the client wants are dropped, and so is what its revision
// does not know.
func (s *session) notify(method string, params []byte) {
	switch method {
	case "notifications/message":
		level, _ := strictjson.Unquote(strictjson.Lookup(params, strictjson.Whole(params), "level").In(params))
		if !era.Reaches(level, s.logLevel()) {
			return
		}
	case "notifications/elicitation/complete":
		if s.version < era.V2025Nov {
			return
		}
	default:
		return
	}
	s.say(rpc.AppendNotification(nil, method, params))
}
