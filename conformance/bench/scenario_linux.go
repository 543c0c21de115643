package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/conformance/bench/target"
)

// scenario is one kind of request and how it is sent.
type scenario struct {
	name  string
	title string // with one %s for the rate, if it has one
	conns int
	rate  float64 // per second; 0: as fast as answers come
	share float64 // instead of rate: this share of the most that tollgate did in the scenario named of
	of    string
	requests
	stream bool
	chunks int    // per answer, for the cost of one
	mcp    bool   // the relay serves it
	like   string // the scenario that this one is the same as, but for what is sent
}

// requests makes the requests for a target, one for each connection in turn. It may first talk to the target.
type requests func(context.Context, *target.Target) ([][]byte, error)

// The bodies: a short chat, and one of the size that coding agents send.
const (
	smallBytes = 1500
	largeBytes = 48 << 10
)

// connections is how many requests at most are out at once.
const connections = 64

// scenarios are in the order in which they run: those that find a maximum come before those that use it.
var scenarios = []scenario{
	{name: "chat-max", title: "chat completion, 1.5 KB, as fast as it goes, 64 connections", conns: connections, requests: chat("answer", smallBytes)},
	{name: "chat", title: "chat completion, 1.5 KB, %s (25 %% of tollgate's maximum)", conns: connections, share: 0.25, of: "chat-max", requests: chat("answer", smallBytes)},
	{name: "chat-busy", title: "chat completion, 1.5 KB, %s (60 %% of tollgate's maximum)", conns: connections, share: 0.60, of: "chat-max", requests: chat("answer", smallBytes)},
	{name: "chat-20ms", title: "chat completion, 1.5 KB, %s, from a model that takes 20 ms", conns: connections, share: 0.25, of: "chat-max", requests: chat("answer-20ms", smallBytes)},
	{name: "chat-48k", title: "chat completion, 48 KB, %s (10 %% of that maximum)", conns: connections, share: 0.10, of: "chat-max", requests: chat("answer", largeBytes)},
	{name: "stream", title: "streamed chat, 50 chunks 5 ms apart, %s", conns: connections, rate: 40, requests: chat("stream-50-5ms", smallBytes), stream: true, chunks: 50},
	{name: "call-max", title: "tools/call, MCP 2026-07-28, as fast as it goes, 64 connections", conns: connections, requests: modernCall(callArguments), mcp: true},
	{name: "call-legacy-max", title: "tools/call, MCP 2025-11-25 in a session, as fast as it goes, 64 connections", conns: connections, requests: legacyCall(callArguments), mcp: true},
	{name: "call", title: "tools/call, MCP 2026-07-28, %s (25 %% of tollgate's maximum)", conns: connections, share: 0.25, of: "call-max", requests: modernCall(callArguments), mcp: true},
	{name: "call-10k", title: "tools/call with 10 KB of arguments, MCP 2026-07-28, %s", conns: connections, share: 0.25, of: "call-max", requests: modernCall(largeArguments()), mcp: true, like: "call"},
	{name: "call-legacy", title: "tools/call, MCP 2025-11-25 in a session, %s", conns: connections, share: 0.25, of: "call-max", requests: legacyCall(callArguments), mcp: true},
	{name: "call-legacy-10k", title: "tools/call with 10 KB of arguments, MCP 2025-11-25 in a session, %s", conns: connections, share: 0.25, of: "call-max", requests: legacyCall(largeArguments()), mcp: true, like: "call-legacy"},
	{name: "list-500", title: "tools/list of 500 tools, filtered by policy, %s", conns: connections, rate: 50, requests: largeList, mcp: true},
}

// post puts an HTTP request together as our own clients send it.
func post(t *target.Target, path string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n", path, t.Addr)
	if t.Key != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", t.Key)
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.Bytes()
}

func one(request []byte) [][]byte { return [][]byte{request} }

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chatBody is a chat request of about size bytes: turns of a kilobyte each, as a conversation grows.
func chatBody(model string, size int, stream bool) []byte {
	type streamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	}
	body := struct {
		Model         string         `json:"model"`
		Messages      []message      `json:"messages"`
		MaxTokens     int            `json:"max_tokens"`
		Stream        bool           `json:"stream,omitempty"`
		StreamOptions *streamOptions `json:"stream_options,omitempty"`
	}{Model: model, MaxTokens: 64, Stream: stream}
	if stream {
		body.StreamOptions = &streamOptions{IncludeUsage: true}
	}
	sentence := "The keeper said: \"pay the toll\",\n\tand wrote a line into the ledger. "
	roles := []string{"user", "assistant"}
	for left := size - 200; left > 0; left -= 1024 {
		text := strings.Repeat(sentence, max(1, min(left, 1024)/len(sentence)))
		body.Messages = append(body.Messages, message{roles[len(body.Messages)%2], text})
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err) // only texts and numbers
	}
	return encoded
}

func chat(model string, size int) requests {
	return func(_ context.Context, t *target.Target) ([][]byte, error) {
		return one(post(t, "/v1/chat/completions", chatBody(t.Model(model), size, strings.HasPrefix(model, "stream") || model == "hold"))), nil
	}
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}`

// modern makes a request of MCP 2026-07-28.
func modern(t *target.Target, path, method, name, params string) []byte {
	headers := []string{"Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + method}
	if name != "" {
		headers = append(headers, "Mcp-Name: "+name)
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s%s}}`, method, params, modernMeta)
	return post(t, t.Path(path), []byte(body), headers...)
}

// callArguments are what a search or an issue tracker is asked.
const callArguments = `"name":"echo","arguments":{"text":"the toll of the bridge over the river at noon","limit":3}`

// largeArguments are those of a tool that takes a document.
func largeArguments() string {
	const sentence = `The keeper said: \"pay the toll\",\n\tand wrote a line into the ledger. `
	return `"name":"echo","arguments":{"text":"` + strings.Repeat(sentence, argumentBytes/len(sentence)) + `","limit":3}`
}

const argumentBytes = 10 << 10

func modernCall(arguments string) requests {
	return func(_ context.Context, t *target.Target) ([][]byte, error) {
		return one(modern(t, "/mcp", "tools/call", "echo", arguments+",")), nil
	}
}

func largeList(_ context.Context, t *target.Target) ([][]byte, error) {
	return one(modern(t, "/mcp-large", "tools/list", "", "")), nil
}

// listen is the stream that a modern client waits for changes on.
func listen(_ context.Context, t *target.Target) ([][]byte, error) {
	return one(modern(t, "/mcp", "subscriptions/listen", "", `"notifications":{"toolsListChanged":true},`)), nil
}

// legacyCall opens a session and makes calls in it, which tell each other apart by their ids.
func legacyCall(arguments string) requests {
	return func(ctx context.Context, t *target.Target) ([][]byte, error) {
		session, err := openSession(ctx, t)
		if err != nil {
			return nil, err
		}
		headers := []string{"Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2025-11-25"}
		if session != "" {
			headers = append(headers, "Mcp-Session-Id: "+session)
		}
		var calls [][]byte
		for id := range connections {
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{%s}}`, id+1, arguments)
			calls = append(calls, post(t, t.Path("/mcp-legacy"), []byte(body), headers...))
		}
		return calls, nil
	}
}

// openSession opens a session of a legacy client and returns its id, empty if the target keeps none.
func openSession(ctx context.Context, t *target.Target) (string, error) {
	const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`
	session, err := send(ctx, t, t.Path("/mcp-legacy"), initialize, "")
	if err != nil {
		return "", err
	}
	_, err = send(ctx, t, t.Path("/mcp-legacy"), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, session)
	return session, err
}

// send posts one message of a legacy client and returns the session id that came back.
func send(ctx context.Context, t *target.Target, path, body, session string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+t.Addr+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if t.Key != "" {
		req.Header.Set("Authorization", "Bearer "+t.Key)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
		req.Header.Set("MCP-Protocol-Version", "2025-11-25")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		return "", fmt.Errorf("%s: %s answered %d %s: %w", t.Name, path, resp.StatusCode, answer, err)
	}
	return resp.Header.Get("Mcp-Session-Id"), nil
}
