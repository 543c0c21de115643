package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

// Provider serves chat completions at /alpha and /beta, and notes them in log.
func Provider(log *evidence.Log, seed uint64) http.Handler {
	p := &provider{newDesk(log, seed)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /{provider}/chat/completions", p.chat)
	return mux
}

type provider struct{ *desk }

// How usage follows from a request: fixed, so that whoever reads the log can follow.
const (
	bytesPerToken        = 5 // of the body
	bytesPerTokenVerbose = 2
	tokensPerChunk       = 4
	textOfChunk          = "to the toll now " // 16 bytes: four tokens
)

// completion is one answer that is being given.
type completion struct {
	*visit
	w             http.ResponseWriter
	r             *http.Request
	nonce         string
	input, output int64
}

func (p *provider) chat(w http.ResponseWriter, r *http.Request) {
	body, ok := bodyOf(w, r)
	if !ok {
		return
	}
	var asked struct {
		Model     string `json:"model"`
		MaxTokens int64  `json:"max_tokens"`
		Stream    bool   `json:"stream"`
	}
	if err := json.Unmarshal(body, &asked); err != nil || asked.MaxTokens < tokensPerChunk {
		http.Error(w, `{"error":{"message":"not a request of a worker"}}`, http.StatusBadRequest)
		return
	}
	c := &completion{w: w, r: r, nonce: nonceIn(body), input: int64(len(body)) / bytesPerToken}
	c.visit = p.arrive(c.nonce, r.PathValue("provider"), asked.Model)
	if asked.Model == "verbose" {
		c.input = int64(len(body)) / bytesPerTokenVerbose
	}
	c.output = p.between(tokensPerChunk, asked.MaxTokens) / tokensPerChunk * tokensPerChunk
	delay := p.span(2*time.Millisecond, 60*time.Millisecond)
	if asked.Model == "slow" {
		delay = p.span(300*time.Millisecond, 3*time.Second)
	}
	luck := 9
	if asked.Model == "flaky" {
		luck = p.tenth()
	}
	switch {
	case luck == 0:
		c.end(evidence.Refused, 0, 0)
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"error":{"message":"the mock fails","type":"server_error"}}`)) // who left will not be told
	case luck == 1:
		c.end(evidence.Cut, c.input, c.output)
		hangUp(w)
	case asked.Stream:
		c.stream(delay, luck == 2)
	default:
		c.whole(delay, luck == 2)
	}
}

// whole gives the answer in one piece, or the half of it.
func (c *completion) whole(delay time.Duration, half bool) {
	if !wait(c.r, delay) {
		c.end(evidence.Left, c.input, c.output) // it was made, and nobody waited for it
		return
	}
	text := strings.Repeat(textOfChunk, int(c.output/tokensPerChunk))
	body := fmt.Sprintf(`{"id":"chatcmpl-chaos","object":"chat.completion","created":1767225600,"model":"chaos","choices":[{"index":0,"message":`+
		`{"role":"assistant","content":"nonce:%s %s"},"finish_reason":"stop"}],"usage":%s}`, c.nonce, text, c.usage())
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if half {
		c.end(evidence.Cut, c.input, c.output)
		_, _ = c.w.Write([]byte(body[:len(body)/2]))
		panic(http.ErrAbortHandler)
	}
	c.end(evidence.Whole, c.input, c.output)
	_, _ = c.w.Write([]byte(body)) // who left after this was answered all the same
}

func (c *completion) usage() string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, c.input, c.output, c.input+c.output)
}

// stream gives the answer chunk by chunk over delay, or the first half of it.
func (c *completion) stream(delay time.Duration, half bool) {
	c.w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(c.w)
	chunks := c.output / tokensPerChunk
	event := func(format string, args ...any) bool {
		_, err := fmt.Fprintf(c.w, "data: "+format+"\n\n", args...)
		return err == nil && rc.Flush() == nil
	}
	text := "nonce:" + c.nonce + " "
	for i := range chunks {
		if half && i == (chunks+1)/2 {
			c.end(evidence.Cut, c.input, i*tokensPerChunk)
			panic(http.ErrAbortHandler)
		}
		if !wait(c.r, delay/time.Duration(chunks)) ||
			!event(`{"id":"chatcmpl-chaos","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`, text+textOfChunk) {
			c.end(evidence.Left, c.input, i*tokensPerChunk)
			return
		}
		text = ""
	}
	c.end(evidence.Whole, c.input, c.output)
	_ = event(`{"id":"chatcmpl-chaos","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`) &&
		event(`{"id":"chatcmpl-chaos","object":"chat.completion.chunk","choices":[],"usage":%s}`, c.usage()) && event("[DONE]")
}
