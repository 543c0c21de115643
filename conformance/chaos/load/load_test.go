package load

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
)

func TestWhatAnAnswerMeans(t *testing.T) {
	const refusal = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"limit \"8 concurrent\""}],"isError":true,"_meta":{"tollgate":{"limit":"8 concurrent","retry_after":2}}}}`
	for _, tt := range []struct {
		name   string
		read   func(int, []byte, *answer)
		status int
		body   string
		want   evidence.Result
	}{
		{"a completion", readChat, 200, `{"choices":[{"message":{"content":"nonce:n "}}]}`, evidence.Answered},
		{"a stream", readChat, 200, "data: {\"content\":\"nonce:n \"}\n\ndata: [DONE]\n\n", evidence.Answered},
		{"a stream that broke off", readChat, 200, "data: {\"content\":\"nonce:n \"}\n\n", evidence.Broken},
		{"no money left", readChat, 402, `{"error":{"message":"limit"}}`, evidence.Limited},
		{"too many", readChat, 429, `{"error":{"message":"limit"}}`, evidence.Limited},
		{"no rule", readChat, 403, `{"error":{"message":"no"}}`, evidence.Denied},
		{"no database", readChat, 503, `{"error":{"message":"no contact"}}`, evidence.Unavailable},
		{"the provider's error", readChat, 500, `{"error":{"message":"the mock fails"}}`, evidence.Failed},
		{"a result", readTool, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"nonce:n"}],"isError":false}}`, evidence.Answered},
		{"a result as an event", readTool, 200, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"nonce:n\"}]}}\n\n", evidence.Answered},
		{"the tool's own error", readTool, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"nonce:n"}],"isError":true}}`, evidence.Answered},
		{"refused by a limit", readTool, 200, refusal, evidence.Limited},
		{"refused by a rule", readTool, 200, `{"result":{"isError":true,"_meta":{"tollgate":{"rule":["no"]}}}}`, evidence.Denied},
		{"an error of the protocol", readTool, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"the mock fails"}}`, evidence.Failed},
		{"shutting down", readTool, 503, `{"jsonrpc":"2.0","id":1,"error":{"code":503,"message":"no"}}`, evidence.Unavailable},
		{"nothing", readTool, 502, ``, evidence.Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := answer{Call: evidence.Call{Nonce: "n", Result: evidence.Broken}}
			tt.read(tt.status, []byte(tt.body), &a)
			if a.Result != tt.want || a.Foreign {
				t.Errorf("%+v", a)
			}
			if tt.want == evidence.Limited && a.Limit == "" {
				t.Error("no reason is noted")
			}
		})
	}
	a := answer{Call: evidence.Call{Nonce: "n"}}
	readTool(200, []byte(refusal), &a)
	if a.after != 2*time.Second {
		t.Errorf("told to wait %s", a.after)
	}
	if readChat(200, []byte(`{"content":"nonce:m "}`), &a); !a.Foreign {
		t.Error("the answer to another call is taken")
	}
}

// Every worker calls, each call has a nonce of its own that is its trace as well, and all of them are noted.
func TestWorkersNoteWhatTheySend(t *testing.T) {
	nonces := regexp.MustCompile(`nonce:([0-9a-f]{32})`)
	seen := make(chan string, 10_000)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m := nonces.FindSubmatch(body)
		if m == nil || len(r.Header.Get("Traceparent")) != 55 || r.Header.Get("Traceparent")[3:35] != string(m[1]) || r.Header.Get("Authorization") == "" {
			t.Errorf("a request of a worker: %v %s", r.Header, body)
			return
		}
		seen <- string(m[1])
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer gateway.Close()
	path := filepath.Join(t.TempDir(), "log")
	log, err := evidence.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &Load{Plan: plan.New(time.Minute), Log: log, Seed: 1, Replicas: []Replica{{"up", gateway.URL}, {"down", "http://127.0.0.1:1"}}}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for range 300 {
			<-seen
		}
		stop()
	}()
	l.Run(ctx)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	calls, err := evidence.Read[evidence.Call](path)
	if err != nil || int64(len(calls)) != l.Made() || len(calls) < 300 {
		t.Fatalf("%d calls noted of %d, %v", len(calls), l.Made(), err)
	}
	once := map[string]bool{}
	for _, c := range calls {
		if once[c.Nonce] || c.Sent == 0 || c.Done < c.Sent || c.Key == "" || c.Name == "" {
			t.Errorf("%+v", c)
		}
		once[c.Nonce] = true
		if c.Replica == "down" && c.Result != evidence.Broken && c.Result != evidence.HungUp {
			t.Errorf("a replica that is down: %+v", c)
		}
	}
}
