// Package owned keeps what belongs to a principal under ids that nobody else can use, even who has seen one.
package owned

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
)

// ID returns an id that nobody guesses: 192 bits.
func ID() string {
	var id [24]byte
	_, _ = rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// Things are values by id, each of one owner. Safe for concurrent use.
type Things[O comparable, T any] struct {
	most int
	id   func() string

	mu     sync.Mutex // guards what follows
	byID   map[string]thing[O, T]
	counts map[O]int
}

type thing[O comparable, T any] struct {
	owner O
	value T
}

// New returns a place for at most so many of one owner. id makes their ids, of which no two are the same and which nobody
// guesses, such as ID.
func New[O comparable, T any](most int, id func() string) *Things[O, T] {
	return &Things[O, T]{most: most, id: id, byID: map[string]thing[O, T]{}, counts: map[O]int{}}
}

// Add gives v an id; false: o has enough.
func (ts *Things[O, T]) Add(o O, v T) (id string, ok bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.counts[o] >= ts.most {
		return "", false
	}
	id = ts.id()
	ts.byID[id] = thing[O, T]{o, v}
	ts.counts[o]++
	return id, true
}

// Remove forgets what has that id.
func (ts *Things[O, T]) Remove(id string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, ok := ts.byID[id]
	if !ok {
		return
	}
	delete(ts.byID, id)
	if ts.counts[t.owner]--; ts.counts[t.owner] == 0 {
		delete(ts.counts, t.owner)
	}
}

// Find returns what has that id if it is o's; another's is answered like none, so that an id cannot be tried out.
func (ts *Things[O, T]) Find(id string, o O) (v T, ok bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, ok := ts.byID[id]
	if !ok || t.owner != o {
		return v, false
	}
	return t.value, true
}
