package refusals

import (
	"fmt"
	"sync"
	"time"

	"github.com/tollgate/tollgate/ledger/entry"
)

const (
	// gap is how long refusals of callers without a key add up to one entry.
	gap = time.Minute
	// sourcesMax bounds the sources that are added up apart; those beyond share one line.
	sourcesMax = 1024
	// otherSources is that line's source.
	otherSources = "other"
)

// Sums adds up refusals of callers without a key. All methods are safe for concurrent use.
type Sums struct {
	write func(entry.Entry)
	now   func() time.Time

	mu      sync.Mutex
	sources map[string]*refusals
	timer   *time.Timer // runs while there is something to add up
}

// refusals are those of one source since its last entry.
type refusals struct {
	since time.Time
	count int64
	last  entry.Entry
}

// New returns Sums that write what was added up by write, which decides what an error means and is called from any goroutine.
func New(now func() time.Time, write func(entry.Entry)) *Sums {
	return &Sums{write: write, now: now, sources: map[string]*refusals{}}
}

// First reports whether e is to be written now; otherwise it was added up.
func (t *Sums) First(e *entry.Entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sources[e.Source] == nil && len(t.sources) >= sourcesMax {
		e.Source = otherSources
	}
	if r := t.sources[e.Source]; r != nil {
		r.count++
		r.last = *e
		return false
	}
	t.sources[e.Source] = &refusals{since: e.Time}
	if t.timer == nil {
		t.timer = time.AfterFunc(gap, t.expire)
	}
	return true
}

// expire writes what was added up and forgets the sources that were quiet.
func (t *Sums) expire() {
	t.mu.Lock()
	due := t.due(t.now())
	if len(t.sources) > 0 {
		t.timer.Reset(gap / 4)
	} else {
		t.timer = nil
	}
	t.mu.Unlock()
	for i := range due {
		t.write(due[i])
	}
}

// due takes the sums whose minute is over. The caller holds t.mu.
func (t *Sums) due(now time.Time) []entry.Entry {
	var out []entry.Entry
	for source, r := range t.sources {
		if now.Sub(r.since) < gap {
			continue
		}
		if r.count == 0 {
			delete(t.sources, source)
			continue
		}
		out = append(out, r.sum())
		r.since, r.count = now, 0
	}
	return out
}

// sum is the entry of several refusals: the last of them, with their count.
func (r *refusals) sum() entry.Entry {
	e := r.last
	e.Quantities.Calls = r.count
	if r.count > 1 {
		e.Detail = fmt.Sprintf("%s (the last of %d refusals)", e.Detail, r.count)
	}
	return e
}

// Flush writes all that was added up, before the ledger closes.
func (t *Sums) Flush() {
	t.mu.Lock()
	var due []entry.Entry
	for _, r := range t.sources {
		if r.count > 0 {
			due = append(due, r.sum())
		}
	}
	clear(t.sources)
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	for i := range due {
		t.write(due[i])
	}
}
