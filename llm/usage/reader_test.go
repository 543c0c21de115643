package usage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/vendor"
)

func read(d vendor.Dialect, events ...string) Reader {
	r := NewReader(d)
	for _, e := range events {
		r.Event([]byte(e))
	}
	return r
}

const (
	start = `{"type":"message_start","message":{"id":"m","usage":{"input_tokens":50,"cache_read_input_tokens":1000,"cache_creation_input_tokens":0,"output_tokens":1}}}`
	said  = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"twelve bytes"}}`
)

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		name      string
		dialect   vendor.Dialect
		events    []string
		whole     bool
		want      ledger.Quantities
		estimated bool
	}{
		{
			"messages: the last event counts the output", vendor.Messages,
			[]string{start, said, `{"type":"message_delta","delta":{},"usage":{"output_tokens":30}}`, `{"type":"message_stop"}`}, true,
			ledger.Quantities{InputTokens: 50, CacheReadTokens: 1000, OutputTokens: 30, Calls: 1}, false,
		},
		{
			"messages: a later zero takes nothing back", vendor.Messages,
			[]string{start, said, `{"type":"message_delta","usage":{"output_tokens":30,"input_tokens":0,"cache_read_input_tokens":0}}`, `{"type":"message_delta","usage":{"output_tokens":0}}`}, true,
			ledger.Quantities{InputTokens: 50, CacheReadTokens: 1000, OutputTokens: 30, Calls: 1}, false,
		},
		{
			"messages: the last event restates the input, larger", vendor.Messages,
			[]string{start, `{"type":"message_delta","usage":{"output_tokens":30,"input_tokens":60,"cache_read_input_tokens":null}}`}, true,
			ledger.Quantities{InputTokens: 60, CacheReadTokens: 1000, OutputTokens: 30, Calls: 1}, false,
		},
		{
			"messages: cut after some text", vendor.Messages, []string{start, said, said}, false,
			ledger.Quantities{InputTokens: 50, CacheReadTokens: 1000, OutputTokens: 6, Calls: 1}, true,
		},
		{
			"messages: cut before anything", vendor.Messages, nil, false,
			ledger.Quantities{InputTokens: 77, Calls: 1}, true,
		},
		{
			"messages: what a tool is given is text too", vendor.Messages,
			[]string{start, `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"path\":\"/a\"}"}}`}, false,
			ledger.Quantities{InputTokens: 50, CacheReadTokens: 1000, OutputTokens: 5, Calls: 1}, true, // 18 bytes as JSON writes them
		},
		{
			"chat: the chunk behind the end", vendor.Chat,
			[]string{`{"choices":[{"delta":{"content":"hi"}}],"usage":null}`, `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}`, `[DONE]`}, true,
			ledger.Quantities{InputTokens: 5, OutputTokens: 1, Calls: 1}, false,
		},
		{
			"chat: usage in every chunk", vendor.Chat,
			[]string{`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`, `{"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`}, true,
			ledger.Quantities{InputTokens: 5, OutputTokens: 2, Calls: 1}, false,
		},
		{
			"chat: usage in every chunk, cut", vendor.Chat,
			[]string{`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":9}}`}, false,
			ledger.Quantities{InputTokens: 5, OutputTokens: 9, Calls: 1}, true,
		},
		{
			"chat: groq's own place", vendor.Chat,
			[]string{`{"choices":[],"x_groq":{"id":"r","usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"queue_time":0.1}}}`}, true,
			ledger.Quantities{InputTokens: 5, OutputTokens: 1, Calls: 1}, false,
		},
		{
			"chat: no usage at all", vendor.Chat, []string{`{"choices":[{"delta":{"role":"assistant","content":""}}]}`, `{"choices":[{"delta":{"content":"twelve bytes"}},{"delta":{"content":"four"}}]}`, `[DONE]`}, true,
			ledger.Quantities{InputTokens: 77, OutputTokens: 4, Calls: 1}, true,
		},
		{
			"chat: zero where text was said", vendor.Chat, []string{`{"choices":[{"delta":{"content":"twelve bytes"}}]}`, `{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`}, true,
			ledger.Quantities{InputTokens: 77, OutputTokens: 3, Calls: 1}, true,
		},
		{
			"chat: an empty answer", vendor.Chat, []string{`{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":0,"total_tokens":5}}`}, true,
			ledger.Quantities{InputTokens: 5, Calls: 1}, false,
		},
		{
			"chat: a tool call", vendor.Chat, []string{`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"read","arguments":"{\"a\":1}"}}]}}]}`}, false,
			ledger.Quantities{InputTokens: 77, OutputTokens: 4, Calls: 1}, true, // "read" and nine bytes
		},
		{
			"responses: the last event", vendor.Responses,
			[]string{
				`{"type":"response.created","response":{"id":"r","instructions":"be long and wordy","usage":null}}`, `{"type":"response.output_text.delta","delta":"hi"}`,
				`{"type":"response.completed","response":{"service_tier":"flex","usage":{"input_tokens":9,"output_tokens":3,"total_tokens":12}}}`,
			}, true,
			ledger.Quantities{InputTokens: 9, OutputTokens: 3, Calls: 1}, false,
		},
		{
			"responses: cut", vendor.Responses, []string{`{"type":"response.output_text.delta","item_id":"msg_123456789","delta":"twelve bytes"}`}, false,
			ledger.Quantities{InputTokens: 77, OutputTokens: 3, Calls: 1}, true,
		},
		{
			"responses: searches, counted once", vendor.Responses,
			[]string{
				`{"type":"response.output_item.added","item":{"type":"web_search_call","status":"in_progress"}}`, `{"type":"response.output_item.done","item":{"type":"web_search_call","status":"completed"}}`,
				`{"type":"response.output_item.done","item":{"type":"web_search_call","status":"completed"}}`,
				`{"type":"response.completed","response":{"output":[{"type":"web_search_call"},{"type":"web_search_call"},{"type":"message","content":[{"text":"web_search_call"}]}],"usage":{"input_tokens":9,"output_tokens":3}}}`,
			}, true,
			ledger.Quantities{InputTokens: 9, OutputTokens: 3, WebSearches: 2, Calls: 1}, false,
		},
		{
			"what is no JSON counts what can be read", vendor.Chat, []string{`{"choices":[{"delta":{"content":"half of`, `data`, ``, `{"usage":{"prompt_tokens":5,"completion_tokens":1`}, true,
			ledger.Quantities{InputTokens: 5, OutputTokens: 1, Calls: 1}, false,
		},
	} {
		r := read(c.dialect, c.events...)
		got := r.Result(77, c.whole)
		if got.Quantities != c.want || got.Estimated != c.estimated || got.Bad {
			t.Errorf("%s:\n got %+v\nwant %+v estimated %v", c.name, got, c.want, c.estimated)
		}
		if again := r.Result(77, c.whole); again != got {
			t.Errorf("%s: asked again it is %+v", c.name, again)
		}
	}
}

// A body's text is counted when its usage is missing, in each dialect's place, and nothing else of it.
func TestABodyWithoutUsageIsEstimated(t *testing.T) {
	for d, body := range map[vendor.Dialect]string{
		vendor.Chat:      `{"id":"chatcmpl-abcdefgh","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"twelve bytes"},"finish_reason":"x"}]}`,
		vendor.Responses: `{"id":"resp_abcdefgh","instructions":"many words that were asked","output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"twelve bytes!"}]}],"usage":null}`,
		vendor.Messages:  `{"id":"msg_abcdefgh","content":[{"type":"text","text":"twelve bytes!"}]}`,
	} {
		r := NewReader(d)
		r.Body([]byte(body))
		want := ledger.Quantities{InputTokens: 77, OutputTokens: 4, Calls: 1}
		if got := r.Result(77, true); got.Quantities != want || !got.Estimated {
			t.Errorf("%s: %+v", d, got)
		}
	}
	r := NewReader(vendor.Embeddings)
	r.Body([]byte(`{"data":[{"embedding":"AAAAAAAAAAAAAAAA"}]}`))
	if got := r.Result(77, true); got.Quantities != (ledger.Quantities{InputTokens: 77, Calls: 1}) || !got.Estimated {
		t.Errorf("embeddings: %+v", got)
	}
	r = NewReader(vendor.CountTokens)
	r.Body([]byte(`{"input_tokens":12}`))
	if got := r.Result(77, true); got.Quantities != (ledger.Quantities{Calls: 1}) || got.Estimated {
		t.Errorf("counting is not using: %+v", got)
	}
}

func TestCountsThatCannotBeAreDropped(t *testing.T) {
	for _, count := range []string{"-1", "-0.5", "1e300", "99999999999999999999", "100000001", "NaN", "Infinity", `"5"`, "true", "{}x", "1e", "--1", "0x10", "5 5"} {
		r := NewReader(vendor.Chat)
		r.Body([]byte(`{"choices":[{"message":{"content":"twelve bytes"}}],"usage":{"prompt_tokens":` + count + `,"completion_tokens":` + count + `}}`))
		got := r.Result(77, true)
		if count == "{}x" || count == "5 5" { // not a count in the first place
			continue
		}
		if !got.Bad || !got.Estimated || got.Quantities != (ledger.Quantities{InputTokens: 77, OutputTokens: 3, Calls: 1}) {
			t.Errorf("%s: %+v", count, got)
		}
	}
	for count, want := range map[string]int64{"5": 5, "5.0": 5, "5.2": 6, "5e1": 50, "100000000": countMax} {
		r := NewReader(vendor.Chat)
		r.Body([]byte(`{"usage":{"prompt_tokens":` + count + `,"completion_tokens":1}}`))
		if got := r.Result(77, true); got.Bad || got.Quantities.InputTokens != want {
			t.Errorf("%s: %+v", count, got)
		}
	}
	r := NewReader(vendor.Chat)
	r.Body([]byte(`{"usage":{"prompt_tokens":10,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":9},"prompt_tokens_details":{"cached_tokens":99}}}`))
	if got := r.Result(77, true).Quantities; got.Tokens() < 14 || got.OutputTokens < 0 || got.InputTokens < 0 {
		t.Errorf("parts larger than their whole: %+v", got)
	}
}

// A model, or whoever writes its tools, can write "usage" too.
func TestUsageInContentIsContent(t *testing.T) {
	const bait = `{"usage":{"prompt_tokens":900,"completion_tokens":900,"input_tokens":900,"output_tokens":900}}`
	quoted, _ := json.Marshal(bait)
	for d, body := range map[vendor.Dialect]string{
		vendor.Chat:      `{"choices":[{"message":{"content":` + string(quoted) + `,"tool_calls":[{"function":{"arguments":` + string(quoted) + `}}]}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`,
		vendor.Messages:  `{"content":[{"type":"tool_use","input":` + bait + `}],"usage":{"input_tokens":1,"output_tokens":1}}`,
		vendor.Responses: `{"tools":[{"parameters":{"properties":` + bait + `}}],"metadata":` + bait + `,"output":[` + bait + `],"usage":{"input_tokens":1,"output_tokens":1}}`,
	} {
		r := NewReader(d)
		r.Body([]byte(body))
		if got := r.Result(77, true); got.Quantities != (ledger.Quantities{InputTokens: 1, OutputTokens: 1, Calls: 1}) {
			t.Errorf("%s: %+v", d, got)
		}
	}
	r := read(vendor.Messages, start, `{"type":"content_block_start","content_block":{"type":"tool_use","input":`+bait+`}}`, `{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":`+string(quoted)+`}}`, `{"type":"message_delta","usage":{"output_tokens":2}}`)
	if got := r.Result(77, true); got.Quantities.InputTokens != 50 || got.Quantities.OutputTokens != 2 {
		t.Errorf("a stream: %+v", got)
	}
}

func TestTheServiceTierIsKept(t *testing.T) {
	for _, c := range []struct {
		d    vendor.Dialect
		body string
		want string
	}{
		{vendor.Chat, `{"service_tier":"default","usage":{"prompt_tokens":1,"completion_tokens":1}}`, ""},
		{vendor.Chat, `{"service_tier":"priority","usage":{"prompt_tokens":1,"completion_tokens":1}}`, "priority"},
		{vendor.Responses, `{"service_tier":"flex","usage":{"input_tokens":1,"output_tokens":1}}`, "flex"},
		{vendor.Messages, `{"usage":{"input_tokens":1,"output_tokens":1,"service_tier":"priority"}}`, ""},
		{vendor.Messages, `{"usage":{"input_tokens":1,"output_tokens":1,"speed":"fast"}}`, "fast"},
		{vendor.Chat, `{"service_tier":7,"usage":{"prompt_tokens":1,"completion_tokens":1}}`, ""},
	} {
		r := NewReader(c.d)
		r.Body([]byte(c.body))
		if got := r.Result(1, true); got.Service != c.want {
			t.Errorf("%s: %q, want %q", c.body, got.Service, c.want)
		}
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	events := [][]byte{
		[]byte(`{"id":"chatcmpl-AbC","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" hello \"you\""},"finish_reason":null}],"usage":null}`),
		[]byte(`{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":{"cached_tokens":2}}}`),
		[]byte(`[DONE]`),
	}
	r := NewReader(vendor.Chat)
	body := agentBody(48 << 10)
	if n := testing.AllocsPerRun(100, func() {
		for _, e := range events {
			r.Event(e)
		}
		r.Result(1, true)
		Measure(body)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader: whatever a provider sends, counts stay within bounds and only rise.
func FuzzReader(f *testing.F) {
	for _, c := range golden {
		f.Add(string(c.dialect), []byte(`{"usage":`+c.usage+`}`))
	}
	f.Add("messages", []byte(start+"\n"+said+"\n"+`{"usage":{"output_tokens":0}}`))
	f.Add("responses", []byte(`{"type":"response.completed","response":{"output":[{"type":"web_search_call"}],"usage":{"input_tokens":-1}}}`))
	f.Fuzz(func(t *testing.T, dialect string, data []byte) {
		d := vendor.Dialect(dialect)
		r := NewReader(d)
		last := r.counts
		for line := range bytes.Lines(data) {
			r.Event(line)
			for k := range r.counts.n {
				if r.counts.n[k] < last.n[k] || r.counts.n[k] > countMax {
					t.Fatalf("count %d went from %d to %d", k, last.n[k], r.counts.n[k])
				}
			}
			last = r.counts
		}
		body := NewReader(d)
		body.Body(data)
		for _, reader := range []Reader{r, body} {
			for _, whole := range []bool{true, false} {
				q := reader.Result(math.MaxInt64, whole).Quantities
				for _, n := range []int64{q.InputTokens, q.CacheReadTokens, q.CacheWriteTokens, q.CacheWrite1hTokens, q.OutputTokens, q.ReasoningTokens, q.AudioInputTokens, q.AudioOutputTokens, q.ImageTokens, q.WebSearches} {
					if n < 0 || n > 2*countMax {
						t.Fatalf("%+v", q)
					}
				}
			}
		}
	})
}

// FuzzScan: of well-formed JSON, the lenient walk sees the members that encoding/json sees.
func FuzzScan(f *testing.F) {
	for _, doc := range []string{`{}`, `{"a":1,"b":[1,{"c":"}"}],"d":"\\\"","e":null}`, ` { "a" : { "b" : [ ] } , "c" : "x" } `, `{"a":"\\","b":"\""}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		m := object(skipSpace(doc))
		seen := []string{}
		for name, value, ok := m.next(); ok; name, value, ok = m.next() {
			textBytes(value)
			seen = append(seen, fmt.Sprintf("%s=%s", name, value))
		}
		if !json.Valid(doc) || !bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(doc))
		want := 0
		if _, err := dec.Token(); err != nil {
			return
		}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return
			}
			var value json.RawMessage
			if err := dec.Decode(&value); err != nil {
				return
			}
			if want >= len(seen) || !strings.HasSuffix(seen[want], "="+string(value)) {
				t.Fatalf("member %v: %q, seen %q", name, value, seen)
			}
			want++
		}
		if want != len(seen) {
			t.Fatalf("%d members, seen %q", want, seen)
		}
	})
}
