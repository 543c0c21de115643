package retention

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/tollgate/tollgate/ledger/journal"
)

// Keeps are those who read the journal: what one of them has not passed is not removed. The zero Keeps is empty. All
// methods are safe for concurrent use.
type Keeps struct {
	mu  sync.Mutex
	all map[*Keeper]struct{}
}

// Keeper is one of them. A nil Keeper keeps nothing.
type Keeper struct {
	keeps    *Keeps
	name     string
	position func() journal.Position // nil: segment says it
	segment  atomic.Uint64           // where a reader stands
}

// Add registers name, who has passed what position says.
func (k *Keeps) Add(name string, position func() journal.Position) *Keeper {
	return k.add(&Keeper{name: name, position: position})
}

// Reader registers a reader that begins at from and says itself how far it has come.
func (k *Keeps) Reader(from journal.Position) *Keeper {
	one := &Keeper{name: "a reader"}
	one.segment.Store(from.Segment)
	return k.add(one)
}

func (k *Keeps) add(one *Keeper) *Keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[*Keeper]struct{}{}
	}
	one.keeps = k
	k.all[one] = struct{}{}
	return one
}

// Passed says that a reader has come to a segment.
func (one *Keeper) Passed(segment uint64) {
	if one != nil && one.segment.Load() != segment {
		one.segment.Store(segment)
	}
}

// Release ends it; a second call does nothing.
func (one *Keeper) Release() {
	if one == nil {
		return
	}
	one.keeps.mu.Lock()
	defer one.keeps.mu.Unlock()
	delete(one.keeps.all, one)
}

// First is the first segment that somebody still needs, and who.
func (k *Keeps) First() (segment uint64, name string) {
	k.mu.Lock()
	all := make([]*Keeper, 0, len(k.all))
	for one := range k.all {
		all = append(all, one)
	}
	k.mu.Unlock()
	segment = math.MaxUint64
	for _, one := range all { // asked without the lock: it is theirs what they hold meanwhile
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

// unread runs fn while no reader can begin, unless one has begun that is not past a segment; it reports whether it ran.
func (k *Keeps) unread(past uint64, fn func() error) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for one := range k.all {
		if one.position == nil && one.segment.Load() <= past {
			return false, nil
		}
	}
	return true, fn()
}
