package reply

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// The rhythm of streams.
const (
	FirstAfter     = 2 * time.Second  // a call that takes so long gets its stream, if that can be resumed
	KeepAliveEvery = 15 * time.Second // shorter than the idle timeouts of common proxies (30 to 125 s)
	writeWithin    = 30 * time.Second // a client that takes no bytes for so long is gone
)

// Reply is the response to one request. Safe for concurrent use, but for its exported fields.
type Reply struct {
	Accepts bool   // the client takes event streams
	Ending  func() // called before the last message goes out; nil: nothing is

	frame   [64]byte // room for what goes around a result
	parent  *Reply   // carries what this has to say: the reply of the batch it is a part of, or the stream it goes out on
	keeps   bool     // of a batch: the answer is kept for it
	kept    []byte
	lines   bool        // a stream of stdio: a message is a line
	dropped atomic.Bool // nobody waits for what it has to say

	mu      sync.Mutex // guards what follows and the order of writes
	w       http.ResponseWriter
	left    <-chan struct{} // closed when the client of w has gone away
	broken  bool            // w takes no more
	hangUp  func()          // ends the handler of w when the stream has ended or moved on; nil: it needs no telling
	started bool            // the event stream's header is out
	over    bool            // the last message is out, or can go nowhere
	waited  bool            // FirstAfter has passed
	idle    *time.Timer
	kind    replay.Kind
	keeper  Keeper                 // keeps the events for a client that comes back; nil: nothing does
	primes  bool                   // the stream begins with an event that has only an id
	trail   *replay.Stream[*Reply] // in the log
}

// AcceptsEvents reports whether a request is one whose client takes event streams.
func AcceptsEvents(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// New begins the reply to r. The caller must end it before its handler returns.
func New(w http.ResponseWriter, r *http.Request) *Reply {
	if AcceptsEvents(r) {
		return NewStream(w, r)
	}
	return &Reply{w: w, left: r.Context().Done()}
}

// NewStream begins the reply to a request whose client takes event streams, whatever it says. The caller must end it
// before its handler returns.
func NewStream(w http.ResponseWriter, r *http.Request) *Reply {
	out := &Reply{w: w, left: r.Context().Done(), Accepts: true}
	out.mu.Lock() // the timer must not fire before it is kept
	defer out.mu.Unlock()
	out.idle = time.AfterFunc(FirstAfter, out.keepAlive)
	return out
}

// NewLines begins a stream of stdio: a message is a line. The caller must end it before its handler returns.
func NewLines(w http.ResponseWriter, r *http.Request) *Reply {
	return &Reply{w: w, left: r.Context().Done(), Accepts: true, lines: true}
}

// On returns the reply to a request that is answered on a stream with others.
func On(stream *Reply) *Reply { return &Reply{Accepts: true, parent: stream} }

// HangUp has fn called when the stream has ended or moved on to another connection, to end the handler of this one.
func (o *Reply) HangUp(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hangUp = fn
}

// PartOf returns the reply to one request of a batch, which whole answers: its notifications are whole's, its answer is
// kept for it.
func PartOf(whole *Reply) *Reply { return &Reply{Accepts: whole.Accepts, parent: whole, keeps: true} }

// Kept is the answer of a part of a batch; nil: there was none.
func (o *Reply) Kept() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept
}

// End stops the keep-alive; nothing is written after it.
func (o *Reply) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle != nil {
		o.idle.Stop()
	}
	o.finish()
}

// finish says that nothing follows. Holding mu.
func (o *Reply) finish() {
	if o.over {
		return
	}
	o.over = true
	if o.trail != nil {
		o.trail.Close()
	}
	if o.hangUp != nil {
		o.hangUp()
	}
}

func (o *Reply) keepAlive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.over || o.gone():
		return
	case !o.waited && (o.started || !o.primes):
		o.waited = true
		o.idle.Reset(KeepAliveEvery - FirstAfter)
		return
	case o.started:
		o.put([]byte(sse.KeepAlive))
	default:
		o.waited = true
		o.put(o.start(), []byte(sse.KeepAlive))
	}
	o.idle.Reset(KeepAliveEvery)
}

// Begin turns the reply into an event stream.
func (o *Reply) Begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over && !o.started {
		o.put(o.start())
	}
}

// Notify writes a notification; a client that takes no event stream does not get it.
func (o *Reply) Notify(method string, params []byte) {
	if o.Accepts {
		o.Event(rpc.AppendNotification(nil, method, params))
	}
}

// Connected reports whether the client reads this as an event stream, or would if there were an event.
func (o *Reply) Connected() bool {
	for o.parent != nil {
		o = o.parent
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Accepts && !o.over && !o.gone()
}

// gone reports whether there is nobody at the other end now. Holding mu.
func (o *Reply) gone() bool {
	select {
	case <-o.left:
		return true
	default:
		return o.broken
	}
}

// Event writes a message to the event stream, or keeps it for the client to come back; false: it can do neither.
func (o *Reply) Event(msg []byte) bool {
	for o.parent != nil {
		if o.dropped.Load() {
			return false
		}
		o = o.parent
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.over:
		return false
	case o.started:
		o.put(o.message(msg))
	case o.gone():
		return false
	default:
		o.put(o.start(), o.message(msg))
	}
	return !o.over
}

// Named writes an event that is no message to an event stream.
func (o *Reply) Named(name, text string) {
	o.Begin()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.put(sse.Append(nil, sse.Event{Name: []byte(name), Data: []byte(text)}))
	}
}

// Drop keeps what a part of another reply has not said yet from being said: nobody waits for it.
func (o *Reply) Drop() { o.dropped.Store(true) }

// message is msg as the stream's next event, which is kept if the stream can be resumed. Holding mu.
func (o *Reply) message(msg []byte) []byte {
	if o.lines {
		return rpc.AppendLine(make([]byte, 0, len(msg)+1), msg)
	}
	e := sse.Event{Name: []byte("message"), Data: msg}
	if o.trail == nil {
		return sse.Append(make([]byte, 0, len(msg)+32), e)
	}
	e.ID = o.trail.ID()
	b := sse.Append(make([]byte, 0, len(msg)+64), e)
	o.trail.Add(b)
	return b
}

// start sends the header of an event stream and returns what goes before its first event. Holding mu.
func (o *Reply) start() []byte {
	o.started = true
	if o.lines {
		startStream(o.w, "application/x-ndjson")
		return nil
	}
	startStream(o.w, "text/event-stream")
	return o.trailed()
}

func startStream(w http.ResponseWriter, mediaType string) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}

// put writes raw bytes of the event stream. Holding mu.
func (o *Reply) put(parts ...[]byte) {
	if o.broken || deliver(o.w, parts...) == nil {
		return
	}
	o.broken = true
	if o.trail == nil {
		o.over = true
	}
}

// Result answers with a result in two parts, the last message.
func (o *Reply) Result(id, page, rest []byte) {
	const brace = len(o.frame) - 1
	o.frame[brace] = '}'
	o.last(http.StatusOK, rpc.AppendHead(o.frame[:0:brace], id), page, rest, o.frame[brace:])
}

// Fail answers with an error, the last message.
func (o *Reply) Fail(id []byte, e *rpc.Error) {
	status := http.StatusOK
	if e.HTTP != 0 {
		status = e.HTTP
	}
	o.last(status, rpc.AppendError(nil, id, e))
}

// last writes the message that ends the reply; on an event stream the status is out already.
func (o *Reply) last(status int, parts ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Ending != nil {
		o.Ending()
	}
	switch {
	case o.over || o.dropped.Load():
		return
	case o.keeps:
		o.kept = bytes.Join(parts, nil)
	case o.parent != nil:
		o.parent.Event(bytes.Join(parts, nil))
	case o.started:
		o.put(o.message(bytes.Join(parts, nil)))
	default:
		writeJSON(o.w, status, parts...)
	}
	o.finish()
}

// All answers a batch.
func (o *Reply) All(answers [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	defer o.finish()
	if o.parent != nil {
		o.parent.Event(slices.Concat([]byte{'['}, bytes.Join(answers, []byte{','}), []byte{']'}))
		return
	}
	if !o.started {
		writeJSON(o.w, http.StatusOK, []byte{'['}, bytes.Join(answers, []byte{','}), []byte{']'})
		return
	}
	for _, a := range answers {
		o.put(o.message(a))
	}
}

// writeJSON writes a whole JSON body that is made of parts.
func writeJSON(w http.ResponseWriter, status int, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	h := w.Header()
	values := []string{"application/json", strconv.Itoa(n)} // one allocation for both
	h["Content-Type"], h["Content-Length"] = values[:1:1], values[1:]
	w.WriteHeader(status)
	_ = deliver(w, parts...) // the client is gone, and nothing is left to do
}

// deliver writes parts and flushes them within writeWithin. The deadline is the connection's, so it is taken back for
// whoever writes on it next.
func deliver(w http.ResponseWriter, parts ...[]byte) error {
	ctl := http.NewResponseController(w)
	if ctl.SetWriteDeadline(time.Now().Add(writeWithin)) == nil { // not every writer has one
		defer func() { _ = ctl.SetWriteDeadline(time.Time{}) }()
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return ctl.Flush()
}
