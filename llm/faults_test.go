package llm_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/llmtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/vendor"
)

// fake is a provider of that name in front of p which speaks all dialects.
func fake(t testing.TB, name string, p *llmtest.Provider) llm.Provider {
	return provider(t, name, vendor.Custom, p.URL, vendor.Dialects()...)
}

// requestOf asks for model in dialect d.
func requestOf(d vendor.Dialect, model string, stream bool) string {
	switch d {
	case vendor.Messages:
		return fmt.Sprintf(`{"model":%q,"stream":%v,"max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`, model, stream)
	case vendor.Responses:
		return fmt.Sprintf(`{"model":%q,"stream":%v,"input":"hi"}`, model, stream)
	case vendor.Embeddings:
		return fmt.Sprintf(`{"model":%q,"input":"hi"}`, model)
	}
	return chatRequest(model, stream)
}

// ending is how an answer is over for the client.
type ending string

const (
	good     ending = "a whole answer"
	refused  ending = "an error body"
	brokeOff ending = "a stream that ends in an error"
)

func endingOf(t *testing.T, d vendor.Dialect, stream bool, a answer) ending {
	t.Helper()
	if !stream || a.status != http.StatusOK {
		var body struct {
			Type  string `json:"type"`
			Error *struct {
				Message string `json:"message"`
				Type    string `json:"type"`
			} `json:"error"`
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("%d: not JSON: %q", a.status, a.body)
		}
		if a.status == http.StatusOK {
			return good
		}
		if body.Error == nil || body.Error.Message == "" || body.Error.Type == "" || d == vendor.Messages && body.Type != "error" {
			t.Errorf("not an error of dialect %s: %s", d, a.body)
		}
		return refused
	}
	frames := strings.Split(strings.TrimSpace(a.body), "\n\n")
	last := frames[len(frames)-1]
	switch d {
	case vendor.Messages:
		if strings.HasPrefix(last, "event: message_stop\n") {
			return good
		}
		if strings.HasPrefix(last, "event: error\n") {
			return brokeOff
		}
	case vendor.Responses:
		if strings.HasPrefix(last, "event: response.completed\n") {
			return good
		}
		if strings.HasPrefix(last, "event: response.failed\n") || strings.HasPrefix(last, "event: error\n") {
			return brokeOff
		}
	default:
		if last == "data: [DONE]" {
			return good
		}
		if strings.HasPrefix(last, `data: {"error":`) {
			return brokeOff
		}
	}
	t.Errorf("the stream ends with neither an end nor an error: %q", last)
	return ""
}

// Whatever a provider does, the caller is told in its dialect, the call is settled and never free when something was
// sent, and the next call works.
func TestProviderFaults(t *testing.T) {
	const mb = 1 << 20
	short := 150 * time.Millisecond
	tests := []struct {
		name          string
		script        llmtest.Script
		whole, stream ending
		status        int // of refused; 0: 502
		free          bool
		provider      string // empty: up
	}{
		{name: "well", whole: good, stream: good},
		{name: "429", script: llmtest.Script{Status: 429, RetryAfter: "7"}, whole: refused, stream: refused, status: 429, free: true},
		{name: "500", script: llmtest.Script{Status: 500}, whole: refused, stream: refused, status: 500, free: true},
		{name: "stall", script: llmtest.Script{Fault: llmtest.Stall}, whole: refused, stream: refused, status: 504, provider: "quick"},
		{name: "stall later", script: llmtest.Script{Fault: llmtest.Stall, After: 1}, whole: refused, stream: brokeOff, status: 504, provider: "impatient"},
		{name: "break", script: llmtest.Script{Fault: llmtest.Break, After: 1}, whole: refused, stream: brokeOff},
		{name: "tear", script: llmtest.Script{Fault: llmtest.BreakInEvent, After: 1}, whole: refused, stream: brokeOff},
		{name: "malformed", script: llmtest.Script{Fault: llmtest.Malformed, After: 1}, whole: refused, stream: good},
		{name: "garbage", script: llmtest.Script{Fault: llmtest.Garbage}, whole: refused, stream: refused},
		{name: "endless", script: llmtest.Script{Fault: llmtest.Endless, After: 1}, whole: refused, stream: brokeOff},
		{name: "huge", script: llmtest.Script{Fault: llmtest.Huge, After: 1, Bytes: 20 * mb}, whole: refused, stream: brokeOff},
		{name: "fail later", script: llmtest.Script{Fault: llmtest.Fail, After: 1}, whole: good, stream: brokeOff},
		{name: "no usage", script: llmtest.Script{NoUsage: true}, whole: good, stream: good},
		{name: "gzip", script: llmtest.Script{Gzip: true}, whole: good, stream: good},
		{name: "comments and CRLF", script: llmtest.Script{Comment: true}, whole: good, stream: good},
	}
	up := llmtest.New(t)
	for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings} {
		quick, impatient := fake(t, "quick", up), fake(t, "impatient", up)
		quick.FirstToken, quick.Idle, impatient.Idle = short, short, short
		w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up), quick, impatient}, bounds: llm.Limits{AnswerBytesMax: mb, StreamBytesMax: 16 * mb}})
		for _, test := range tests {
			for _, stream := range []bool{false, true} {
				if stream && d == vendor.Embeddings || d == vendor.Embeddings && test.name == "stall" {
					continue
				}
				want, name := test.whole, "up/m"
				if stream {
					want = test.stream
				}
				if test.provider != "" {
					name = test.provider + "/m"
				}
				t.Run(fmt.Sprintf("%s/%s/%v", d, test.name, stream), func(t *testing.T) {
					up.Script("m", test.script)
					before := len(w.entries())
					a := w.ask(http.MethodPost, d.Path(), requestOf(d, name, stream))
					if got := endingOf(t, d, stream, a); got != want {
						t.Fatalf("%s, want %s: %d %.300s", got, want, a.status, a.body)
					}
					if want == refused && a.status != cmp.Or(test.status, 502) {
						t.Errorf("status %d: %s", a.status, a.body)
					}
					if test.script.RetryAfter != "" && a.header.Get("Retry-After") != test.script.RetryAfter {
						t.Error("Retry-After was lost")
					}
					checkPosted(t, w.entries()[before:], want, test.free, test.script.NoUsage)
					up.Script("m", llmtest.Script{})
					if next := w.ask(http.MethodPost, d.Path(), requestOf(d, "up/m", stream)); endingOf(t, d, stream, next) != good {
						t.Errorf("the next call: %d %s", next.status, next.body)
					}
				})
			}
		}
	}
}

func checkPosted(t *testing.T, entries []ledger.Entry, want ending, free, noUsage bool) {
	t.Helper()
	posted := of(entries, ledger.Posted)
	if len(posted) != 1 {
		t.Fatalf("%d posted entries: %+v", len(posted), entries)
	}
	e := posted[0]
	switch {
	case want == good && (e.Status != ledger.OK || e.Cost == 0 || e.Estimated != noUsage):
		t.Errorf("posted %+v", e)
	case want != good && free && (e.Status != ledger.Failed || e.Cost != 0):
		t.Errorf("a refusal was charged: %+v", e)
	case want != good && !free && (e.Status == ledger.OK || e.Cost == 0 || !e.Estimated):
		t.Errorf("posted %+v", e)
	}
}

// Usage that cannot be is not charged, and not free.
func TestImpossibleUsageIsEstimated(t *testing.T) {
	up := llmtest.New(t)
	w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}})
	for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages} {
		for _, model := range []string{"fake-zero", "fake-negative", "fake-absurd"} {
			for _, stream := range []bool{false, true} {
				before := len(w.entries())
				w.ask(http.MethodPost, d.Path(), requestOf(d, "up/"+model, stream))
				posted := of(w.entries()[before:], ledger.Posted)
				if len(posted) != 1 || !posted[0].Estimated || posted[0].Cost <= 0 || posted[0].Cost > ledger.USD {
					t.Errorf("%s %s %v: %+v", d, model, stream, posted)
				}
			}
		}
	}
}

// When the client leaves, the provider is told at once, and what was said until then is charged.
func TestClientLeaves(t *testing.T) {
	for _, drain := range []bool{false, true} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("drain %v, stream %v", drain, stream), func(t *testing.T) {
				up := llmtest.New(t)
				more := make(chan struct{})
				script := llmtest.Script{BeforeEnd: more}
				if !stream {
					script = llmtest.Script{BeforeHeader: more}
				}
				up.Script("m", script)
				to := fake(t, "up", up)
				to.Drain = drain
				w := newWorld(t, setup{providers: []llm.Provider{to}})
				ctx, leave := context.WithCancel(t.Context())
				left := make(chan struct{})
				go func() {
					defer close(left)
					resp, err := w.send(ctx, http.MethodPost, "/v1/chat/completions", chatRequest("up/m", stream))
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						_ = resp.Body.Close()
					}
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				}()
				arrived := <-up.Arrived()
				leave()
				<-left
				if drain {
					close(more)
					<-arrived.Done
				} else {
					<-arrived.Canceled // without a word more from the provider
				}
				if err := w.proxy.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				posted := of(w.entries(), ledger.Posted)
				if len(posted) != 1 || posted[0].Cost == 0 {
					t.Fatalf("%+v", posted)
				}
				e := posted[0]
				if whole := e.Status == ledger.OK && !e.Estimated && e.Quantities.OutputTokens == 2; whole != drain {
					t.Errorf("%+v", e)
				}
				select {
				case <-arrived.Canceled:
					if drain {
						t.Error("the answer was not read to its end")
					}
				default:
				}
			})
		}
	}
}

// A stream that uses up the limits is cut, in the caller's dialect.
func TestSpentInTheMiddle(t *testing.T) {
	for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages} {
		up := llmtest.New(t)
		up.Script("m", llmtest.Script{Fault: llmtest.Endless})
		w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}, limits: []string{"10k tokens / 1h"}})
		a := w.ask(http.MethodPost, d.Path(), requestOf(d, "up/m", true))
		if endingOf(t, d, true, a) != brokeOff || !strings.Contains(a.body, "the answer was cut: limit") {
			t.Errorf("%d ... %s", a.status, a.body[max(0, len(a.body)-400):])
		}
		posted := of(w.entries(), ledger.Posted)
		if len(posted) != 1 || posted[0].Status != ledger.Cut || posted[0].Quantities.Tokens() > 12_000 || posted[0].Quantities.Tokens() < 5_000 {
			t.Errorf("%+v", posted)
		}
		<-up.Requests()[0].Canceled
	}
}

// Limits that free up say when; a client that calls again after its answer finds its slot free.
func TestLimitsTellWhenToRetry(t *testing.T) {
	up := llmtest.New(t)
	for limit, status := range map[string]int{"1 calls / 1h": 429, "0.012 USD / 1h": 402, "5k tokens / 1h": 429} {
		w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}, limits: []string{limit}})
		up.Script("m", llmtest.Script{Usage: &ledger.Quantities{InputTokens: 4000, OutputTokens: 500}})
		if a := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("up/m", false)); a.status != 200 {
			t.Fatalf("%s: %d %s", limit, a.status, a.body)
		}
		a := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("up/m", false))
		if a.status != status || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, limit) {
			t.Errorf("%s: %d %v %s", limit, a.status, a.header, a.body)
		}
	}
	w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}, limits: []string{"1 concurrent"}})
	for i := range 200 {
		d := []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages}[i%3]
		if a := w.ask(http.MethodPost, d.Path(), requestOf(d, "up/m", i%2 == 0)); a.status != 200 {
			t.Fatalf("call %d found the slot of the one before still taken: %d %s", i, a.status, a.body)
		}
	}
	more := make(chan struct{})
	up.Script("slow", llmtest.Script{BeforeHeader: more})
	done := make(chan answer)
	go func() { done <- w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("up/slow", false)) }()
	for !slices.ContainsFunc(up.Requests(), func(r *llmtest.Request) bool { return r.Model == "slow" }) {
		<-up.Arrived()
	}
	if a := w.ask(http.MethodPost, "/v1/messages", requestOf(vendor.Messages, "up/m", false)); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	close(more)
	if a := <-done; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A client that has read the end of its answer finds the call settled, even when the provider is slow to hang up.
func TestSettledBeforeTheEndIsSeen(t *testing.T) {
	up := newPeer(t)
	up.on("m", func(w http.ResponseWriter, r *http.Request) {
		wholeStream(w, r)
		<-r.Context().Done()
	})
	w := newWorld(t, setup{providers: []llm.Provider{every(t, "up", up)}, limits: []string{"1 concurrent"}})
	for range 2 {
		resp, err := w.send(t.Context(), http.MethodPost, "/v1/chat/completions", chatRequest("up/m", true))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d: the slot was still taken", resp.StatusCode)
		}
		want := chatRole + chatHi + chatStop + chatUsage + chatDone
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("%v: %q", err, got)
		}
	}
	for _, e := range of(w.entries(), ledger.Posted) {
		if e.Status != ledger.OK || e.Estimated {
			t.Errorf("%+v", e)
		}
	}
}

// A client that takes nothing does not hold an endless answer open.
func TestClientThatDoesNotRead(t *testing.T) {
	up := llmtest.New(t)
	up.Script("m", llmtest.Script{Fault: llmtest.Endless})
	w := newWorld(t, setup{providers: []llm.Provider{fake(t, "up", up)}, bounds: llm.Limits{WriteTimeout: 100 * time.Millisecond}})
	resp, err := w.send(t.Context(), http.MethodPost, "/v1/chat/completions", chatRequest("up/m", true))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-up.Requests()[0].Canceled
	if err := w.proxy.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if posted := of(w.entries(), ledger.Posted); len(posted) != 1 || posted[0].Status != ledger.Cut || posted[0].Cost == 0 {
		t.Errorf("%+v", posted)
	}
}
