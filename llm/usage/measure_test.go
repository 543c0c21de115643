package usage

import (
	"fmt"
	"strings"
	"testing"
)

// agentBody is a request of the size and make-up that coding agents send: a long system prompt, many tools, some turns.
func agentBody(bytes int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"m","max_tokens":128000,"stream":true,"tools":[`)
	for i := 0; b.Len() < bytes/2; i++ {
		fmt.Fprintf(&b, `{"name":"tool_%d","description":"Reads a file.\nUse it with \"care\", and only inside of the workspace, after you have listed it.","input_schema":{"type":"object","properties":{"path":{"type":"string","description":"absolute path"},"url":{"type":"string"},"limit":{"type":"number"}},"required":["path"],"additionalProperties":false}},`, i)
	}
	b.WriteString(`{"name":"last","input_schema":{"type":"object"}}],"messages":[`)
	for b.Len() < bytes {
		b.WriteString(`{"role":"user","content":[{"type":"text","text":"func main() {\n\tfmt.Println(\"hello\")\n}\nWhat does this do, and why is it written in this way?"}]},{"role":"assistant","content":"It prints a line."},`)
	}
	b.WriteString(`{"role":"user","content":"go on"}]}`)
	return []byte(b.String())
}

func BenchmarkMeasure(b *testing.B) {
	body := agentBody(48 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if Measure(body).Remote {
			b.Fatal("a schema is no reference")
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	chunk := []byte(`{"id":"chatcmpl-AbCdEfGh","object":"chat.completion.chunk","created":1790000000,"model":"gpt-5.2","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" hello"},"logprobs":null,"finish_reason":null}],"obfuscation":"abcdef"}`)
	b.ReportAllocs()
	r := NewReader("chat")
	for b.Loop() {
		r.Event(chunk)
	}
}
