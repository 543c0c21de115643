package ledger

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/tollgate/tollgate/ledger/journal"
)

// keeps are those who read the journal. What one of them has not passed is not removed.
type keeps struct {
	mu  sync.Mutex
	all map[*keeper]struct{}
}

// keeper is one of them.
type keeper struct {
	keeps    *keeps
	name     string
	position func() journal.Position // nil: segment says it
	segment  atomic.Uint64           // where a reader stands
}

// Keep says that name still needs the journal from a position on: retention removes no segment that it has not passed.
// position is asked before each removal, from another goroutine, and holds no lock that waits for the ledger; the zero
// Position keeps everything. It counts until release is called. Whoever keeps a place over restarts must register before
// Retain is begun, or what it has not read may go.
func (l *Ledger) Keep(name string, position func() journal.Position) (release func()) {
	return l.keeps.add(&keeper{name: name, position: position}).release
}

func (k *keeps) add(one *keeper) *keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[*keeper]struct{}{}
	}
	one.keeps = k
	k.all[one] = struct{}{}
	return one
}

// reader keeps what a reader that begins at from has not read.
func (k *keeps) reader(from journal.Position) *keeper {
	one := &keeper{name: "a reader"}
	one.segment.Store(from.Segment)
	return k.add(one)
}

// passed says that a reader has come to a segment. A nil keeper takes it, too.
func (one *keeper) passed(segment uint64) {
	if one != nil && one.segment.Load() != segment {
		one.segment.Store(segment)
	}
}

func (one *keeper) release() {
	if one == nil {
		return
	}
	one.keeps.mu.Lock()
	defer one.keeps.mu.Unlock()
	delete(one.keeps.all, one)
}

// first is the first segment that somebody still needs, and who.
func (k *keeps) first() (segment uint64, name string) {
	k.mu.Lock()
	all := make([]*keeper, 0, len(k.all))
	for one := range k.all {
		all = append(all, one)
	}
	k.mu.Unlock()
	segment = math.MaxUint64
	for _, one := range all { // asked without the lock: it is theirs how long they take
		at := one.segment.Load()
		if one.position != nil {
			at = one.position().Segment
		}
		if at < segment {
			segment, name = at, one.name
		}
	}
	return segment, name
}
