package updates

import (
	"bytes"
	"slices"
	"sync"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// waitingMax bounds the different updates that wait to be told to one stream or session, beside one of each resource.
const waitingMax = 256

// Update is one notification.
type Update struct {
	Method string
	Params []byte // raw object
	task   string // empty: it is of a resource
}

// Queue holds what waits to be told, so that a client that reads slowly holds up no server. What comes again before it was
// told is told once. Safe for concurrent use.
type Queue struct {
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	waiting []Update   // in the order they came
}

// NewQueue makes a queue.
func NewQueue() *Queue { return &Queue{wake: make(chan struct{}, 1)} }

// Wake returns a channel that gets a value when there is something to take.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// Resource enters the params of a notifications/resources/updated that came for the subscription to uri; they are copied.
// When too many different ones wait, which are of parts of the resource, they are told as one of the whole.
func (q *Queue) Resource(uri string, params []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= waitingMax {
		params = Of(uri)
	}
	same := func(u Update) bool { return u.task == "" && bytes.Equal(u.Params, params) }
	if !slices.ContainsFunc(q.waiting, same) {
		q.waiting = append(q.waiting, Update{Method: "notifications/resources/updated", Params: bytes.Clone(params)})
	}
	q.signal()
}

// Of are the params of an update that is of that resource and says no more.
func Of(uri string) []byte { return append(strictjson.Quote([]byte(`{"uri":`), uri), '}') }

// Task enters what is new of a task, in the place of what was: it is all of the task each time. params are the queue's
// from now on.
func (q *Queue) Task(id string, params []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(u Update) bool { return u.task == id })
	q.waiting = append(q.waiting, Update{Method: "notifications/tasks", Params: params, task: id})
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Take returns what waits, and forgets it.
func (q *Queue) Take() []Update {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting = nil
	return all
}

// PutBack enters again what could not be told, before what came since. It wakes nobody: there is no stream to tell it.
func (q *Queue) PutBack(all []Update) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(all, q.waiting...)
	q.waiting = q.waiting[:min(len(q.waiting), waitingMax+Max)]
}
