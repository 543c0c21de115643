package replay

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of what is kept. A client that has not come back after minutes has given up; one that floods its streams
// costs its own events.
const (
	Age           = 5 * time.Minute
	eventsMax     = 1024      // of one session
	logBytesMax   = 4 << 20   // of one session
	storeBytesMax = 256 << 20 // of all sessions together
	idBytesMax    = 44        // a kind, two numbers of 64 bits and what is between them
)

// Kind tells apart what streams are for. It is a letter.
type Kind byte

// The kinds of streams.
const (
	Call    Kind = 'c' // the answer to a request
	Session Kind = 's' // what is said outside of any
)

// Store is the memory that logs draw on. Safe for concurrent use.
type Store struct{ bytes atomic.Int64 }

// Log keeps the events of one session's streams. T is what the session's owner knows a stream by. Safe for concurrent use.
type Log[T any] struct {
	store *Store

	mu      sync.Mutex // guards what follows, and what the streams keep
	closed  bool
	opened  uint64
	streams map[uint64]*Stream[T]
	kept    []entry[T] // oldest first
	bytes   int
	expiry  *time.Timer // nil: nothing is kept
}

// entry is one kept event, which is the first that its stream keeps when all before it in the log are gone.
type entry[T any] struct {
	stream *Stream[T]
	at     time.Time
	size   int
}

// Stream is one event stream. Events are added by one goroutine at a time.
type Stream[T any] struct {
	Of T

	log    *Log[T]
	kind   Kind
	number uint64

	// Guarded by the log's mu; next is changed by whoever adds events only.
	next   uint64 // number of the next event
	events []event
	lost   uint64 // number of the newest event that is not kept; 0: none, the first does not count
	done   bool   // the last event has been added
}

type event struct {
	n   uint64
	raw []byte
}

// NewLog makes the log of a session.
func NewLog[T any](store *Store) *Log[T] {
	return &Log[T]{store: store, streams: map[uint64]*Stream[T]{}}
}

// Open begins a stream.
func (l *Log[T]) Open(kind Kind, of T) *Stream[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened++
	s := &Stream[T]{Of: of, log: l, kind: kind, number: l.opened}
	l.streams[s.number] = s
	return s
}

// ID is the id of the next event.
func (s *Stream[T]) ID() []byte {
	b := strconv.AppendUint([]byte{byte(s.kind)}, s.number, 10)
	return strconv.AppendUint(append(b, '-'), s.next, 10)
}

// Add takes the next event as it is sent, its id included; the bytes are the stream's from now on.
func (s *Stream[T]) Add(raw []byte) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	n := s.next
	s.next++
	switch {
	case n == 0:
	case l.room(len(raw)):
		s.events = append(s.events, event{n, raw})
		l.kept = append(l.kept, entry[T]{s, time.Now(), len(raw)})
	default:
		s.lost = n
	}
}

// Close says that no event follows. What is kept stays for its time.
func (s *Stream[T]) Close() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.done = true
	if len(s.events) == 0 {
		delete(s.log.streams, s.number)
	}
}

// After returns the events behind that number, as far as they are kept, while nobody adds any. whole is false when some
// are not; last is true when the stream is closed and its last event is among them or was that number itself.
func (s *Stream[T]) After(n uint64) (events [][]byte, whole, last bool) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for _, e := range s.events {
		if e.n > n {
			events = append(events, e.raw)
		}
	}
	return events, s.lost <= n, s.done && (n == s.next-1 || s.lost < s.next-1)
}

// Find returns the stream of the event with that id, and the event's number. A nil stream is none that could be continued.
// ok is false for what is no id of any event.
func (l *Log[T]) Find(id string) (s *Stream[T], kind Kind, n uint64, ok bool) {
	kind, number, n, ok := parse(id)
	if !ok {
		return nil, 0, 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s = l.streams[number]; s != nil && (s.kind != kind || n >= s.next) {
		return nil, 0, 0, false
	}
	return s, kind, n, true
}

// parse reads an id in the one way it is written.
func parse(id string) (kind Kind, stream, n uint64, ok bool) {
	if len(id) < 4 || len(id) > idBytesMax || id[0] != byte(Call) && id[0] != byte(Session) {
		return 0, 0, 0, false
	}
	left, right, _ := strings.Cut(id[1:], "-")
	stream, err1 := strconv.ParseUint(left, 10, 64)
	n, err2 := strconv.ParseUint(right, 10, 64)
	canonical := err1 == nil && err2 == nil && strconv.FormatUint(stream, 10) == left && strconv.FormatUint(n, 10) == right
	return Kind(id[0]), stream, n, canonical
}

// room makes room for an event of that size; false: there is none. Holding mu.
func (l *Log[T]) room(size int) bool {
	if l.closed || size > logBytesMax {
		return false
	}
	for len(l.kept) > 0 && (len(l.kept) >= eventsMax || l.bytes+size > logBytesMax) {
		l.dropOldest()
	}
	if l.store.bytes.Add(int64(size)) > storeBytesMax {
		l.store.bytes.Add(-int64(size))
		return false
	}
	l.bytes += size
	if l.expiry == nil {
		l.expiry = time.AfterFunc(Age, l.expire)
	}
	return true
}

// dropOldest drops the event that is kept for longest. Holding mu.
func (l *Log[T]) dropOldest() {
	e := l.kept[0]
	l.kept[0] = entry[T]{}
	l.kept = l.kept[1:]
	s := e.stream
	s.lost = max(s.lost, s.events[0].n)
	s.events[0] = event{}
	s.events = s.events[1:]
	l.bytes -= e.size
	l.store.bytes.Add(-int64(e.size))
	if s.done && len(s.events) == 0 {
		delete(l.streams, s.number)
	}
}

// expire drops what is too old.
func (l *Log[T]) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.kept) > 0 && time.Since(l.kept[0].at) >= Age {
		l.dropOldest()
	}
	l.expiry = nil
	if len(l.kept) > 0 && !l.closed {
		l.expiry = time.AfterFunc(Age-time.Since(l.kept[0].at), l.expire)
	}
}

// Close drops everything, because the session has ended; nothing is kept from now on.
func (l *Log[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for len(l.kept) > 0 {
		l.dropOldest()
	}
	clear(l.streams)
	if l.expiry != nil {
		l.expiry.Stop()
		l.expiry = nil
	}
}
