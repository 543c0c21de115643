package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
)

// A front is one way in, and how it writes an error.
type front struct {
	name, path string
	good       string
	headers    map[string]string
	isError    func(body []byte) bool
}

var fronts = []front{
	{"chat", "/v1/chat/completions", `{"model":"fast","messages":[{"role":"user","content":"hi"}]}`, nil, openAIError},
	{"responses", "/v1/responses", `{"model":"fast","input":"hi"}`, nil, openAIError},
	{"messages", "/v1/messages", `{"model":"fast","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`,
		map[string]string{"Anthropic-Version": "2023-06-01"}, anthropicError},
	{"tools, modern", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		map[string]string{"Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}, rpcError},
	{"tools, legacy", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
		map[string]string{"Accept": "application/json, text/event-stream"}, rpcError},
}

func openAIError(body []byte) bool {
	var e struct {
		Error struct{ Message, Type string }
	}
	return json.Unmarshal(body, &e) == nil && e.Error.Message != "" && e.Error.Type != ""
}

func anthropicError(body []byte) bool {
	var e struct {
		Type  string
		Error struct{ Message, Type string }
	}
	return json.Unmarshal(body, &e) == nil && e.Type == "error" && e.Error.Message != "" && e.Error.Type != ""
}

func rpcError(body []byte) bool {
	var e struct {
		JSONRPC string
		Error   struct {
			Code    int
			Message string
		}
	}
	return json.Unmarshal(body, &e) == nil && e.JSONRPC == "2.0" && e.Error.Code != 0 && e.Error.Message != ""
}

// hostile are requests that must not get anywhere: how each differs from a good one, and the status it gets.
var hostile = []struct {
	name   string
	change func(f *front, req *http.Request) (body string)
	want   int
	nobody bool // turned away before the key is looked at: such refusals add up to one entry per minute and source
}{
	{"no key", func(f *front, req *http.Request) string { req.Header.Del("Authorization"); return f.good }, 401, true},
	{"a wrong key", func(f *front, req *http.Request) string {
		req.Header.Set("Authorization", "Bearer tg_sk_0000000000000000000000000000")
		return f.good
	}, 401, true},
	{"two Authorization headers", func(f *front, req *http.Request) string {
		req.Header.Add("Authorization", "Bearer another-key-of-somebody")
		return f.good
	}, 400, true},
	{"two credentials", func(f *front, req *http.Request) string {
		req.Header.Set("X-Api-Key", "another-key-of-somebody")
		return f.good
	}, 400, true},
	{"a name twice", func(f *front, _ *http.Request) string { return `{"x":1,"x":1,` + f.good[1:] }, 400, false},
	{"a name twice, escaped", func(f *front, _ *http.Request) string { return `{"x":1,"\u0078":1,` + f.good[1:] }, 400, false},
	{"no JSON", func(*front, *http.Request) string { return `{"model":` }, 400, false},
	{"nested too deep", func(f *front, _ *http.Request) string {
		return `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "," + f.good[1:]
	}, 400, false},
	{"bad UTF-8", func(f *front, _ *http.Request) string { return "{\"x\":\"\xff\"," + f.good[1:] }, 400, false},
	{"a NUL in a name", func(f *front, _ *http.Request) string { return `{"\u0000":1,` + f.good[1:] }, 400, false},
	{"another content type", func(f *front, req *http.Request) string { req.Header.Set("Content-Type", "text/plain"); return f.good }, 415, false},
	{"an encoded body", func(f *front, req *http.Request) string { req.Header.Set("Content-Encoding", "gzip"); return f.good }, 415, true},
	{"a hostile Origin", func(f *front, req *http.Request) string {
		req.Header.Set("Origin", "https://evil.example")
		return f.good
	}, 403, true},
	{"Origin null", func(f *front, req *http.Request) string { req.Header.Set("Origin", "null"); return f.good }, 403, true},
	{"a hostile Host", func(f *front, req *http.Request) string { req.Host = "evil.example"; return f.good }, 403, true},
	{"too large", func(f *front, _ *http.Request) string {
		return `{"x":"` + strings.Repeat("x", 40<<20) + `",` + f.good[1:]
	}, 413, false},
}

func TestHostileRequestsAreRefusedInTheCallersForm(t *testing.T) {
	r := startRunning(t, "100000 calls / 1d")
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			for _, h := range hostile {
				before := r.denials(t)
				status, body := r.send(t, &f, h.change)
				if status != h.want || !f.isError(body) {
					t.Errorf("%s: %d, want %d: %.300s", h.name, status, h.want, body)
				}
				if strings.Contains(string(body), devKey) || strings.Contains(string(body), ".go:") {
					t.Errorf("%s: the answer tells what it must not: %.300s", h.name, body)
				}
				if after := r.denials(t); after == before && !h.nobody {
					t.Errorf("%s: left no entry", h.name)
				}
				if status, body := r.send(t, &f, nil); status != 200 {
					t.Fatalf("the next good request after %s: %d %s", h.name, status, body)
				}
			}
		})
	}
	for _, e := range r.refusals(t) {
		if e.Who == (ledger.Who{}) && e.Source == "127.0.0.1" {
			return
		}
	}
	t.Error("the requests of nobody left no entry at all")
}

// send makes a good request of f, changed.
func (r *running) send(t *testing.T, f *front, change func(*front, *http.Request) string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+f.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+devKey)
	for name, value := range f.headers {
		req.Header.Set(name, value)
	}
	body := f.good
	if change != nil {
		body = change(f, req)
	}
	req.Body = io.NopCloser(strings.NewReader(body))
	req.ContentLength = int64(len(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

func (r *running) denials(t *testing.T) int { return len(r.refusals(t)) }

// refusals are those in the ledger.
func (r *running) refusals(t *testing.T) []ledger.Entry {
	t.Helper()
	op, err := (&options{config: r.path}).operate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer op.close()
	var p struct{ Items []ledger.Entry }
	if err := op.get(t.Context(), fmt.Sprintf("/api/v1/entries?kind=denied&limit=%d", index.PageMax), &p); err != nil {
		t.Fatal(err)
	}
	return p.Items
}
