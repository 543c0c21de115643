package reply

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/mcp/front/replay"
)

// retryAfter is how long clients are asked to wait before they come back.
const retryAfter = time.Second

// Keeper has what keeps the events of a session's streams.
type Keeper interface {
	Events() *replay.Log[*Reply]
}

// Keep makes the reply a stream that its client can resume: its events are kept by the keeper. With primes it begins with an
// event that has an id and nothing else, so that there is something to come back with. A part of another reply is what
// that one is.
func (o *Reply) Keep(kind replay.Kind, by Keeper, primes bool) {
	if o.parent != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kind, o.keeper, o.primes = kind, by, primes
}

// Kind is what the stream is for; 0: it cannot be resumed.
func (o *Reply) Kind() replay.Kind {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kind
}

// trailed begins to keep the events of a stream that can be resumed and returns what goes before them. Holding mu.
func (o *Reply) trailed() []byte {
	if o.keeper == nil {
		return nil
	}
	o.trail = o.keeper.Events().Open(o.kind, o)
	if !o.primes {
		return nil
	}
	prime := fmt.Appendf(nil, "id: %s\nretry: %d\ndata: \n\n", o.trail.ID(), retryAfter.Milliseconds())
	o.trail.Add(prime)
	return prime
}

// Attach goes on with the stream on another connection, behind the event of that number. whole is false when something
// came in between that is not kept; ok is false when that is the end of the stream.
func (o *Reply) Attach(w http.ResponseWriter, r *http.Request, n uint64, hangUp func()) (whole, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	events, whole, last := o.trail.After(n)
	if o.over && !last {
		return false, false
	}
	if o.hangUp != nil {
		o.hangUp()
	}
	o.w, o.left, o.broken, o.hangUp = w, r.Context().Done(), false, hangUp
	startStream(w, "text/event-stream")
	o.put(events...)
	if o.over {
		hangUp()
	} else {
		o.idle.Reset(KeepAliveEvery)
	}
	return whole, true
}

// Leave takes the connection w from the stream. had is false when it has another one already; waits says that it can have
// another.
func (o *Reply) Leave(w http.ResponseWriter) (had, waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w != w {
		return false, false
	}
	o.broken = true
	o.idle.Stop()
	return true, !o.over && o.trail != nil
}

// Replaced reports whether the stream is one for what is said outside of requests that another has taken the place of.
func (o *Reply) Replaced() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kind == replay.Session && o.over
}
