package ledger

import (
	"fmt"
	"sync"
	"time"

	"github.com/tollgate/tollgate/policy"
)

const (
	// turnedAwayGap is how long refusals of callers without a key add up to one entry.
	turnedAwayGap = time.Minute
	// turnedAwayMax bounds the sources that are added up apart; those beyond share one line.
	turnedAwayMax = 1024
	// otherSources is that line's source.
	otherSources = "other"
)

// Deny appends a denied entry. It does not wait for the disk. Calls without a principal add up: the first refusal of a
// source is written at once, those of the minute after it as one further entry with their count.
func (l *Ledger) Deny(c *policy.Call, d *policy.Decision, reason string) error {
	draft := l.draft()
	defer l.discard(draft)
	e := &draft.entry
	if err := l.begin(e, c, d, Denied); err != nil {
		return err
	}
	e.Detail = clip(reason)
	if c.Principal == nil && !l.turned.first(l, e) {
		return nil
	}
	return l.append(draft)
}

// turnedAway adds up refusals of callers without a key.
type turnedAway struct {
	mu      sync.Mutex
	sources map[string]*refusals
	timer   *time.Timer // runs while there is something to add up
}

// refusals are those of one source since its last entry.
type refusals struct {
	since time.Time
	count int64
	last  Entry
}

// first reports whether e is to be written now; otherwise it was added up.
func (t *turnedAway) first(l *Ledger, e *Entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sources == nil {
		t.sources = map[string]*refusals{}
	}
	if t.sources[e.Source] == nil && len(t.sources) >= turnedAwayMax {
		e.Source = otherSources
	}
	if r := t.sources[e.Source]; r != nil {
		r.count++
		r.last = *e
		return false
	}
	t.sources[e.Source] = &refusals{since: e.Time}
	if t.timer == nil {
		t.timer = time.AfterFunc(turnedAwayGap, func() { t.expire(l) })
	}
	return true
}

// expire writes what was added up and forgets the sources that were quiet.
func (t *turnedAway) expire(l *Ledger) {
	t.mu.Lock()
	due := t.due(l.cfg.Now())
	if len(t.sources) > 0 {
		t.timer.Reset(turnedAwayGap / 4)
	} else {
		t.timer = nil
	}
	t.mu.Unlock()
	for i := range due {
		// An error means that the disk fails, which the calls of those who have a key tell louder.
		_ = l.append(&draft{entry: due[i]})
	}
}

// due takes the sums whose minute is over. The caller holds t.mu.
func (t *turnedAway) due(now time.Time) []Entry {
	var out []Entry
	for source, r := range t.sources {
		if now.Sub(r.since) < turnedAwayGap {
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
func (r *refusals) sum() Entry {
	e := r.last
	e.Quantities.Calls = r.count
	if r.count > 1 {
		e.Detail = fmt.Sprintf("%s (the last of %d refusals)", e.Detail, r.count)
	}
	return e
}

// flush writes all that was added up, before the ledger closes.
func (t *turnedAway) flush(l *Ledger) {
	t.mu.Lock()
	var due []Entry
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
		_ = l.append(&draft{entry: due[i]})
	}
}
