package front

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// reply is the response to one POST: plain JSON, or an event stream from the first notification or keep-alive on. A GET
// stream is one, too. One that can be resumed outlives its connection and may get another; see resume.go.
type reply struct {
	accepts bool // the client takes event streams

	ending func() // called before the last message goes out; nil: nothing is

	parent *reply // of the batch this is a part of: it carries notifications, the answer is kept for it
	kept   []byte // the answer, when there is a parent

	mu      sync.Mutex // guards what follows and the order of writes
	w       http.ResponseWriter
	left    <-chan struct{} // closed when the client of w has gone away
	broken  bool            // w takes no more
	hangUp  func()          // ends the handler of w when the stream has ended or moved on; nil: it needs no telling
	started bool            // the event stream's header is out
	over    bool            // the last message is out, or can go nowhere
	waited  bool            // firstAfter has passed
	idle    *time.Timer
	session *session // whose client may resume the stream; nil: nobody may
	kind    replay.Kind
	trail   *replay.Stream[*reply]
}

func acceptsEvents(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// newReply begins a reply. The caller must end it before its handler returns.
func newReply(w http.ResponseWriter, r *http.Request) *reply {
	out := &reply{w: w, left: r.Context().Done(), accepts: acceptsEvents(r)}
	if out.accepts {
		out.mu.Lock() // the timer must not fire before it is kept
		out.idle = time.AfterFunc(firstAfter, out.keepAlive)
		out.mu.Unlock()
	}
	return out
}

// end stops the keep-alive; nothing is written after it.
func (o *reply) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle != nil {
		o.idle.Stop()
	}
	o.finish()
}

// finish says that nothing follows. Holding mu.
func (o *reply) finish() {
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

func (o *reply) keepAlive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.over || o.gone():
		return
	case !o.waited && (o.started || !o.primes()):
		o.waited = true
		o.idle.Reset(keepAliveEvery - firstAfter)
		return
	case o.started:
		o.put([]byte(sse.KeepAlive))
	default:
		o.waited = true
		o.put(o.start(), []byte(sse.KeepAlive))
	}
	o.idle.Reset(keepAliveEvery)
}

// begin turns the reply into an event stream.
func (o *reply) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over && !o.started {
		o.put(o.start())
	}
}

// notify writes a notification; a client that takes no event stream does not get it.
func (o *reply) notify(method string, params []byte) {
	if o.accepts {
		o.event(rpc.AppendNotification(nil, method, params))
	}
}

// connected reports whether the client reads this as an event stream, or would if there were an event.
func (o *reply) connected() bool {
	if o.parent != nil {
		o = o.parent
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepts && !o.over && !o.gone()
}

// gone reports whether there is nobody at the other end now. Holding mu.
func (o *reply) gone() bool {
	select {
	case <-o.left:
		return true
	default:
		return o.broken
	}
}

// event writes a message to the event stream, or keeps it for the client to come back; false: it can do neither.
func (o *reply) event(msg []byte) bool {
	if o.parent != nil {
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

// message is msg as the stream's next event, which is kept if the stream can be resumed. Holding mu.
func (o *reply) message(msg []byte) []byte {
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
func (o *reply) start() []byte {
	o.started = true
	startStream(o.w)
	return o.trailed()
}

func startStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}

// put writes raw bytes of the event stream. Holding mu.
func (o *reply) put(parts ...[]byte) {
	if o.broken || deliver(o.w, parts...) == nil {
		return
	}
	o.broken = true
	if o.trail == nil {
		o.over = true
	}
}

// result answers with a result in two parts, the last message.
func (o *reply) result(id, page, rest []byte) {
	var head [64]byte
	o.last(http.StatusOK, rpc.AppendHead(head[:0], id), page, rest, []byte{'}'})
}

// fail answers with an error, the last message.
func (o *reply) fail(id []byte, e *rpc.Error) {
	status := http.StatusOK
	if e.HTTP != 0 {
		status = e.HTTP
	}
	o.last(status, rpc.AppendError(nil, id, e))
}

// last writes the message that ends the reply; on an event stream the status is out already.
func (o *reply) last(status int, parts ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending != nil {
		o.ending()
	}
	switch {
	case o.over:
		return
	case o.parent != nil:
		o.kept = bytes.Join(parts, nil)
	case o.started:
		o.put(o.message(bytes.Join(parts, nil)))
	default:
		writeJSON(o.w, status, parts...)
	}
	o.finish()
}

// all answers a batch.
func (o *reply) all(answers [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	defer o.finish()
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
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(n))
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
