package llm_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/vendor"
)

const (
	chatBody  = `{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`
	chatRole  = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	chatHi    = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	chatStop  = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
	chatUsage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n"
	chatDone  = "data: [DONE]\n\n"

	messagesBody  = `{"id":"m1","type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}`
	messagesStart = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"
	messagesHi    = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
	messagesDelta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n"
	messagesStop  = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

	responsesBody  = `{"id":"r1","object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}`
	responsesStart = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r1\",\"model\":\"m\",\"status\":\"in_progress\"}}\n\n"
	responsesHi    = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"hi\"}\n\n"
	responsesEnd   = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"r1\",\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}}\n\n"

	embeddingsBody = `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,0.2]}],"usage":{"prompt_tokens":10,"total_tokens":10}}`
)

// every is a provider that speaks all dialects.
func every(t testing.TB, name string, p *peer) llm.Provider {
	return provider(t, name, vendor.Custom, p.URL, vendor.Dialects()...)
}

// Same dialect on both sides: what came in goes out byte for byte, but for the model's name, and what came back is what
// the client gets.
func TestPassthrough(t *testing.T) {
	const odd = `  {"model" : "up/m" ,"unknown":{"b":1,"a":[1.50,1e3,"\u00e9"]}, "user":"x", `
	tests := []struct {
		name, path, upstream string
		request              string // the model is up/m in it
		answer               http.HandlerFunc
		want                 string
		quantities           ledger.Quantities
	}{
		{"chat", "/v1/chat/completions", "/v1/chat/completions", odd + `"messages":[]}`, says(200, "application/json", chatBody), chatBody,
			ledger.Quantities{InputTokens: 10, OutputTokens: 5, Calls: 1}},
		{"chat stream that asks for usage", "/openai/v1/chat/completions", "/v1/chat/completions", odd + `"stream":true,"stream_options":{"include_usage":true}}`,
			streams(false, chatRole, chatHi[:10], chatHi[10:], chatStop, chatUsage+chatDone), chatRole + chatHi + chatStop + chatUsage + chatDone,
			ledger.Quantities{InputTokens: 10, OutputTokens: 5, Calls: 1}},
		{"responses", "/v1/responses", "/v1/responses", odd + `"input":"hi"}`, says(200, "application/json", responsesBody), responsesBody,
			ledger.Quantities{InputTokens: 10, OutputTokens: 5, Calls: 1}},
		{"responses stream", "/responses", "/v1/responses", odd + `"input":"hi","stream":true}`,
			streams(false, responsesStart, responsesHi, responsesEnd), responsesStart + responsesHi + responsesEnd,
			ledger.Quantities{InputTokens: 10, OutputTokens: 5, Calls: 1}},
		{"messages", "/anthropic/v1/messages", "/v1/messages", `{"model":"up/m","max_tokens":50,"messages":[]}`, says(200, "application/json", messagesBody), messagesBody,
			ledger.Quantities{InputTokens: 10, OutputTokens: 5, Calls: 1}},
		{"messages stream with comments and CRLF", "/v1/messages", "/v1/messages", `{"model":"up/m","max_tokens":50,"messages":[],"stream":true}`,
			streams(false, messagesStart, ": ping\n\n", strings.ReplaceAll(messagesHi, "\n", "\r\n"), messagesDelta, messagesStop),
			messagesStart + ": ping\n\n" + strings.ReplaceAll(messagesHi, "\n", "\r\n") + messagesDelta + messagesStop,
			ledger.Quantities{InputTokens: 10, OutputTokens: 5, Calls: 1}},
		{"embeddings", "/embeddings", "/v1/embeddings", odd + `"input":["a"]}`, says(200, "application/json", embeddingsBody), embeddingsBody,
			ledger.Quantities{InputTokens: 10, Calls: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			up := newPeer(t)
			up.on("m", test.answer)
			w := newWorld(t, setup{providers: []llm.Provider{every(t, "up", up)}})
			got := w.ask(http.MethodPost, test.path, test.request)
			if got.status != 200 || got.body != test.want {
				t.Errorf("%d\n%q\nwant\n%q", got.status, got.body, test.want)
			}
			sent := up.last(t)
			if want := strings.Replace(test.request, `"up/m"`, `"m"`, 1); string(sent.body) != want || sent.path != test.upstream {
				t.Errorf("%s\n%q\nwant\n%q", sent.path, sent.body, want)
			}
			posted := of(w.entries(), ledger.Posted)
			if len(posted) != 1 || posted[0].Status != ledger.OK || posted[0].Quantities != test.quantities || posted[0].Estimated {
				t.Fatalf("%+v", posted)
			}
			if want := ledger.Nano(test.quantities.InputTokens*1000 + test.quantities.OutputTokens*2000); posted[0].Cost != want {
				t.Errorf("cost %d, want %d", posted[0].Cost, want)
			}
			if id := got.header.Get("X-Tollgate-Call-Id"); id != posted[0].Resolves.String() {
				t.Errorf("the answer names the call %q, the ledger %s", id, posted[0].Resolves)
			}
		})
	}
}
