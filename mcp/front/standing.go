package front

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// What the gateway says to a session's client outside of any request goes out on one of its GET streams: the newest that
// is open. The revisions forbid to say it on more than one.

// read counts a GET of the session in, until hasRead; false: there are enough.
func (s *session) read() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers >= streamsMax {
		return false
	}
	s.readers++
	return true
}

func (s *session) hasRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers--
	s.used = time.Now()
}

// enter makes a stream the newest of the session.
func (s *session) enter(out *reply.Reply) {
	s.mu.Lock()
	s.streams = append(slices.DeleteFunc(s.streams, func(o *reply.Reply) bool { return o == out }), out)
	if s.paused == out {
		s.paused = nil
	}
	s.mu.Unlock()
	s.streamOpened()
}

// streamOpened wakes those who wait for a stream.
func (s *session) streamOpened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		close(s.opened)
		s.opened = nil
	}
}

// leave takes a stream out whose connection w has ended. When the client can resume it, it goes on to take what the
// session is told, in the place of the one that was lost before.
func (s *session) leave(out *reply.Reply, w http.ResponseWriter) {
	s.mu.Lock()
	s.streams = slices.DeleteFunc(s.streams, func(o *reply.Reply) bool { return o == out })
	s.mu.Unlock()
	had, waits := out.Leave(w)
	switch {
	case !had && out.Connected():
		s.enter(out) // it has moved to another connection
	case had && waits:
		s.mu.Lock()
		old := s.paused
		s.paused, s.pausedAt = out, time.Now()
		s.mu.Unlock()
		if old != nil {
			old.End()
		}
	case had:
		out.End()
	}
}

// standing is the GET stream that is open and was opened last, or nil.
func (s *session) standing() *reply.Reply {
	s.mu.Lock()
	all := slices.Clone(s.streams)
	s.mu.Unlock()
	for _, out := range slices.Backward(all) {
		if out.Connected() {
			return out
		}
	}
	return nil
}

// say writes a message to the session's stream and reports whether it could; otherwise the message is lost.
func (s *session) say(msg []byte) bool {
	if out := s.standing(); out != nil && out.Event(msg) {
		return true
	}
	s.mu.Lock()
	out, at := s.paused, s.pausedAt
	s.mu.Unlock()
	return out != nil && time.Since(at) < replay.Age && out.Event(msg)
}

// carry writes a question to own, or to the session's stream, for one of which it waits a while, and returns which it was;
// nil: there was none.
func (s *session) carry(ctx context.Context, own *reply.Reply, msg []byte) *reply.Reply {
	var late <-chan time.Time
	for {
		s.mu.Lock()
		if s.opened == nil {
			s.opened = make(chan struct{})
		}
		opened := s.opened
		s.mu.Unlock()
		if own != nil && own.Connected() && own.Event(msg) {
			return own
		}
		if out := s.standing(); out != nil && out.Event(msg) {
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
