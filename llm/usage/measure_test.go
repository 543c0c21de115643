package usage

import (
	"encoding/base64"
	"encoding/json"
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

func TestMeasure(t *testing.T) {
	picture := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x89PNG\r\n\x1a\n\x00\xff", 1000)))
	document := base64.StdEncoding.EncodeToString([]byte("%PDF-1.7 " + strings.Repeat("\x00\xfe", 50_000)))
	escaped, _ := json.Marshal(`{"image_url":"https://a"} ` + strings.Repeat("word ", 200))
	for _, c := range []struct {
		name    string
		body    string
		media   int64
		without int // bytes that are no text
		remote  bool
		long    bool
	}{
		{"text", `{"messages":[{"content":"hello"}]}`, 0, 0, false, false},
		{"an agent", string(agentBody(20_000)), 0, 0, false, false},
		{"a picture as a data URL", `{"image_url":{"url":"data:image/png;base64,` + picture + `"}}`, mediaTokens, len(picture), false, false},
		{"a picture as a source", `{"source":{"type":"base64","media_type":"image/png","data":"` + picture + `"}}`, mediaTokens, len(picture), false, false},
		{"two of them", `["` + picture + `","` + picture + `"]`, 2 * mediaTokens, 2 * len(picture), false, false},
		{"sound", `{"input_audio":{"data":"` + picture + `","format":"wav"}}`, mediaTokens, len(picture), false, false},
		{"a document by its pages", `{"file_data":"` + document + `"}`, int64(len(document)) / pdfBytesPerToken, len(document), false, false},
		{"slashes escaped", `{"data":"` + strings.ReplaceAll(picture, "/", `\/`) + `"}`, mediaTokens, len(strings.ReplaceAll(picture, "/", `\/`)), false, false},
		{"a long text", `{"content":"` + strings.Repeat("all work and no play ", 100) + `"}`, 0, 0, false, false},
		{"a long word", `{"content":"` + strings.Repeat("a", 600) + `."}`, 0, 0, false, false},
		{"a picture elsewhere", `{"image_url":{"url":"https://x.example/a.png"}}`, mediaTokens, 0, true, false},
		{"and by the other way to write it", `{"type":"input_image","image_url" : "https://x.example/a.png"}`, mediaTokens, 0, true, false},
		{"a file", `{"type":"input_file","file_id":"file_1"}`, mediaTokens, 0, true, false},
		{"an answer that is kept", `{"previous_response_id":"resp_1"}`, 0, 0, true, false},
		{"none is kept", `{"previous_response_id":null,"conversation":null,"url":""}`, 0, 0, false, false},
		{"a conversation", `{"conversation":{"id":"conv_1"}}`, 0, 0, true, false},
		{"a name in escapes", `{"\u0069mage_url":"https://x.example/a.png"}`, 0, 0, true, false},
		{"a name of a schema", `{"properties":{"url":{"type":"string"},"file_id":{"type":"string"}},"required":["url"]}`, 0, 0, false, false},
		{"quoted in a text", `{"content":` + string(escaped) + `}`, 0, 0, false, false},
		{"kept for an hour", `{"cache_control":{"type":"ephemeral","ttl":"1h"}}`, 0, 0, false, true},
		{"kept for five minutes", `{"cache_control":{"type":"ephemeral","ttl": "5m"}}`, 0, 0, false, false},
		{"cut off", `{"content":"hal`, 0, 0, false, false},
		{"empty", ``, 0, 0, false, false},
	} {
		want := Size{Bytes: int64(len(c.body) - c.without), Media: c.media, Remote: c.remote, Long: c.long}
		if got := Measure([]byte(c.body)); got != want {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}

func FuzzMeasure(f *testing.F) {
	f.Add([]byte(`{"image_url":{"url":"https://x"},"ttl":"1h"}`))
	f.Add([]byte(`{"data":"` + strings.Repeat("QUJD", 200) + `"}`))
	f.Add([]byte(`{"a":"data:x;base64,` + strings.Repeat("QUJD", 200) + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := Measure(body)
		if s.Bytes < 0 || s.Bytes > int64(len(body)) || s.Media < 0 {
			t.Errorf("%d bytes are %+v", len(body), s)
		}
	})
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
