package front

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// reply is the response to one POST: plain JSON, or an event stream from the first notification or keep-alive on.
type reply struct {
	w       http.ResponseWriter
	left    <-chan struct{} // closed when the client has gone away
	accepts bool            // the client takes event streams

	ending func() // called before the last message goes out; nil: nothing is

	parent *reply // of the batch this is a part of: it carries notifications, the answer is kept for it
	kept   []byte // the answer, when there is a parent

	mu      sync.Mutex // guards what follows and the order of writes
	started bool       // the event stream's header is out
	over    bool       // the last message is out or the client is gone
	idle    *time.Timer
}

// newReply begins a reply. The caller must end it before its handler returns.
func newReply(w http.ResponseWriter, r *http.Request) *reply {
	out := &reply{w: w, left: r.Context().Done(), accepts: strings.Contains(r.Header.Get("Accept"), "text/event-stream")}
	if out.accepts {
		out.mu.Lock() // the timer must not fire before it is kept
		out.idle = time.AfterFunc(keepAliveEvery, out.keepAlive)
		out.mu.Unlock()
	}
	return out
}

// end stops the keep-alive; nothing is written after it.
func (o *reply) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	if o.idle != nil {
		o.idle.Stop()
	}
}

func (o *reply) keepAlive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	o.write([]byte(sse.KeepAlive))
	o.idle.Reset(keepAliveEvery)
}

// begin turns the reply into an event stream.
func (o *reply) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.write(nil)
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
	select {
	case <-o.left:
		return false
	default:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepts && !o.over
}

// event writes a message to the event stream; false: it could not be.
func (o *reply) event(msg []byte) bool {
	if o.parent != nil {
		o = o.parent
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.write(appendEvent(make([]byte, 0, len(msg)+32), msg))
	}
	return !o.over
}

// write puts raw bytes of the event stream out, its header first. Holding mu.
func (o *reply) write(b []byte) {
	if !o.started {
		o.started = true
		h := o.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
		o.w.WriteHeader(http.StatusOK)
	}
	if deliver(o.w, b) != nil {
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
		o.write(appendEvent(nil, bytes.Join(parts, nil)))
	default:
		writeJSON(o.w, status, parts...)
	}
	o.over = true
}

// all answers a batch.
func (o *reply) all(answers [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	o.over = true
	if !o.started {
		writeJSON(o.w, http.StatusOK, []byte{'['}, bytes.Join(answers, []byte{','}), []byte{']'})
		return
	}
	for _, a := range answers {
		o.write(appendEvent(nil, a))
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

// appendEvent appends msg as one server-sent event.
func appendEvent(b, msg []byte) []byte {
	return sse.Append(b, sse.Event{Name: []byte("message"), Data: msg})
}
