package llm

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// The rules of resting: a target that is out of order is asked after all others for a while.
const (
	failuresMost = 5                // failures in a row that make a target rest
	restTime     = 10 * time.Second // of such a target, and of one that has too much to do and does not say for how long
	restsKept    = 4096             // targets remembered; names come from callers, so they must be bounded
)

// rests remembers which targets are better left alone for a while. The zero value is ready. Safe for concurrent use.
type rests struct {
	count atomic.Int64 // of targets remembered: the usual case, none, costs no lock
	mu    sync.Mutex
	of    map[policy.Model]*rest
}

type rest struct {
	failures int
	until    time.Time
}

// resting reports whether m should be asked only after all others. When its time is over the next call is its probe: the
// others go on passing it by until the probe has succeeded.
func (r *rests) resting(m policy.Model, now time.Time) bool {
	if r.count.Load() == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.of[m]
	if s == nil || s.until.IsZero() {
		return false
	}
	if now.Before(s.until) {
		return true
	}
	s.until = now.Add(restTime)
	return false
}

// worked forgets what was held against m.
func (r *rests) worked(m policy.Model) {
	if r.count.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, m)
	r.count.Store(int64(len(r.of)))
}

// failed notes a failure of m. after is how long the provider asked to be left alone, 0 if it did not; busy says that it
// has too much to do, which counts at once.
func (r *rests) failed(m policy.Model, busy bool, after time.Duration, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[policy.Model]*rest{}
	}
	s := r.of[m]
	if s == nil {
		if len(r.of) >= restsKept {
			r.forget(now)
		}
		if len(r.of) >= restsKept {
			return
		}
		s = &rest{}
		r.of[m] = s
	}
	s.failures++
	if busy || after > 0 || s.failures >= failuresMost {
		if until := now.Add(max(after, restTime)); until.After(s.until) {
			s.until = until
		}
	}
	r.count.Store(int64(len(r.of)))
}

// all lists the targets that are resting.
func (r *rests) all(now time.Time) []policy.Model {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []policy.Model
	for m, s := range r.of {
		if now.Before(s.until) {
			out = append(out, m)
		}
	}
	return out
}

// forget drops the targets whose rest is over. The caller holds mu.
func (r *rests) forget(now time.Time) {
	for m, s := range r.of {
		if s.until.Before(now) {
			delete(r.of, m)
		}
	}
}

// retryAfter reads the header of that name: seconds or a date, at most retryAfterMost; 0 when there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		if n < 0 || n != n {
			return 0
		}
		return time.Duration(min(n, retryAfterMost.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), retryAfterMost)
}
