package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/dialect"
)

// whole relays an answer that is one JSON body. It is read to its end first, so that another target can be asked when it
// is none.
func (x *exchange) whole(ctx context.Context, resp *http.Response, body io.Reader) *failure {
	text, err := readAll(&source{x: x, body: body, most: x.p.limits.AnswerBytesMax}, resp.ContentLength, x.p.limits.AnswerBytesMax)
	switch {
	case errors.Is(err, errEndless):
		return x.garbage(errEndless.Error())
	case err != nil:
		return x.unanswered(ctx, err)
	case !json.Valid(text):
		return x.garbage("it is not JSON")
	}
	x.reader.Body(text)
	x.permit.Answered(text)
	x.remember(x.req.format.AnswerID(text))
	x.settle(ledger.OK, resp.StatusCode, "")
	x.header, x.tail = resp.Header, text
	return nil
}

// finish gives the client the end of its answer. It comes after the call was settled, so that a client which then calls
// again finds its limits as they are.
func (x *exchange) finish() {
	if x.gone {
		return
	}
	if !x.begun {
		h := x.a.w.Header()
		if x.header != nil {
			returned(h, x.header)
		}
		h["Content-Length"] = []string{strconv.Itoa(len(x.tail))}
		x.begin(http.StatusOK)
	}
	if !x.until.IsZero() || len(x.tail) > unwatchedBytes {
		x.write(x.tail)
		x.flush()
		_ = x.rc.SetWriteDeadline(time.Time{}) // the connection has other requests before it
		return
	}
	_, _ = x.a.w.Write(x.tail) // whoever asked is gone: nobody is left to tell
}

// stream relays an answer as it comes. Frames that say nothing yet are held back, so that another target can be asked
// when the provider then fails.
func (x *exchange) stream(ctx context.Context, resp *http.Response, body io.Reader) *failure {
	events := sse.NewReader(&source{x: x, body: body, most: x.p.limits.StreamBytesMax, deadline: x.p.now().Add(x.p.limits.StreamTimeout)}, frameBytesMax)
	said := x.req.format.Stream(x.t.injectsUsage(x.req))
	var held held
	for {
		event, err := events.Next()
		if err != nil {
			if last := said; len(event.Raw) > 0 && last.Read(event.Name, event.Data).Kind == dialect.End {
				said = last // some servers leave out the blank line behind the last event; any other unfinished one is dropped
				x.relay(resp, &held, &event, dialect.Frame{Kind: dialect.End})
			}
			x.reader.Event(event.Data)
			x.permit.Answered(event.Raw)
			return x.ended(ctx, &said, err)
		}
		frame := said.Read(event.Name, event.Data)
		x.reader.Event(event.Data)
		x.permit.Answered(event.Raw)
		switch {
		case !x.begun && frame.Kind == dialect.Failure:
			return x.failedEarly(frame.Err)
		case !x.begun && frame.Kind == dialect.Lifecycle && held.keep(event.Raw, frame.Hidden, x.p.now()):
			continue
		case frame.Kind == dialect.End:
			x.remember(said.ID())
		}
		x.relay(resp, &held, &event, frame)
		if frame.Kind == dialect.Failure {
			return x.broke(&said, nil, "reported by the provider")
		}
		if spent := x.charge(); spent != nil {
			return x.cutSpent(&said, spent)
		}
	}
}

// held are the frames of a stream that has said nothing yet.
type held struct {
	raw    []byte
	frames int
	since  time.Time
}

// keep holds a frame back, or reports that no more are held.
func (h *held) keep(raw []byte, hidden bool, now time.Time) bool {
	if h.since.IsZero() {
		h.since = now
	}
	if h.frames >= heldFramesMax || len(h.raw)+len(raw) > heldBytesMax || now.Sub(h.since) > heldTime {
		return false
	}
	h.frames++
	if !hidden {
		h.raw = append(h.raw, raw...)
	}
	return true
}

// relay gives a frame to the client, after the header and the frames held back if it is the first. The end of an answer
// waits until the call is settled.
func (x *exchange) relay(resp *http.Response, h *held, event *sse.Event, frame dialect.Frame) {
	if !x.begun {
		returned(x.a.w.Header(), resp.Header)
		x.begin(resp.StatusCode)
		x.write(h.raw)
		h.raw = nil
	}
	switch {
	case frame.Hidden:
	case frame.Kind == dialect.End, len(x.tail) > 0:
		x.tail = append(x.tail, event.Raw...)
	default:
		x.write(event.Raw)
	}
}

func (x *exchange) begin(status int) {
	x.a.w.Header()["X-Tollgate-Call-Id"] = []string{x.permit.Call().ID}
	x.a.w.WriteHeader(status)
	x.begun = true
}

// write gives b to the client. A client that takes nothing for too long has left.
func (x *exchange) write(b []byte) {
	if x.gone || len(b) == 0 {
		return
	}
	if now := time.Now(); now.After(x.until.Add(-x.p.limits.WriteTimeout / 2)) {
		x.until = now.Add(x.p.limits.WriteTimeout)
		_ = x.rc.SetWriteDeadline(x.until) // not every writer has one; then the server's own bounds hold
	}
	if _, err := x.a.w.Write(b); err != nil {
		x.gone = true
		return
	}
	x.dirty = true
}

// flush sends to the client what was written, before we wait for more.
func (x *exchange) flush() {
	if !x.dirty {
		return
	}
	x.dirty = false
	if err := x.rc.Flush(); err != nil {
		x.gone = true
	}
}

// source is a provider's answer: reading from it first sends to the client what there is, so that every frame arrives as
// soon as it came and not one by one, and bounds size, time and silence.
type source struct {
	x        *exchange
	body     io.Reader
	most     int64
	deadline time.Time
	read     int64
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	x := s.x
	x.flush()
	switch {
	case len(x.tail) > 0:
		x.silence.Reset(endTime)
	case x.begun, s.deadline.IsZero(): // of an answer that is no stream the header is the beginning
		x.silence.Reset(or(x.t.provider.Idle, idleTimeout))
	}
	if x.gone || x.a.client.Err() != nil {
		x.gone = true
		if !x.t.provider.Drain || x.left > drainBytesMax {
			return 0, context.Canceled
		}
	}
	n, err := s.body.Read(b)
	s.read += int64(n)
	if x.gone {
		x.left += int64(n)
	}
	if s.read > s.most || !s.deadline.IsZero() && x.p.now().After(s.deadline) {
		return 0, errEndless
	}
	return n, err
}

// failedEarly is a stream that failed before it said anything: nothing was told to the client, so another may be asked.
func (x *exchange) failedEarly(e *dialect.Error) *failure {
	x.permit.Done(ledger.Failed, e.Status, "")
	if another(e.Status) {
		x.p.rests.failed(x.t.model, busy(e.Status), 0, x.p.now())
	}
	return &failure{err: e, another: another(e.Status), asked: true}
}

// ended settles a stream that is over, or broken.
func (x *exchange) ended(ctx context.Context, said *dialect.Stream, err error) *failure {
	switch {
	case said.Whole() && (errors.Is(err, io.EOF) || len(x.tail) > 0):
		x.settle(ledger.OK, http.StatusOK, "")
		return nil
	case x.gone || x.a.client.Err() != nil:
		x.gone = true
		x.settle(ledger.Cut, http.StatusOK, "the client left")
		return nil
	}
	why := "it ended in the middle"
	switch {
	case errors.Is(err, errEndless):
		why = errEndless.Error()
	case errors.Is(err, sse.ErrTooLong):
		why = "one of its events is too large"
	case errors.Is(context.Cause(ctx), errSilent):
		why = errSilent.Error()
	}
	if !x.begun {
		if errors.Is(context.Cause(ctx), errSilent) {
			return x.fail(http.StatusGatewayTimeout, fmt.Sprintf("provider %s did not answer in time", x.t.provider.Name))
		}
		return x.garbage(why)
	}
	return x.broke(said, &dialect.Error{Status: http.StatusBadGateway, Code: "upstream_error",
		Message: fmt.Sprintf("the answer of provider %s broke off: %s", x.t.provider.Name, why)}, why)
}

// broke ends a stream whose provider failed in the middle. e is told to the client, unless the provider said it already.
func (x *exchange) broke(said *dialect.Stream, e *dialect.Error, detail string) *failure {
	if e != nil {
		x.tail = said.AppendError(x.tail, e)
	}
	x.settle(ledger.Cut, http.StatusOK, detail)
	x.p.rests.failed(x.t.model, false, 0, x.p.now())
	return nil
}

// cutSpent ends a stream whose limits are used up.
func (x *exchange) cutSpent(said *dialect.Stream, err error) *failure {
	e := &dialect.Error{Status: http.StatusPaymentRequired, Code: "insufficient_quota", Message: "the answer was cut: the limits of this key are used up"}
	var limit *ledger.LimitError
	if errors.As(err, &limit) {
		e = limited(limit)
		e.Message = "the answer was cut: " + e.Message
	}
	x.permit.Done(ledger.Cut, http.StatusOK, "limits used up")
	if !x.begun {
		return &failure{err: e, asked: true}
	}
	x.tail = said.AppendError(x.tail, e)
	return nil
}
