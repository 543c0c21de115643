package mock

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/wire"
)

// Stamp precedes the time of sending (Unix nanoseconds, StampDigits of them) in a streamed chunk.
const Stamp = `"content":"`

// StampDigits is how many digits a time of sending has, until the year 2286.
const StampDigits = 19

// behaviour is what a model name asks for.
type behaviour struct {
	chunks int           // 0: not streamed
	gap    time.Duration // between chunks, or before the whole answer
	hold   bool
}

// behave reads a model name: answer, answer-20ms, stream-50-5ms, hold.
func behave(model string) (behaviour, error) {
	parts := strings.Split(model, "-")
	var b behaviour
	var err error
	switch {
	case model == "hold":
		b.hold = true
	case parts[0] == "answer" && len(parts) == 1:
	case parts[0] == "answer" && len(parts) == 2:
		b.gap, err = time.ParseDuration(parts[1])
	case parts[0] == "stream" && len(parts) == 3:
		if b.chunks, err = strconv.Atoi(parts[1]); err == nil {
			b.gap, err = time.ParseDuration(parts[2])
		}
	default:
		err = fmt.Errorf("mock: no model is named %q", model)
	}
	return b, err
}

// stream is an answer that is not whole yet.
type stream struct {
	left  int
	gap   time.Duration
	usage bool
	whole []byte // sent as it is once the gap has passed; nil for chunks
}

// canned are the bytes that do not change from answer to answer.
type canned struct {
	completion, notFound, accepted, empty []byte
	streamHead, usageEvent                []byte
	fewTools, manyTools                   []byte // JSON arrays
}

func newCanned() *canned {
	return &canned{
		completion: response("200 OK", "application/json", completion),
		notFound:   response("404 Not Found", "application/json", `{"error":{"message":"the mock has no such path or model","type":"invalid_request_error"}}`),
		accepted:   response("202 Accepted", "application/json", ""),
		empty:      response("200 OK", "application/x-protobuf", ""),
		streamHead: []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Request-Id: req_mock\r\nTransfer-Encoding: chunked\r\n\r\n"),
		usageEvent: wire.AppendChunk(nil, []byte("data: "+usageChunk+"\n\n")),
		fewTools:   tools(5),
		manyTools:  tools(500),
	}
}

func response(status, contentType, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: %s\r\nX-Request-Id: req_mock\r\nContent-Length: %d\r\n\r\n%s", status, contentType, len(body), body)
}

const (
	completion = `{"id":"chatcmpl-mock","object":"chat.completion","created":1767225600,"model":"answer","choices":[{"index":0,"message":{"role":"assistant",` +
		`"content":"The toll is paid, the gate is open, and the line is in the ledger.","refusal":null},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":350,"completion_tokens":17,"total_tokens":367,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}`
	usageChunk = `{"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1767225600,"model":"stream","choices":[],` +
		`"usage":{"prompt_tokens":350,"completion_tokens":50,"total_tokens":400}}`
	chunkStart = "data: " + `{"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1767225600,"model":"stream","choices":[{"index":0,"delta":{` + Stamp
	chunkEnd   = `"},"finish_reason":null}]}` + "\n\n"
	doneEvent  = "data: [DONE]\n\n"
)

// answer answers one request, or begins to.
func (s *Server) answer(c *conn, path string, body []byte) error {
	switch path {
	case "/v1/chat/completions":
		return s.chat(c, body)
	case "/mcp", "/mcp-legacy", "/mcp-large":
		return s.rpc(c, path, body)
	case "/v1/traces", "/v1/metrics", "/readyz":
		return c.Write(s.canned.empty)
	}
	return c.Write(s.canned.notFound)
}

var (
	modelField   = []byte(`"model":"`)
	includeUsage = []byte(`"include_usage":true`)
)

// chat answers a chat completion as its model says. The model stands near the start, which is where every generator here
// and every splice leaves it.
func (s *Server) chat(c *conn, body []byte) error {
	name, _, _ := bytes.Cut(after(body, modelField), []byte(`"`))
	b, ok := s.models[string(name)]
	if !ok {
		var err error
		if b, err = behave(string(name)); err != nil {
			return c.Write(s.canned.notFound)
		}
		s.models[string(name)] = b
	}
	switch {
	case b.hold:
		c.stream = &stream{left: 1}
		return c.Write(s.appendStamped(append(s.out[:0], s.canned.streamHead...)))
	case b.chunks > 0:
		c.stream = &stream{left: b.chunks, gap: b.gap, usage: bytes.Contains(body, includeUsage)}
		if err := c.Write(s.canned.streamHead); err != nil {
			return err
		}
		s.advance(c)
	case b.gap > 0:
		c.stream = &stream{gap: b.gap, whole: s.canned.completion}
		s.after(c, b.gap)
	default:
		return c.Write(s.canned.completion)
	}
	return nil
}

// advance sends what is next of c's stream.
func (s *Server) advance(c *conn) {
	st := c.stream
	out := s.out[:0]
	switch {
	case st.whole != nil:
		out = append(out, st.whole...)
	case st.left > 0:
		out = s.appendStamped(out)
		st.left--
	}
	if done := st.left == 0; done {
		if st.whole == nil {
			if st.usage {
				out = append(out, s.canned.usageEvent...)
			}
			out = append(wire.AppendChunk(out, []byte(doneEvent)), wire.LastChunk...)
		}
		c.stream = nil
	}
	s.out = out
	if c.Write(out) != nil {
		s.drop(c)
		return
	}
	if c.stream != nil {
		s.after(c, st.gap)
	}
}

// appendStamped appends one chunk that says when it was sent.
func (s *Server) appendStamped(b []byte) []byte {
	const size = len(chunkStart) + StampDigits + len(chunkEnd)
	b = strconv.AppendInt(b, int64(size), 16)
	b = append(append(b, "\r\n"...), chunkStart...)
	b = strconv.AppendInt(b, time.Now().UnixNano(), 10)
	return append(append(b, chunkEnd...), "\r\n"...)
}

func after(b, sep []byte) []byte {
	_, rest, _ := bytes.Cut(b, sep)
	return rest
}
