package llm_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/vendor"
)

// chatRequest asks for a model, as a stream or not.
func chatRequest(model string, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"stream":%v,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`, model, stream)
}

var wholeStream = streams(false, chatRole, chatHi, chatStop, chatUsage, chatDone)

// What stops one target leads to the next one only when it says something of the target, and before any content.
func TestFailover(t *testing.T) {
	const refused = `{"error":{"message":"said by the first","type":"server_error","param":null,"code":null}}`
	errorEvent := func(code string) string {
		return `data: {"error":{"message":"said by the first","type":"` + code + `","code":"` + code + `"}}` + "\n\n"
	}
	tests := []struct {
		name   string
		stream bool
		first  http.HandlerFunc
		next   bool // the second target is asked
		status int  // what is told when it is not, or when it fails as well
		has    string
	}{
		{"500", false, says(500, "application/json", refused), true, 500, refused},
		{"429", false, says(429, "application/json", refused), true, 429, refused},
		{"408", false, says(408, "application/json", refused), true, 408, refused},
		{"529", false, says(529, "application/json", refused), true, 529, refused},
		{"400", false, says(400, "application/json", refused), false, 400, refused},
		{"401", false, says(401, "application/json", refused), false, 502, "whoever runs the gateway must check its api_key"},
		{"403", false, says(403, "application/json", refused), false, 403, refused},
		{"404", false, says(404, "application/json", refused), false, 404, refused},
		{"413", false, says(413, "application/json", refused), false, 413, refused},
		{"422", false, says(422, "application/json", refused), false, 422, refused},
		{"500 of a stream", true, says(500, "application/json", refused), true, 500, refused},
		{"an error without a text", false, says(503, "text/plain", ""), true, 503, "no readable reason"},
		{"redirect", false, says(302, "text/plain", ""), true, 502, "unexpected status 302"},
		{"no answer", false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, 502, "without an answer"},
		{"no JSON", false, says(200, "text/html", "<html>"), true, 502, "not JSON"},
		{"half a body", false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(chatBody))
			panic(http.ErrAbortHandler)
		}, true, 502, "without an answer"},
		{"strange encoding", false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			_, _ = w.Write([]byte("x"))
		}, true, 502, "encoding"},
		{"no stream", true, says(200, "text/html", "<html>"), true, 502, "ended in the middle"},
		{"empty stream", true, streams(false), true, 502, "ended in the middle"},
		{"a role and the end", true, streams(false, chatRole), true, 502, "ended in the middle"},
		{"a role and a break", true, streams(true, chatRole), true, 502, "ended in the middle"},
		{"half an event", true, streams(true, chatRole, chatHi[:20]), true, 502, "ended in the middle"},
		{"overloaded in the stream", true, streams(false, chatRole, errorEvent("overloaded_error")), true, 529, "said by the first"},
		{"invalid in the stream", true, streams(false, errorEvent("invalid_request_error")), false, 400, "said by the first"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			one, two := newPeer(t), newPeer(t)
			one.on("m", test.first)
			good := says(200, "application/json", chatBody)
			if test.stream {
				good = wholeStream
			}
			two.on("m", good)
			two.on("bad", says(503, "application/json", `{"error":"said by the second"}`))
			both := setup{
				providers: []llm.Provider{every(t, "one", one), every(t, "two", two)},
				aliases: map[string][]llm.Target{
					"both": {{Use: "one/m"}, {Use: "two/m", Tier: 2}},
					"none": {{Use: "one/m"}, {Use: "two/bad", Tier: 2}},
				},
			}
			w := newWorld(t, both)
			got := w.ask(http.MethodPost, "/v1/chat/completions", chatRequest("both", test.stream))
			if test.next && (got.status != 200 || !strings.Contains(got.body, "hi")) || !test.next && (got.status != test.status || !strings.Contains(got.body, test.has)) {
				t.Errorf("%d %s", got.status, got.body)
			}
			reserved := of(w.entries(), ledger.Reserved)
			want := 1
			if test.next {
				want = 2
			}
			if len(reserved) != want || len(one.calls()) != 1 {
				t.Fatalf("%d calls, want %d; the first was asked %d times", len(reserved), want, len(one.calls()))
			}
			if test.next && (reserved[1].Parent != reserved[0].ID || reserved[1].Attempt != 2 || reserved[1].Counted || !reserved[0].Counted) {
				t.Errorf("the second attempt is %+v", reserved[1])
			}
			// When nobody answers, the first one's reason is told, and never as a stream.
			got = newWorld(t, both).ask(http.MethodPost, "/v1/chat/completions", chatRequest("none", test.stream))
			if got.status != test.status || !strings.Contains(got.body, test.has) || !strings.HasPrefix(got.body, "{") {
				t.Errorf("none: %d %s", got.status, got.body)
			}
		})
	}
}

// Once something of the answer was said, a failure is told in the stream, in its dialect, and nobody else is asked.
func TestFailureAfterContent(t *testing.T) {
	tests := []struct {
		name, path, body string
		first            http.HandlerFunc
		want             string
		tokens           int64
	}{
		{"chat", "/v1/chat/completions", chatRequest("both", true), streams(true, chatRole, chatHi),
			chatRole + chatHi + `data: {"error":{"message":"the answer of provider one broke off: it ended in the middle","type":"server_error","param":null,"code":"upstream_error"}}` + "\n\n", 1},
		{"chat, its own error", "/v1/chat/completions", chatRequest("both", true), streams(false, chatRole, chatHi, `data: {"error":{"message":"x"}}`+"\n\n"),
			chatRole + chatHi + `data: {"error":{"message":"x"}}` + "\n\n", 1},
		{"messages", "/v1/messages", `{"model":"both","stream":true,"max_tokens":9,"messages":[]}`, streams(true, messagesStart, messagesHi, messagesDelta[:9]),
			messagesStart + messagesHi + "event: error\ndata: " +
				`{"type":"error","error":{"type":"api_error","message":"the answer of provider one broke off: it ended in the middle"}}` + "\n\n", 1},
		{"responses", "/v1/responses", `{"model":"both","stream":true,"input":"hi"}`, streams(true, responsesStart, responsesHi),
			responsesStart + responsesHi + "event: response.failed\ndata: " + `{"type":"response.failed","sequence_number":2,"response":{"id":"r1","object":"response",` +
				`"status":"failed","error":{"code":"upstream_error","message":"the answer of provider one broke off: it ended in the middle"},"incomplete_details":null,"model":"m","output":[],"usage":null}}` + "\n\n", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			one, two := newPeer(t), newPeer(t)
			one.on("m", test.first)
			w := newWorld(t, setup{
				providers: []llm.Provider{every(t, "one", one), every(t, "two", two)},
				aliases:   map[string][]llm.Target{"both": {{Use: "one/m"}, {Use: "two/m", Tier: 2}}},
			})
			got := w.ask(http.MethodPost, test.path, test.body)
			if got.status != 200 || got.body != test.want {
				t.Errorf("%d\n%s\nwant\n%s", got.status, got.body, test.want)
			}
			posted := of(w.entries(), ledger.Posted)
			if len(posted) != 1 || posted[0].Status != ledger.Cut || !posted[0].Estimated || posted[0].Cost == 0 || posted[0].Quantities.OutputTokens != test.tokens {
				t.Errorf("%+v", posted)
			}
			if len(two.calls()) != 0 {
				t.Error("the second target was asked")
			}
		})
	}
}

// A client that did not ask for usage gets the stream as if nobody had.
func TestUsageIsAskedForAndHidden(t *testing.T) {
	plain := chatRole + chatHi + chatStop + chatDone
	tests := []struct {
		name, options, sent string
		noUsage             bool
		hidden, estimated   bool
	}{
		{"not asked for", ``, `,"stream_options":{"include_usage":true}`, false, true, false},
		{"null", `,"stream_options":null`, `,"stream_options":{"include_usage":true}`, false, true, false},
		{"other options", `,"stream_options":{"x":1}`, `,"stream_options":{"x":1,"include_usage":true}`, false, true, false},
		{"declined", `,"stream_options":{"include_usage":false}`, `,"stream_options":{"include_usage":true}`, false, true, false},
		{"asked for", `,"stream_options":{"include_usage":true}`, `,"stream_options":{"include_usage":true}`, false, false, false},
		{"a provider that refuses the wish", ``, ``, true, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			up := newPeer(t)
			up.on("m", func(w http.ResponseWriter, r *http.Request) {
				if test.noUsage {
					streams(false, chatRole, chatHi, chatStop, chatDone)(w, r)
					return
				}
				wholeStream(w, r)
			})
			to := every(t, "up", up)
			to.NoUsage = test.noUsage
			w := newWorld(t, setup{providers: []llm.Provider{to}})
			got := w.ask(http.MethodPost, "/v1/chat/completions", `{"model":"up/m","stream":true,"messages":[]`+test.options+`}`)
			want := plain
			if !test.hidden && !test.noUsage {
				want = chatRole + chatHi + chatStop + chatUsage + chatDone
			}
			if got.body != want {
				t.Errorf("got\n%s\nwant\n%s", got.body, want)
			}
			sent := string(up.last(t).body)
			if want := `{"model":"m","stream":true,"messages":[]` + test.options + `}`; test.sent != "" {
				want = strings.Replace(want, test.options+"}", test.sent+"}", 1)
				if test.options == "" {
					want = `{"model":"m","stream":true,"messages":[]` + test.sent + `}`
				}
				if sent != want {
					t.Errorf("sent %s\nwant %s", sent, want)
				}
			}
			posted := of(w.entries(), ledger.Posted)
			if len(posted) != 1 || posted[0].Estimated != test.estimated || posted[0].Quantities.Tokens() == 0 || posted[0].Status != ledger.OK {
				t.Errorf("%+v", posted)
			}
		})
	}
}

// Credentials of callers, and what would choose an account, stay here; what belongs to the dialect goes on.
func TestHeaders(t *testing.T) {
	up := newPeer(t)
	up.on("m", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "s=1")
		w.Header().Set("X-Request-Id", "req_1")
		w.Header().Set("X-Ratelimit-Remaining-Requests", "9")
		says(200, "application/json", messagesBody)(w, nil)
	})
	for _, kind := range []string{"anthropic", "custom"} {
		to := provider(t, "up", kind, up.URL, vendor.Messages)
		w := newWorld(t, setup{providers: []llm.Provider{to}})
		got := w.ask(http.MethodPost, "/v1/messages?beta=true&key="+ciKey, `{"model":"up/m","max_tokens":5,"messages":[]}`,
			"Authorization", "", "X-Api-Key", ciKey, "Anthropic-Version", "2023-06-01", "Anthropic-Beta", "a-1,b-2", "Cookie", "c="+ciKey,
			"X-Claude-Code-Session-Id", "s1", "Openai-Organization", "org", "X-Forwarded-For", "10.1.1.1", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"User-Agent", "claude-cli/2.1 (x)")
		if got.status != 200 || got.header.Get("Set-Cookie") != "" || got.header.Get("X-Request-Id") != "req_1" || got.header.Get("X-Ratelimit-Remaining-Requests") != "9" {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
		sent := up.last(t)
		if strings.Contains(fmt.Sprint(sent), ciKey) {
			t.Errorf("the caller's key went on: %+v", sent)
		}
		names := sortedNames(sent.header)
		want := []string{"Accept-Encoding", "Anthropic-Beta", "Anthropic-Version", "Content-Length", "Content-Type", "User-Agent", "X-Api-Key", "X-Claude-Code-Session-Id"}
		if !slices.Equal(names, want) || sent.query != "beta=true" || sent.header.Get("X-Api-Key") != upKey || sent.header.Get("Anthropic-Beta") != "a-1,b-2" {
			t.Errorf("%s: sent %v %s", kind, names, sent.query)
		}
		reserved := of(w.entries(), ledger.Reserved)
		if len(reserved) != 1 || reserved[0].Trace.String() != "0af7651916cd43dd8448eb211c80319c" || reserved[0].Who.Client != "claude-cli/2.1" {
			t.Errorf("%+v", reserved)
		}
	}
}
