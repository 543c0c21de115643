package front

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/sse"
)

// client is a legacy client with a session.
type client struct {
	t       testing.TB
	url     string
	session string
	accept  string

	transport http.RoundTripper // nil: the default
}

// serve serves a front on loopback.
func serve(t testing.TB, h *hall, auth Authenticator) (*Front, string) {
	f := New(Config{Auth: auth, Backend: h, Version: "1", Sealer: sealer(1)})
	srv := httptest.NewServer(f)
	t.Cleanup(func() {
		f.Close()
		srv.Close()
	})
	return f, srv.URL
}

// connect opens a session of a version with capabilities.
func connect(t testing.TB, url, version, capabilities string) *client {
	t.Helper()
	c := &client{t: t, url: url, accept: "application/json, text/event-stream"}
	resp := c.send(t.Context(), "POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":`+capabilities+`}}`)
	c.session = resp.Header.Get("Mcp-Session-Id")
	if got := body(t, resp); c.session == "" || !strings.Contains(got, version) {
		t.Fatal(got)
	}
	return c
}

func (c *client) send(ctx context.Context, method, body string, headers ...string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/mcp", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", c.accept)
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: c.transport}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// post sends a message and returns the whole answer.
func (c *client) post(msg string) (status int, answer string) {
	c.t.Helper()
	resp := c.send(c.t.Context(), "POST", msg)
	return resp.StatusCode, body(c.t, resp)
}

// events reads the events of a response.
type events struct {
	t      testing.TB
	reader *sse.Reader
	lastID string
}

func (c *client) events(resp *http.Response) *events {
	c.t.Helper()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		c.t.Fatalf("no event stream: %d %s %s", resp.StatusCode, got, body(c.t, resp))
	}
	return &events{t: c.t, reader: sse.NewReader(resp.Body, 0)}
}

// next returns the data of the next event that has any; empty: the stream has ended.
func (e *events) next() string {
	e.t.Helper()
	for {
		ev, err := e.reader.Next()
		switch {
		case err == io.EOF:
			return ""
		case err != nil:
			e.t.Fatal(err)
		}
		if len(ev.ID) > 0 {
			e.lastID = string(ev.ID)
		}
		if len(ev.Data) > 0 {
			return string(ev.Data)
		}
	}
}

// message is what tests look at in a message.
type message struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  json.RawMessage
}

func (e *events) message() message {
	e.t.Helper()
	var m message
	if raw := e.next(); raw != "" {
		if err := json.Unmarshal([]byte(raw), &m); err != nil {
			e.t.Fatalf("%s: %v", raw, err)
		}
	}
	return m
}
