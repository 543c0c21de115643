package llmtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/demo/wire"
	"github.com/tollgate/tollgate/llm/vendor"
)

// answering is one answer being given.
type answering struct {
	w      http.ResponseWriter
	r      *http.Request
	req    *Request
	script Script
	done   <-chan struct{} // the client is gone
	out    io.Writer       // w, or the compressor in front of it
	zip    *gzip.Writer
}

func (p *Provider) listModels(w http.ResponseWriter) {
	p.mu.Lock()
	ids := append([]string(nil), p.models...)
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(wire.Models("llmtest", ids...)) // the client is gone: nobody is left to tell
}

// run answers. It returns when the answer is given or the client has gone.
func (a *answering) run() {
	s := &a.script
	if !a.wait(s.BeforeHeader) {
		return
	}
	h := a.w.Header()
	for name, values := range s.Header {
		h[name] = values
	}
	h.Set("X-Request-Id", "req_fake")
	a.out = a.w
	if s.Gzip {
		h.Set("Content-Encoding", "gzip")
		a.zip = gzip.NewWriter(a.w)
		a.out = a.zip
		defer func() { _ = a.zip.Close() }() // the client is gone: nobody is left to tell
	}
	switch {
	case s.Status >= http.StatusBadRequest:
		if s.RetryAfter != "" {
			h.Set("Retry-After", s.RetryAfter)
		}
		a.body(s.Status, wire.Error(a.req.Dialect, s.errorType(), "scripted"))
	case s.Raw != nil:
		if s.ContentType != "" {
			h.Set("Content-Type", s.ContentType)
		}
		a.body(http.StatusOK, s.Raw)
	case a.req.Stream && a.streams():
		a.stream()
	default:
		a.whole()
	}
}

func (a *answering) streams() bool {
	switch a.req.Dialect {
	case vendor.Chat, vendor.Responses, vendor.Messages:
		return true
	}
	return false
}

// wait waits for c to be closed; false when the client goes first.
func (a *answering) wait(c <-chan struct{}) bool {
	if c == nil {
		return true
	}
	select {
	case <-c:
		return true
	case <-a.done:
		return false
	}
}

func (a *answering) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-a.done:
		return false
	}
}

func (a *answering) answer() *wire.Answer {
	s := &a.script
	answer := &wire.Answer{
		ID: "fake", Model: a.req.Model, Created: 1790000000, Text: s.Text, Calls: s.Calls, Cut: s.Cut,
		Usage: s.Usage, RawUsage: s.RawUsage, AskedUsage: a.req.askedUsage,
	}
	if answer.Text == nil && answer.Calls == nil {
		answer.Text = usualText
	}
	if answer.Usage == nil && !s.NoUsage {
		usual := UsualUsage()
		answer.Usage = &usual
	}
	return answer
}

// body sends one body whole.
func (a *answering) body(status int, body []byte) {
	h := a.w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if a.zip == nil {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	a.w.WriteHeader(status)
	_, _ = a.out.Write(body) // the client is gone: nobody is left to tell
}

// whole answers without a stream.
func (a *answering) whole() {
	s := &a.script
	answer := a.answer()
	var body []byte
	switch a.req.Dialect {
	case vendor.Embeddings:
		usage := answer.Usage
		if usage == nil {
			usage = &ledger.Quantities{}
		}
		body = wire.Embeddings(a.req.Model, []any{[]float64{0.1, -0.2, 0.3}}, usage)
	case vendor.CountTokens:
		body = []byte(`{"input_tokens":10}`)
	default:
		body = answer.Body(a.req.Dialect)
	}
	switch s.Fault {
	case None, UsageAnywhere, Quiet, Fail:
		a.body(http.StatusOK, body)
	case Stall:
		a.partly(body)
		<-a.done
	case Break, BreakInEvent:
		a.partly(body)
		a.hangUp()
	case Malformed:
		a.body(http.StatusOK, body[:len(body)-1])
	case Garbage:
		a.body(http.StatusOK, garbage)
	case Huge, Endless:
		a.flood(body)
	}
}

var garbage = []byte("\x00\xff\xfe<html>not what you asked for\r\n\r\n")

// partly sends half of a body and promises all of it.
func (a *answering) partly(body []byte) {
	h := a.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	a.w.WriteHeader(http.StatusOK)
	_, _ = a.out.Write(body[:len(body)/2])
	a.flush()
}

// hangUp drops the connection.
func (a *answering) hangUp() {
	a.flush()
	panic(http.ErrAbortHandler)
}

// flood sends a valid body with much white space in it.
func (a *answering) flood(body []byte) {
	a.w.Header().Set("Content-Type", "application/json")
	a.w.WriteHeader(http.StatusOK)
	_, _ = a.out.Write(body[:1])
	if a.pour(bytes.Repeat([]byte(" "), 64<<10)) {
		_, _ = a.out.Write(body[1:])
	}
}

// pour writes block until Bytes are out or the client is gone.
func (a *answering) pour(block []byte) bool {
	left := a.script.Bytes
	if left == 0 {
		left = 100 << 20
	}
	for endless := a.script.Fault == Endless && a.script.Bytes == 0; endless || left > 0; left -= int64(len(block)) {
		if _, err := a.out.Write(block); err != nil {
			return false
		}
	}
	return true
}

func (a *answering) flush() {
	if a.zip != nil {
		_ = a.zip.Flush() // the client is gone: nobody is left to tell
	}
	_ = http.NewResponseController(a.w).Flush() // as above
}

// stream answers with events.
func (a *answering) stream() {
	s := &a.script
	h := a.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	a.w.WriteHeader(http.StatusOK)
	a.flush()
	events, said := a.answer().Events(a.req.Dialect), 0
	if s.Fault == Fail && s.After == 0 || s.Fault == Garbage && s.After == 0 || s.Fault == Stall && s.After == 0 {
		a.send(events[0])
		a.fault()
		return
	}
	for i, e := range events {
		last := i == len(events)-1
		switch {
		case last && s.Fault == Quiet:
			return
		case last && !a.wait(s.BeforeEnd), e.Content && said == 0 && !a.wait(s.BeforeContent), e.Content && said > 0 && !a.pause(s.Gap):
			return
		}
		if !a.send(a.counted(e, said)) {
			return
		}
		if e.Content {
			if said++; said == max(1, s.After) && !a.fault() {
				return
			}
		}
	}
}

// counted adds usage to a chunk for UsageAnywhere.
func (a *answering) counted(e wire.Event, said int) wire.Event {
	if a.script.Fault != UsageAnywhere || a.req.Dialect != vendor.Chat || len(e.Data) == 0 || e.Data[0] != '{' || bytes.Contains(e.Data, []byte(`"usage":{`)) {
		return e
	}
	q := UsualUsage()
	q.OutputTokens = int64(said)
	e.Data = append(bytes.TrimSuffix(bytes.Clone(e.Data), []byte("}")), fmt.Sprintf(`,"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, q.InputTokens, q.OutputTokens)...)
	return e
}

// send writes one event; false when the client is gone.
func (a *answering) send(e wire.Event) bool {
	var b []byte
	if a.script.Comment {
		b = append(b, ": keep-alive\n\n"...)
	}
	b = e.Append(b)
	if a.script.CRLF {
		b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
	}
	_, err := a.out.Write(b)
	a.flush()
	return err == nil
}

// fault does what the script wants to go wrong now. False ends the answer.
func (a *answering) fault() bool {
	switch a.script.Fault {
	case Stall:
		<-a.done
	case Break:
		a.hangUp()
	case BreakInEvent:
		_, _ = io.WriteString(a.out, `data: {"choices":[{"index":0,"delta":{"content":"half of`)
		a.hangUp()
	case Malformed:
		_, _ = io.WriteString(a.out, "data: {\"choices\":[{\"delta\":{\n\n")
		return true
	case Garbage:
		_, _ = a.out.Write(garbage)
	case Fail:
		a.send(wire.Failure(a.req.Dialect, a.script.errorType(), "scripted"))
	case Endless:
		a.pour(a.contentEvent("and so on "))
	case Huge:
		_, _ = io.WriteString(a.out, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"")
		a.pour(bytes.Repeat([]byte("x"), 64<<10))
		_, _ = io.WriteString(a.out, "\"}}]}\n\n")
		return true
	default:
		return true
	}
	return false
}

// contentEvent is an event that says text, in the request's dialect.
func (a *answering) contentEvent(text string) []byte {
	answer := a.answer()
	answer.Text = []string{text}
	for _, e := range answer.Events(a.req.Dialect) {
		if e.Content {
			return e.Append(nil)
		}
	}
	return nil
}
