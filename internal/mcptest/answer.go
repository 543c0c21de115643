package mcptest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Result answers with a result, as JSON, or as the last event when a stream has begun.
func (q *Request) Result(result string) {
	q.message(http.StatusOK, `{"jsonrpc":"2.0","id":`+q.ID+`,"result":`+result+`}`)
}

// Error answers with a JSON-RPC error; data "" is none.
func (q *Request) Error(code int, message, data string) {
	q.ErrorStatus(http.StatusOK, code, message, data)
}

// ErrorStatus is Error under an HTTP status.
func (q *Request) ErrorStatus(status, code int, message, data string) {
	if data != "" {
		data = `,"data":` + data
	}
	q.message(status, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q%s}}`, q.ID, code, message, data))
}

// ErrorText answers with a body of the test's own, as JSON.
func (q *Request) ErrorText(status int, body string) {
	q.W.Header().Set("Content-Type", "application/json")
	q.W.WriteHeader(status)
	_, _ = io.WriteString(q.W, body)
}

// Status answers with a status alone.
func (q *Request) Status(status int) { q.W.WriteHeader(status) }

func (q *Request) message(status int, m string) {
	if q.streaming {
		q.Event(m)
		return
	}
	q.ErrorText(status, m)
}

// Event sends one event whose data is message, beginning the stream if need be; "" sends none.
func (q *Request) Event(message string) {
	if message != "" {
		message = "event: message\ndata: " + strings.ReplaceAll(message, "\n", "\ndata: ") + "\n\n"
	}
	q.Stream(message)
}

// Stream sends raw text of an event stream, beginning it if need be.
func (q *Request) Stream(text string) {
	if !q.streaming {
		q.streaming = true
		q.W.Header().Set("Content-Type", "text/event-stream")
		q.W.WriteHeader(http.StatusOK)
	}
	_, _ = io.WriteString(q.W, text)
	q.W.(http.Flusher).Flush()
}

// Notify sends a notification as an event.
func (q *Request) Notify(method, params string) {
	q.Event(`{"jsonrpc":"2.0","method":"` + method + `","params":` + params + `}`)
}

// Wait waits until the client is gone.
func (q *Request) Wait() { <-q.HTTP.Context().Done() }

// Hostile are answers that no server should give, by name.
func Hostile() map[string]func(*Request) {
	json := func(q *Request) { q.W.Header().Set("Content-Type", "application/json") }
	return map[string]func(*Request){
		"not json":    func(q *Request) { q.ErrorText(200, "<html>it works</html>") },
		"html":        func(q *Request) { q.W.Header().Set("Content-Type", "text/html"); _, _ = io.WriteString(q.W, "<html>") },
		"empty":       func(q *Request) { json(q) },
		"cut json":    func(q *Request) { q.ErrorText(200, `{"jsonrpc":"2.0","id":`+q.ID+`,"result":{"content":[`) },
		"two results": func(q *Request) { q.ErrorText(200, `{"id":`+q.ID+`,"result":{},"result":{"isError":true}}`) },
		"result and error": func(q *Request) {
			q.ErrorText(200, `{"id":`+q.ID+`,"result":{},"error":{"code":1,"message":"x"}}`)
		},
		"result no object": func(q *Request) { q.Result(`"text"`) },
		"error no object":  func(q *Request) { q.ErrorText(200, `{"id":`+q.ID+`,"error":"text"}`) },
		"wrong id":         func(q *Request) { q.ErrorText(200, `{"jsonrpc":"2.0","id":"other","result":{}}`) },
		"no answer":        func(q *Request) { q.Status(http.StatusAccepted) },
		"cut stream":       func(q *Request) { q.Event(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`) },
		"garbage event":    func(q *Request) { q.Event("hello") },
		"bad utf-8":        func(q *Request) { q.Result("{\"text\":\"\xff\"}") },
		"deep":             func(q *Request) { q.Result(`{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`) },
		"gzip": func(q *Request) {
			q.W.Header().Set("Content-Encoding", "gzip")
			q.ErrorText(200, "\x1f\x8b\x08")
		},
		"redirect": func(q *Request) { http.Redirect(q.W, q.HTTP, "http://127.0.0.1:1/", http.StatusTemporaryRedirect) },
		"html 500": func(q *Request) { http.Error(q.W, "stack trace with secrets", http.StatusInternalServerError) },
		"405":      func(q *Request) { q.Status(http.StatusMethodNotAllowed) },
		"401":      func(q *Request) { q.Status(http.StatusUnauthorized) },
		"100 MB body": func(q *Request) {
			json(q)
			_, _ = io.WriteString(q.W, `{"jsonrpc":"2.0","id":`+q.ID+`,"result":{"text":"`)
			flood(q.W, 100)
			_, _ = io.WriteString(q.W, `"}}`)
		},
		"100 MB event": func(q *Request) { q.Stream("data: "); flood(q.W, 100) },
		"endless stream": func(q *Request) {
			chunk := strings.Repeat(": keep-alive\n\n", 4096)
			for q.HTTP.Context().Err() == nil {
				q.Stream(chunk)
			}
		},
		"endless questions": func(q *Request) {
			for i := 0; q.HTTP.Context().Err() == nil; i++ {
				q.Event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"sampling/createMessage","params":{}}`, i))
			}
		},
	}
}

// flood writes that many MB until the client is gone.
func flood(w io.Writer, megabytes int) {
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range megabytes {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
