package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

// answerBytesMax bounds an answer: those of the upstreams have a few kilobytes.
const answerBytesMax = 4 << 20

// exchange is one HTTP request and how its answer is read.
type exchange struct {
	path    string
	body    string
	headers map[string]string
	read    func(status int, body []byte, a *answer)
}

const filler = "The keeper asked for the toll and wrote a line into the book of the bridge. "

// chat is a chat completion, streamed or not. Some carry an idempotency key, as official clients send it.
func (w *worker) chat(nonce, model string) exchange {
	stream := w.dice.IntN(2) == 0
	prompt := "nonce:" + nonce + " " + strings.Repeat(filler, 1+w.dice.IntN(12))
	x := exchange{path: "/v1/chat/completions", headers: map[string]string{}, read: readChat}
	x.body = fmt.Sprintf(`{"model":%q,"max_tokens":%d,"stream":%t,"messages":[{"role":"user","content":%q}]}`, model, 16+w.dice.IntN(100), stream, prompt)
	if w.dice.IntN(3) == 0 {
		x.headers["Idempotency-Key"] = nonce
	}
	return x
}

// tool is a call of a tool by a client of MCP 2026-07-28.
func tool(nonce, name string) exchange {
	return exchange{
		path: "/mcp", read: readTool,
		headers: map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": name},
		body: fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"text":"nonce:%s"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
			`"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"chaos","version":"1"}}}}`, name, nonce),
	}
}

// send makes the exchange and says in a what came of it.
func (w *worker) send(ctx context.Context, url string, x *exchange, a *answer) {
	a.Result = evidence.Broken
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+x.path, io.NopCloser(strings.NewReader(x.body)))
	if err != nil {
		return
	}
	req.ContentLength = int64(len(x.body)) // and no GetBody: what was sent once is not sent again behind our back
	for name, value := range x.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Authorization", "Bearer "+w.key.Secret())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Traceparent", "00-"+a.Nonce+"-"+a.Nonce[:16]+"-00")
	a.Sent = time.Now().UnixNano()
	resp, err := w.load.client.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }() // read to the end, or of no use
	a.Status = resp.StatusCode
	a.ID = resp.Header.Get("X-Tollgate-Call-Id")
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.after = time.Duration(seconds) * time.Second
	}
	x.read(resp.StatusCode, body, a)
}

// readChat reads the answer of a model, whole or streamed.
func readChat(status int, body []byte, a *answer) {
	switch status {
	case http.StatusOK:
		streamed := strings.HasPrefix(string(body), "data:")
		if streamed && !strings.Contains(string(body), "[DONE]") {
			return // it broke off, and the gateway said so or not
		}
		a.answered(body)
	case http.StatusPaymentRequired, http.StatusTooManyRequests:
		a.Result, a.Limit = evidence.Limited, message(body)
	case http.StatusServiceUnavailable:
		a.Result, a.Limit = evidence.Unavailable, message(body)
	case http.StatusForbidden, http.StatusNotFound, http.StatusUnauthorized, http.StatusBadRequest:
		a.Result, a.Limit = evidence.Denied, message(body)
	default:
		a.Result, a.Limit = evidence.Failed, message(body)
	}
}

// answered takes a whole answer of the upstream, which must be to this call.
func (a *answer) answered(body []byte) {
	a.Result = evidence.Answered
	a.Foreign = !strings.Contains(string(body), "nonce:"+a.Nonce)
}

func message(body []byte) string {
	var m struct{ Error struct{ Message string } }
	_ = json.Unmarshal(body, &m) // what is no error object has no message
	return m.Error.Message
}

// readTool reads a JSON-RPC answer, by itself or as an event.
func readTool(status int, body []byte, a *answer) {
	text := string(body)
	if _, data, ok := strings.Cut(text, "data:"); ok && !strings.HasPrefix(text, "{") {
		text = data
	}
	var m struct {
		Result *struct {
			IsError bool
			Content []struct{ Text string }
			Meta    struct {
				Tollgate *struct {
					Limit      string
					RetryAfter float64 `json:"retry_after"`
				}
			} `json:"_meta"`
		}
		Error *struct{ Message string }
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&m); err != nil {
		a.Result, a.Limit = evidence.Failed, http.StatusText(status)
		return
	}
	switch {
	case m.Error != nil:
		a.Result, a.Limit = evidence.Failed, m.Error.Message
		if status == http.StatusServiceUnavailable {
			a.Result = evidence.Unavailable
		}
	case m.Result == nil:
	case m.Result.IsError && m.Result.Meta.Tollgate != nil:
		refusal := m.Result.Meta.Tollgate
		a.after = time.Duration(refusal.RetryAfter * float64(time.Second))
		a.Result, a.Limit = evidence.Denied, ""
		if refusal.Limit != "" {
			a.Result = evidence.Limited
		}
		if len(m.Result.Content) > 0 {
			a.Limit = m.Result.Content[0].Text
		}
	default:
		a.answered(body)
	}
}
