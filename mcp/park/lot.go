package park

import (
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/seal"
)

// The bounds of what waits. A parked call holds its place in the limits of its key, a connection to its server and some
// kilobytes. A caller that has been asked and never comes back has no way to say so, so where its calls find no place its
// oldest one is taken for forgotten; it costs nobody else's.
const (
	parkedFor   = 10 * time.Minute // for one answer: people come back from a meeting, servers forget
	callsMax    = 4096             // calls that have asked and are not over
	serverMax   = 512              // to one server: half of the connections that there are to it
	ownerMax    = 64               // of one principal
	resultsMax  = 64 << 20         // bytes of results that nobody has come for yet
	checkEvery  = 5 * time.Second  // a revoked key ends what waits for it within this
	notesMax    = 64               // notifications kept for the next request of a caller
	noteMaxSize = 64 << 10         // bytes of them
)

// The bounds of what one call may ask. A server that asks more is in a loop.
const (
	questionsMax = 256 // in all
	openMax      = 32  // at a time
	roundsMax    = 64  // requests of the caller
)

// Questions that come together are told together: the caller is answered when none has come for collectQuiet, or after
// collectMost.
const (
	collectQuiet = 30 * time.Millisecond
	collectMost  = 300 * time.Millisecond
)

// Lot keeps the calls that wait. Safe for concurrent use.
type Lot struct {
	sealer *seal.Sealer
	self   Place

	mu      sync.Mutex // guards what follows; taken after a call's
	calls   map[callID]*Call
	owners  map[string][]*Call // oldest first
	servers map[string]int
	results int // bytes
	closed  bool
}

// New makes a lot whose states are sealed with s and say that their calls wait at self.
func New(s *seal.Sealer, self Place) *Lot {
	return &Lot{sealer: s, self: self, calls: map[callID]*Call{}, owners: map[string][]*Call{}, servers: map[string]int{}}
}

// Close ends the calls that are parked now and every call that would be. Those whose request listens go on.
func (l *Lot) Close() {
	l.mu.Lock()
	l.closed = true
	all := make([]*Call, 0, len(l.calls))
	for _, c := range l.calls {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.abandon()
	}
}

// admit gives c a place and an id, which it keeps until leave. It is asked again whenever c is to be parked. c's lock is
// held, and those of others are taken: none of them waits for c's, because c has no place yet.
func (l *Lot) admit(c *Call) *rpc.Error {
	for {
		refused, full := l.place(c)
		if !full || !l.forget(c.of.owner()) {
			return refused
		}
	}
}

// place gives c a place if there is one; full: there might be one if another call of its owner went.
func (l *Lot) place(c *Call) (refused *rpc.Error, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	owner := c.of.owner()
	switch {
	case l.closed:
		return rpc.Refused(http.StatusServiceUnavailable, "the gateway is shutting down"), false
	case l.calls[c.id] == c:
		return nil, false
	case len(l.owners[owner]) >= ownerMax:
		return rpc.Refused(http.StatusTooManyRequests, "too many of your calls have asked for input and are still running"), true
	case len(l.calls) >= callsMax || l.servers[c.of.Server] >= serverMax:
		return rpc.Refused(http.StatusServiceUnavailable, "too many calls wait for input; try again later"), true
	}
	_, _ = rand.Read(c.id[:]) // never fails
	l.calls[c.id] = c
	l.owners[owner] = append(l.owners[owner], c)
	l.servers[c.of.Server]++
	return nil, false
}

// forget ends the oldest parked call of an owner, and reports whether there is one.
func (l *Lot) forget(owner string) bool {
	l.mu.Lock()
	all := slices.Clone(l.owners[owner])
	l.mu.Unlock()
	return slices.ContainsFunc(all, (*Call).abandon)
}

// leave takes c out, if it is in.
func (l *Lot) leave(c *Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[c.id] != c {
		return
	}
	delete(l.calls, c.id)
	owner := c.of.owner()
	l.owners[owner] = slices.DeleteFunc(l.owners[owner], func(o *Call) bool { return o == c })
	if len(l.owners[owner]) == 0 {
		delete(l.owners, owner)
	}
	if l.servers[c.of.Server]--; l.servers[c.of.Server] == 0 {
		delete(l.servers, c.of.Server)
	}
	l.results -= c.kept
}

// keep counts the n bytes of c's result as waiting; false: there are enough.
func (l *Lot) keep(c *Call, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.results+n > resultsMax {
		return false
	}
	l.results += n
	c.kept = n
	return true
}

// Ours reports whether a requestState is one of this installation, whatever has become of what it stands for.
func (l *Lot) Ours(state string) bool {
	_, ok := unseal(l.sealer, state)
	return ok
}

// Elsewhere reports where the call of a requestState waits, if that is in another process.
func (l *Lot) Elsewhere(state string) (Place, bool) {
	s, ok := unseal(l.sealer, state)
	if !ok || s.kind != parked || s.place == l.self {
		return Place{}, false
	}
	return s.place, true
}

// Open finds what a requestState stands for. The error says why the state is refused; nothing has then changed.
func (l *Lot) Open(state string, r *Request) (*Ticket, *rpc.Error) {
	s, ok := unseal(l.sealer, state)
	if !ok {
		return nil, foreign()
	}
	if err := s.check(r); err != nil {
		return nil, err
	}
	if s.kind == again {
		return &Ticket{state: s}, nil
	}
	l.mu.Lock()
	c := l.calls[s.id]
	l.mu.Unlock()
	if c == nil {
		return nil, lost()
	}
	return &Ticket{state: s, call: c}, nil
}

// Ticket is an opened state, good for the request it was opened with.
type Ticket struct {
	state *State
	call  *Call // nil: the retry is a call of its own
}

// Parked reports whether a call waits. If not, the request is to be made anew once the pages have been visited.
func (t *Ticket) Parked() bool { return t.call != nil }

// End ends the call that waits: its caller may not make it any more.
func (t *Ticket) End() { t.call.abandon() }
