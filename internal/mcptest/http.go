package mcptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Modern is the version that modern servers speak; Legacy is the newest one with sessions.
const (
	Modern = "2026-07-28"
	Legacy = "2025-11-25"
)

// Recorded is one HTTP request as it came.
type Recorded struct {
	HTTPMethod string
	Method     string // of the JSON-RPC message; empty: none
	Header     http.Header
	Body       []byte
}

// Server is a running HTTP server. Its methods are safe for concurrent use.
type Server struct {
	URL *url.URL // of its MCP endpoint

	http *httptest.Server
	mu   sync.Mutex
	all  []Recorded
}

// serve runs h on loopback until the test ends.
func serve(t testing.TB, h func(w http.ResponseWriter, r *http.Request, body []byte)) *Server {
	t.Helper()
	s := &Server{}
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.record(r, body)
		h(w, r, body)
	}))
	t.Cleanup(func() {
		s.http.CloseClientConnections() // a stream that nobody reads would hold Close up
		s.http.Close()
	})
	u, err := url.Parse(s.http.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = u
	return s
}

func (s *Server) record(r *http.Request, body []byte) {
	var m struct {
		Method string `json:"method"`
	}
	_ = json.Unmarshal(body, &m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, Recorded{HTTPMethod: r.Method, Method: m.Method, Header: r.Header.Clone(), Body: body})
}

// Requests are all requests so far.
func (s *Server) Requests() []Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Recorded(nil), s.all...)
}

// Methods are the JSON-RPC methods so far, in order; requests without one are named by their HTTP method.
func (s *Server) Methods() []string {
	var out []string
	for _, r := range s.Requests() {
		if r.Method != "" {
			out = append(out, r.Method)
		} else {
			out = append(out, r.HTTPMethod)
		}
	}
	return out
}

// Last returns the newest request of a JSON-RPC method; it fails the test if there was none.
func (s *Server) Last(t testing.TB, method string) Recorded {
	t.Helper()
	all := s.Requests()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Method == method {
			return all[i]
		}
	}
	t.Fatalf("no request %s among %v", method, s.Methods())
	return Recorded{}
}

// Has reports whether text arrived in any header or body.
func (s *Server) Has(text string) bool {
	for _, r := range s.Requests() {
		if strings.Contains(fmt.Sprint(r.Header), text) || bytes.Contains(r.Body, []byte(text)) {
			return true
		}
	}
	return false
}

// CloseConnections breaks every connection, those in use too.
func (s *Server) CloseConnections() { s.http.CloseClientConnections() }
