package peer

import (
	"sync"
	"time"
)

// onceMax bounds the messages that are remembered: two thousand in a second, for as long as one is good.
const onceMax = 1 << 17

// once remembers messages for as long as they are good, so that none counts twice. Safe for concurrent use; the zero value
// is ready.
type once struct {
	mu          sync.Mutex // guards what follows
	young, old  map[[16]byte]struct{}
	generations time.Time // when young was begun
}

// first reports whether a message has not been seen. When more come than can be remembered, they are not.
func (o *once) first(id [16]byte, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	// A message is good for goodFor before and after its time: what was seen longer ago than both is stale anyway.
	if age := now.Sub(o.generations); age > 2*goodFor || age < 0 || o.young == nil {
		o.old, o.young, o.generations = o.young, map[[16]byte]struct{}{}, now
		if age > 4*goodFor {
			o.old = nil
		}
	}
	if _, seen := o.young[id]; seen {
		return false
	}
	if _, seen := o.old[id]; seen || len(o.young) >= onceMax {
		return false
	}
	o.young[id] = struct{}{}
	return true
}
