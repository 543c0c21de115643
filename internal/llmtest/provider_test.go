package llmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/llm/usage"
	"github.com/tollgate/tollgate/llm/vendor"
)

func post(t *testing.T, ctx context.Context, p *Provider, d vendor.Dialect, model string, stream bool) *http.Response {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"model": model, "stream": stream, "stream_options": map[string]any{"include_usage": true}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+d.Path(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Canary", "bird")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// readUsage reads an answer as the proxy does.
func readUsage(d vendor.Dialect, body []byte, stream bool) usage.Result {
	r := usage.NewReader(d)
	if !stream {
		r.Body(body)
		return r.Result(0, true)
	}
	for block := range strings.SplitSeq(string(body), "\n\n") {
		for line := range strings.Lines(block) {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				r.Event([]byte(strings.TrimSpace(data)))
			}
		}
	}
	return r.Result(0, true)
}

func TestEveryDialectAnswersWithItsUsage(t *testing.T) {
	p := New(t)
	for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings} {
		for _, stream := range []bool{false, true} {
			if stream && d == vendor.Embeddings {
				continue
			}
			resp := post(t, t.Context(), p, d, "m", stream)
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d %v", d, resp.StatusCode, err)
			}
			want := UsualUsage()
			if d == vendor.Embeddings {
				want.OutputTokens = 0
			}
			if got := readUsage(d, body, stream); got.Quantities != want || got.Estimated {
				t.Errorf("%s stream=%v: %+v\n%s", d, stream, got, body)
			}
		}
	}
	if len(p.Contains("bird")) != 7 || len(p.Contains("cat")) != 0 {
		t.Errorf("the fake keeps what it saw: %d, %d", len(p.Contains("bird")), len(p.Contains("cat")))
	}
}

func TestScriptsFollowEachOther(t *testing.T) {
	p := New(t)
	p.Script("m", Script{Status: 429, RetryAfter: "7"}, Script{})
	p.Script("", Script{Status: 500})
	for i, want := range []int{429, 200, 200} {
		resp := post(t, t.Context(), p, vendor.Messages, "m", false)
		if resp.StatusCode != want || i == 0 && resp.Header.Get("Retry-After") != "7" {
			t.Errorf("answer %d: %d %v", i, resp.StatusCode, resp.Header)
		}
	}
	if resp := post(t, t.Context(), p, vendor.Chat, "other", false); resp.StatusCode != 500 {
		t.Errorf("every other model: %d", resp.StatusCode)
	}
	if resp := post(t, t.Context(), p, vendor.Chat, "fake-529", false); resp.StatusCode != 529 {
		t.Errorf("by name: %d", resp.StatusCode)
	}
}

func TestFaultsBreakAsTheySay(t *testing.T) {
	p := New(t)
	for _, c := range []struct {
		name      string
		script    Script
		stream    bool
		broken    bool   // the body cannot be read to its end
		has, lack string // in what came
	}{
		{"cut body", Script{Fault: Break}, false, true, "chatcmpl", "usage"},
		{"cut stream", Script{Fault: Break, After: 1}, true, true, "Hello", " world"},
		{"torn event", Script{Fault: BreakInEvent, After: 1}, true, true, "half of", "[DONE]"},
		{"no end", Script{Fault: Quiet}, true, false, "finish_reason", "[DONE]"},
		{"malformed", Script{Fault: Malformed, After: 1}, true, false, `"delta":{` + "\n", "nothing"},
		{"garbage", Script{Fault: Garbage}, true, false, "<html>", "Hello"},
		{"error at once", Script{Fault: Fail}, true, false, "scripted", "Hello"},
		{"error later", Script{Fault: Fail, After: 1}, true, false, "scripted", " world"},
		{"no usage", Script{NoUsage: true}, true, false, "[DONE]", `"usage":{`},
		{"big event", Script{Fault: Huge, Bytes: 1 << 20}, true, false, "xxxx", "nothing"},
		{"big body", Script{Fault: Huge, Bytes: 1 << 20}, false, false, "chatcmpl", "nothing"},
		{"keep-alives", Script{Comment: true, CRLF: true}, true, false, ": keep-alive\r\n\r\n", "nothing"},
		{"usage in every chunk", Script{Fault: UsageAnywhere}, true, false, `"completion_tokens":1}`, "nothing"},
		{"compressed", Script{Gzip: true}, true, false, "Hello", "nothing"},
		{"raw", Script{Raw: []byte("plain"), ContentType: "text/plain"}, true, false, "plain", "Hello"},
	} {
		p.Script(c.name, c.script)
		resp := post(t, t.Context(), p, vendor.Chat, c.name, c.stream)
		body, err := io.ReadAll(resp.Body)
		if (err != nil) != c.broken || !bytes.Contains(body, []byte(c.has)) || bytes.Contains(body, []byte(c.lack)) {
			t.Errorf("%s: err %v, body %.300q", c.name, err, body)
		}
	}
}

func TestGivingUpIsSeen(t *testing.T) {
	p := New(t)
	for _, s := range []Script{{Fault: Stall}, {Fault: Stall, After: 1}, {Fault: Endless}, {BeforeEnd: make(chan struct{})}, {Gap: time.Hour}} {
		p.Script("m", s)
		ctx, cancel := context.WithCancel(t.Context())
		post(t, ctx, p, vendor.Chat, "m", true)
		req := <-p.Arrived()
		select {
		case <-req.Canceled:
			t.Fatal("canceled before anybody gave up")
		default:
		}
		cancel()
		<-req.Canceled
		<-req.Done
	}
	post(t, t.Context(), p, vendor.Chat, "fake", false)
	req := <-p.Arrived()
	<-req.Done
	select {
	case <-req.Canceled:
		t.Error("an answered request was canceled")
	default:
	}
}

func TestChannelsHoldAnAnswer(t *testing.T) {
	p := New(t)
	gate := make(chan struct{})
	p.Script("m", Script{BeforeContent: gate})
	resp := post(t, t.Context(), p, vendor.Messages, "m", true)
	begin := make([]byte, len("event: message_start"))
	if _, err := io.ReadFull(resp.Body, begin); err != nil || string(begin) != "event: message_start" {
		t.Fatalf("%q %v", begin, err)
	}
	close(gate)
	if rest, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(rest, []byte("message_stop")) {
		t.Errorf("%v", err)
	}
}
