package dialect

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/llm/vendor"
)

// What each kind of frame means before anything was said.
func TestFrames(t *testing.T) {
	tests := []struct {
		d          vendor.Dialect
		name, data string
		kind       Kind
		hidden     bool
		status     int
	}{
		{vendor.Chat, "", `{"choices":[{"delta":{"role":"assistant"}}]}`, Lifecycle, false, 0},
		{vendor.Chat, "", `{"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}`, Lifecycle, false, 0},
		{vendor.Chat, "", `{"choices":[],"prompt_filter_results":[]}`, Lifecycle, false, 0},
		{vendor.Chat, "", `{"choices":[{"delta":{"content":"x"}}]}`, Content, false, 0},
		{vendor.Chat, "", `{"choices":[{"delta":{"role":"assistant","content":"x"}}]}`, Content, false, 0},
		{vendor.Chat, "", `{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`, Content, false, 0},
		{vendor.Chat, "", `{"choices":[{"delta":{},"finish_reason": "stop"}]}`, Content, false, 0},
		{vendor.Chat, "", `{"choices":[],"usage":{"prompt_tokens":1}}`, Lifecycle, true, 0},
		{vendor.Chat, "", `{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}`, Content, false, 0},
		{vendor.Chat, "", ` [DONE] `, End, false, 0},
		{vendor.Chat, "", `not json`, Content, false, 0},
		{vendor.Chat, "", `{"error":{"message":"m","type":"server_error"}}`, Failure, false, 502},
		{vendor.Chat, "", `{ "error" : {"message":"m","code":503}}`, Failure, false, 503},
		{vendor.Chat, "", `{"error":null,"choices":[{"delta":{"content":"x"}}]}`, Content, false, 0},
		{vendor.Chat, "", `{"error":{"code":"rate_limit_exceeded"}}`, Failure, false, 429},
		{vendor.Messages, "message_start", `{"type":"message_start"}`, Lifecycle, false, 0},
		{vendor.Messages, "ping", `{"type":"ping"}`, Lifecycle, false, 0},
		{vendor.Messages, "", `{"type": "ping"}`, Lifecycle, false, 0},
		{vendor.Messages, "content_block_start", `{}`, Content, false, 0},
		{vendor.Messages, "message_stop", `{}`, End, false, 0},
		{vendor.Messages, "error", `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`, Failure, false, 529},
		{vendor.Messages, "error", `{"type":"error","error":{"type":"invalid_request_error","message":"m"}}`, Failure, false, 400},
		{vendor.Messages, "error", `?`, Failure, false, 502},
		{vendor.Responses, "response.created", `{"response":{"id":"r","model":"m"}}`, Lifecycle, false, 0},
		{vendor.Responses, "response.in_progress", `{}`, Lifecycle, false, 0},
		{vendor.Responses, "response.output_item.added", `{}`, Content, false, 0},
		{vendor.Responses, "response.completed", `{}`, End, false, 0},
		{vendor.Responses, "response.incomplete", `{}`, End, false, 0},
		{vendor.Responses, "", `{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}`, Failure, false, 502},
		{vendor.Responses, "response.failed", `{"response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}`, Failure, false, 429},
		{vendor.Responses, "error", `{"type":"error","code":"context_length_exceeded","message":"m"}`, Failure, false, 400},
	}
	for _, test := range tests {
		s := formats[test.d].Stream(true)
		f := s.Read([]byte(test.name), []byte(test.data))
		if f.Kind != test.kind || f.Hidden != test.hidden || (f.Err != nil) != (test.status != 0) || f.Err != nil && (f.Err.Status != test.status || f.Err.Message == "") {
			t.Errorf("%s %s %s: %+v", test.d, test.name, test.data, f)
		}
		shown := formats[test.d].Stream(false)
		if shown.Read([]byte(test.name), []byte(test.data)).Hidden {
			t.Errorf("%s was hidden from a client that asked for it", test.data)
		}
	}
	s := formats[vendor.Chat].Stream(false)
	if f := s.Read(nil, nil); f.Kind != Lifecycle || s.Whole() {
		t.Error("a comment says something")
	}
}

// What a model writes is not taken for what the stream says.
func TestTextIsNotTakenForMembers(t *testing.T) {
	text, err := json.Marshal(`"finish_reason":"stop","usage":{"x":1},"error":{} [DONE]`)
	if err != nil {
		t.Fatal(err)
	}
	s := formats[vendor.Chat].Stream(true)
	for _, data := range []string{`{"choices":[{"delta":{"content":` + string(text) + `},"finish_reason":null}],"usage":null}`, `{"choices":[{"delta":{"content":"[DONE]"}}]}`} {
		if f := s.Read(nil, []byte(data)); f.Kind != Content || f.Hidden || s.Whole() {
			t.Errorf("%s: %+v, whole: %v", data, f, s.Whole())
		}
	}
}

func TestErrorInTheMiddle(t *testing.T) {
	e := &Error{Status: 502, Code: "upstream_error", Message: "a \"quote\"\nand a line"}
	for _, d := range []vendor.Dialect{vendor.Chat, vendor.Messages, vendor.Responses} {
		s := formats[d].Stream(false)
		if d == vendor.Responses {
			s.Read([]byte("response.created"), []byte(`{"type":"response.created","response":{"id":"resp_1","model":"m"}}`))
		}
		frame := string(s.AppendError(nil, e))
		_, data, ok := strings.Cut(frame, "data: ")
		if !ok || !strings.HasSuffix(frame, "\n\n") || strings.Count(frame, "\n\n") != 1 || !json.Valid([]byte(data)) {
			t.Errorf("%s: %q", d, frame)
		}
		again := formats[d].Stream(false)
		name, _, _ := strings.Cut(strings.TrimPrefix(frame, "event: "), "\n")
		if d == vendor.Chat {
			name = ""
		}
		if f := again.Read([]byte(name), []byte(strings.TrimSpace(data))); f.Kind != Failure || f.Err.Message != e.Message {
			t.Errorf("%s: a client reads %+v in %q", d, f, frame)
		}
		if d == vendor.Responses && !strings.Contains(frame, `"sequence_number":1,"response":{"id":"resp_1"`) {
			t.Errorf("%q", frame)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("", []byte(`{"choices":[{"delta":{"content":"x"}}],"usage":{}}`))
	f.Add("error", []byte(`{"error":{"message":5}}`))
	f.Add("response.created", []byte(`{"response":{"id":"`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		for _, d := range []vendor.Dialect{vendor.Chat, vendor.Messages, vendor.Responses} {
			s := formats[d].Stream(true)
			frame := s.Read([]byte(name), data)
			if (frame.Kind == Failure) != (frame.Err != nil) || frame.Err != nil && (frame.Err.Status < 400 || frame.Err.Status > 599) {
				t.Errorf("%+v", frame)
			}
			if out := s.AppendError(nil, &Error{Status: 500, Message: string(data)}); !json.Valid(out[strings.Index(string(out), "data: ")+6:]) {
				t.Errorf("%q", out)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	data := []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}],"usage":null}`)
	s := formats[vendor.Chat].Stream(true)
	b.ReportAllocs()
	for b.Loop() {
		if s.Read(nil, data).Kind != Content {
			b.Fatal("?")
		}
	}
}
