package streamable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

const (
	// resumesMax is how often in a row a broken stream is taken up again without a single event coming.
	resumesMax = 5
	// retryDefault and retryMax are the wait before that, when the server names none and the longest it may name.
	retryDefault = time.Second
	retryMax     = 30 * time.Second
)

// bounded reads at most left bytes and then fails, where io.LimitReader would seem to be at the end.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(buf []byte) (int, error) {
	if b.left <= 0 {
		return 0, upstream.ErrTooLarge
	}
	n, err := b.Reader.Read(buf[:min(int64(len(buf)), b.left)])
	b.left -= int64(n)
	return n, err
}

// stream reads events until the answer. Without an answer and without an error the stream can be resumed.
func (t *turn) stream(ctx context.Context, resp *http.Response) (*upstream.Answer, error) {
	in := sse.NewReader(&bounded{resp.Body, wire.AnswerBytesMax}, eventBytesMax)
	for {
		e, err := in.Next()
		a, bad := t.event(ctx, &e, err != nil)
		if a != nil && err == nil {
			t.tail(resp)
		}
		if a != nil || bad != nil {
			return a, bad
		}
		if err == nil {
			continue
		}
		if errors.Is(err, upstream.ErrTooLarge) || errors.Is(err, sse.ErrTooLong) || ctx.Err() != nil || t.lastEvent == "" || t.session == nil {
			return nil, err
		}
		return nil, nil
	}
}

// event takes one event. The last one of a broken stream counts only when it is a whole message.
func (t *turn) event(ctx context.Context, e *sse.Event, unfinished bool) (*upstream.Answer, error) {
	if !unfinished {
		t.resumable(e)
	}
	if len(e.Data) == 0 || len(e.Name) > 0 && string(e.Name) != "message" {
		return nil, nil
	}
	m, err := wire.Parse(e.Data)
	switch {
	case err != nil && unfinished:
		return nil, nil
	case err != nil:
		return nil, t.server.cfg.Fault(upstream.Garbage, err, "sent an event that is not an MCP message")
	case m.Answers(t.id) || m.Unrouted():
		m.Raw = bytes.Clone(m.Raw) // the event's bytes are the reader's
		return m.Answer(http.StatusOK), nil
	case m.Method == "":
		return nil, t.server.cfg.Fault(upstream.Garbage, nil, "answered another request than it was asked")
	}
	return nil, t.take(ctx, m)
}

// resumable notes what is needed to take the stream up again.
func (t *turn) resumable(e *sse.Event) {
	if len(e.ID) > 0 {
		t.lastEvent = string(e.ID)
		t.fruitless = 0
	}
	for line := range bytes.Lines(e.Raw) {
		value, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("retry:"))
		if !ok {
			continue
		}
		if ms, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 32); err == nil {
			t.retry = min(time.Duration(ms)*time.Millisecond, retryMax)
		}
	}
}

// resume takes a broken stream up again behind its last event (legacy servers keep what was missed).
func (t *turn) resume(ctx context.Context) (*upstream.Answer, error) {
	c := &t.server.cfg
	if t.fruitless++; t.fruitless > resumesMax {
		return nil, c.Fault(upstream.Gone, nil, "broke its stream again and again before its answer")
	}
	wait := time.NewTimer(t.retry)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	resp, err := t.get(ctx, t.lastEvent)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if !isStream(resp) {
		return nil, c.Fault(upstream.Gone, nil, "broke its stream before its answer and does not resume it (status %d)", resp.StatusCode)
	}
	return t.stream(ctx, resp)
}

// get opens a stream that the server speaks on by itself, or one to be resumed behind lastEvent.
func (t *turn) get(ctx context.Context, lastEvent string) (*http.Response, error) {
	req, err := t.request(ctx, http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if lastEvent != "" {
		req.Header.Set(sdk.HeaderLastEventID, lastEvent)
	}
	return t.server.cfg.Gate.RoundTrip(t.exchange.Permit, req)
}

func isStream(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp.StatusCode == http.StatusOK && kind == "text/event-stream"
}

// tail reads the end of a stream behind the answer, so that its connection can be used again. A server that leaves its
// streams open is waited for a few times only.
func (t *turn) tail(resp *http.Response) {
	if t.server.lingers.Load() >= lingersMax {
		return
	}
	timer := time.AfterFunc(tailTimeout, func() { _ = resp.Body.Close() })
	defer timer.Stop()
	const enough = 4096 // nothing of use follows an answer
	if _, err := io.CopyN(io.Discard, resp.Body, enough); errors.Is(err, io.EOF) {
		t.server.lingers.Store(0)
	} else {
		t.server.lingers.Add(1)
	}
}
