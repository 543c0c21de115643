// Package flights knows the requests of one client that are being answered, so that the client can cancel them.
package flights

import (
	"net/http"
	"sync"

	"github.com/tollgate/tollgate/mcp/rpc"
)

// Max bounds the requests of one client at a time.
const Max = 256

// Flight is one request that is being answered. Its functions may be called more than once and by any goroutine.
type Flight struct {
	Cancel func() // because the client does not want the answer
	End    func() // of a stream that lasts until somebody ends it; nil: it ends by itself
}

// Set is the requests of one client. The zero value is ready. Safe for concurrent use.
type Set struct {
	mu   sync.Mutex // guards byID
	byID map[string]Flight
}

// Enter counts a request in, by its raw id; the error says why it may not run.
func (s *Set) Enter(id []byte, f Flight) *rpc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[string(id)]; ok {
		return rpc.Invalid("a request with this id is still running")
	}
	if len(s.byID) >= Max {
		return rpc.Refused(http.StatusTooManyRequests, "too many requests of this session are running; wait for one to end")
	}
	if s.byID == nil {
		s.byID = map[string]Flight{}
	}
	s.byID[string(id)] = f
	return nil
}

// Leave counts a request out: its id is free.
func (s *Set) Leave(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, string(id))
}

// Cancel cancels a request, if there is one of that id.
func (s *Set) Cancel(id []byte) {
	s.mu.Lock()
	f, ok := s.byID[string(id)]
	s.mu.Unlock()
	if ok {
		f.Cancel()
	}
}

// EndStreams ends those that would not end by themselves.
func (s *Set) EndStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.byID {
		if f.End != nil {
			f.End()
		}
	}
}

// Idle reports whether there are none.
func (s *Set) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID) == 0
}
