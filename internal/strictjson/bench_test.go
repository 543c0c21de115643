package strictjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

var chatPaths = []string{"model", "stream", "stream_options.include_usage", "max_tokens", "max_completion_tokens", "n", "tools", "messages"}

// chatBody returns a chat request of about size bytes: many short messages, some tools, as clients send it.
func chatBody(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"openai/gpt-5-mini","stream":true,"stream_options":{"include_usage":true},"max_tokens":512,"temperature":0.7,"messages":[`)
	text := `You are a careful assistant. Answer in short sentences,\nname your sources, and say so when you do not know.`
	for i := 0; b.Len() < size-400; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"role":"%s","content":"%s"}`, []string{"user", "assistant"}[i%2], strings.Repeat(text, 1+i%4))
	}
	b.WriteString(`],"tools":[{"type":"function","function":{"name":"search","description":"Searches.","parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer","minimum":1}},"required":["query"]}}}]}`)
	return []byte(b.String())
}

func BenchmarkScan(b *testing.B) {
	paths, out := Compile(chatPaths...), make([]Value, len(chatPaths))
	for _, size := range []int{1500, 48_000, 100_000} {
		doc := chatBody(size)
		b.Run(fmt.Sprintf("strict/%dB", size), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := paths.Scan(doc, Limits{}, out); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("json.Valid/%dB", size), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if !json.Valid(doc) {
					b.Fatal("invalid")
				}
			}
		})
	}
}

func BenchmarkManyNames(b *testing.B) {
	for _, n := range []int{16, 1000, 50_000} {
		doc := []byte(members(n, "property_%d"))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Check(doc, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMembers(b *testing.B) {
	doc := chatBody(1500)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for name, v := range Members(doc, Whole(doc)) {
			n += len(name) + v.End
		}
		if n == 0 {
			b.Fatal("none")
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	doc := chatBody(1500)
	out := make([]Value, 1)
	if err := Compile("model").Scan(doc, Limits{}, out); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Splice(doc, Replace(out[0], []byte(`"gpt-5-mini"`)))
	}
}
