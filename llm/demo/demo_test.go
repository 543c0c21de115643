package demo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/llm/usage"
	"github.com/tollgate/tollgate/llm/vendor"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(New(func() time.Time { return noon }, 0))
	t.Cleanup(server.Close)
	return server
}

func post(t *testing.T, server *httptest.Server, d vendor.Dialect, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(server.URL+d.Path(), "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// The same conversations in each dialect, and what the demo says to them.
var conversations = []struct {
	name                      string
	chat, responses, messages string
	says                      string
	calls                     string // name and arguments
}{
	{
		"greeting",
		`"messages":[{"role":"user","content":"hello"}]`, `"input":"hello"`, `"messages":[{"role":"user","content":"hello"}]`,
		"Hello! Ask me", "",
	},
	{
		"time",
		`"messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"What time is it?"}]}]`,
		`"instructions":"be brief","input":[{"role":"user","content":[{"type":"input_text","text":"What time is it?"}]}]`,
		`"system":[{"type":"text","text":"be brief"}],"messages":[{"role":"user","content":[{"type":"text","text":"What time is it?"}]}]`,
		"Tuesday, 24 November 2026, 12:00:00 UTC", "",
	},
	{
		"arithmetic",
		`"messages":[{"role":"user","content":"what is (2 + 3) * 7?"}]`, `"input":"what is (2 + 3) * 7?"`,
		`"messages":[{"role":"user","content":"what is (2 + 3) * 7?"}]`, "(2 + 3) * 7 = 35.", "",
	},
	{
		"a tool called with an object",
		`"messages":[{"role":"user","content":"please call add {\"a\": 1}"}],"tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"number"}}}}}]`,
		`"input":"please call add {\"a\": 1}","tools":[{"type":"function","name":"add","parameters":{"type":"object","properties":{"a":{"type":"number"}}}}]`,
		`"messages":[{"role":"user","content":"please call add {\"a\": 1}"}],"tools":[{"name":"add","input_schema":{"type":"object","properties":{"a":{"type":"number"}}}}]`,
		"I call add", `add {"a": 1}`,
	},
	{
		"a tool called with words",
		`"messages":[{"role":"user","content":"call read_file notes.txt"}],"tools":[{"type":"function","function":{"name":"read"}},{"type":"function","function":{"name":"read_file","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}}]`,
		`"input":[{"type":"additional_tools","role":"developer","tools":[{"type":"function","name":"read_file","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}]},{"role":"user","content":"call read_file notes.txt"}]`,
		`"messages":[{"role":"user","content":"call read_file notes.txt"}],"tools":[{"name":"read_file","input_schema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}]`,
		"I call read_file", `read_file {"path":"notes.txt"}`,
	},
	{
		"a tool's answer",
		`"messages":[{"role":"user","content":"call add"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"add","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"42"}]`,
		`"input":[{"role":"user","content":"call add"},{"type":"function_call","call_id":"c1","name":"add","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"42"}]`,
		`"messages":[{"role":"user","content":"call add"},{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"add","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"42"}]}]}]`,
		"add answered: 42", "",
	},
	{
		"a tool that is only named",
		`"messages":[{"role":"user","content":"add is a tool"}],"tools":[{"type":"function","function":{"name":"add"}}]`,
		`"input":"add is a tool","tools":[{"type":"function","name":"add"}]`,
		`"messages":[{"role":"user","content":"add is a tool"}],"tools":[{"name":"add","input_schema":{}}]`,
		`You said: "add is a tool"`, "",
	},
}

func TestTheDemoSaysTheSameInEveryDialect(t *testing.T) {
	server := serve(t)
	for _, c := range conversations {
		for d, fields := range map[vendor.Dialect]string{vendor.Chat: c.chat, vendor.Responses: c.responses, vendor.Messages: c.messages} {
			status, body := post(t, server, d, `{"model":"demo","max_tokens":500,`+fields+`}`)
			whole, calls := read(t, d, []byte(body))
			if status != http.StatusOK || !strings.Contains(whole, c.says) || strings.Join(calls, ";") != c.calls {
				t.Errorf("%s, %s: %d %q %q, want %q %q", c.name, d, status, whole, calls, c.says, c.calls)
			}
			if c.calls == "" && !strings.Contains(whole, "demo model") {
				t.Errorf("%s, %s: does not say what it is: %q", c.name, d, whole)
			}
			reader := usage.NewReader(d)
			reader.Body([]byte(body))
			counted := reader.Result(0, true)

			_, events := post(t, server, d, `{"model":"demo","stream":true,"stream_options":{"include_usage":true},"max_tokens":500,`+fields+`}`)
			text, streamed := fold(t, d, events)
			if text != whole {
				t.Errorf("%s, %s: the stream says %q, the body %q", c.name, d, text, whole)
			}
			if streamed.Quantities != counted.Quantities || counted.Estimated || streamed.Estimated || counted.Quantities.InputTokens == 0 || counted.Quantities.OutputTokens == 0 {
				t.Errorf("%s, %s: usage %+v, streamed %+v", c.name, d, counted, streamed)
			}
		}
	}
}

// read returns the text and the calls of a whole answer.
func read(t *testing.T, d vendor.Dialect, body []byte) (text string, calls []string) {
	t.Helper()
	var a struct {
		Choices []struct {
			Message struct {
				Content   string `json:"content"`
				ToolCalls []struct {
					Function struct{ Name, Arguments string } `json:"function"`
				} `json:"tool_calls"`
			} `json:"message"`
		} `json:"choices"`
		Content []struct {
			Type, Text, Name string
			Input            json.RawMessage
		} `json:"content"`
		Output []struct {
			Type, Name, Arguments string
			Content               []struct{ Text string }
		} `json:"output"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("%s: %v in %s", d, err, body)
	}
	for _, c := range a.Choices {
		text += c.Message.Content
		for _, call := range c.Message.ToolCalls {
			calls = append(calls, call.Function.Name+" "+call.Function.Arguments)
		}
	}
	for _, part := range a.Content {
		if text += part.Text; part.Type == "tool_use" {
			calls = append(calls, part.Name+" "+strings.Replace(string(part.Input), `:1`, `: 1`, 1))
		}
	}
	for _, item := range a.Output {
		for _, part := range item.Content {
			text += part.Text
		}
		if item.Type == "function_call" {
			calls = append(calls, item.Name+" "+item.Arguments)
		}
	}
	return text, calls
}

// fold puts a stream together again.
func fold(t *testing.T, d vendor.Dialect, events string) (text string, used usage.Result) {
	t.Helper()
	reader := usage.NewReader(d)
	for line := range strings.Lines(events) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok {
			continue
		}
		reader.Event([]byte(data))
		var e struct {
			Choices []struct {
				Delta struct{ Content string } `json:"delta"`
			} `json:"choices"`
			Type  string          `json:"type"`
			Delta json.RawMessage `json:"delta"`
		}
		if json.Unmarshal([]byte(data), &e) != nil {
			continue // [DONE]
		}
		for _, c := range e.Choices {
			text += c.Delta.Content
		}
		switch e.Type {
		case "response.output_text.delta":
			var piece string
			_ = json.Unmarshal(e.Delta, &piece)
			text += piece
		case "content_block_delta":
			var piece struct{ Text string }
			_ = json.Unmarshal(e.Delta, &piece)
			text += piece.Text
		}
	}
	return text, reader.Result(0, true)
}

func TestTheCallersLimitHolds(t *testing.T) {
	server := serve(t)
	for d, c := range map[vendor.Dialect][2]string{
		vendor.Chat:      {`"max_completion_tokens":3,"messages":[{"role":"user","content":"hello"}]`, `"finish_reason":"length"`},
		vendor.Responses: {`"max_output_tokens":3,"input":"hello"`, `"reason":"max_output_tokens"`},
		vendor.Messages:  {`"max_tokens":3,"messages":[{"role":"user","content":"hello"}]`, `"stop_reason":"max_tokens"`},
	} {
		for _, stream := range []string{"false", "true"} {
			_, body := post(t, server, d, `{"model":"demo","stream":`+stream+`,"stream_options":{"include_usage":true},`+c[0]+`}`)
			if !strings.Contains(body, c[1]) || strings.Contains(body, "time") {
				t.Errorf("%s stream=%s: %s", d, stream, body)
			}
		}
	}
}

func TestEmbeddingsOfLikeTextsAreNear(t *testing.T) {
	server := serve(t)
	get := func(input, format string) [][]float64 {
		status, body := post(t, server, vendor.Embeddings, `{"model":"demo-embedding","input":`+input+`,"encoding_format":"`+format+`"}`)
		var list struct {
			Data []struct {
				Embedding json.RawMessage `json:"embedding"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		out := make([][]float64, len(list.Data))
		for i, d := range list.Data {
			var packed string
			if json.Unmarshal(d.Embedding, &packed) == nil {
				raw, err := base64.StdEncoding.DecodeString(packed)
				if err != nil || len(raw) != 4*dimensions {
					t.Fatalf("%v, %d bytes", err, len(raw))
				}
				continue
			}
			if err := json.Unmarshal(d.Embedding, &out[i]); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	v := get(`["the cat sat on the mat","the cat lay on the mat","quarterly revenue rose"]`, "float")
	dot := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	if near, far := dot(v[0], v[1]), dot(v[0], v[2]); near <= far || near > 1.0001 {
		t.Errorf("near %f, far %f", near, far)
	}
	get(`"one"`, "base64")
	if got := len(get(`[1,2,3]`, "float")); got != 1 {
		t.Errorf("a list of tokens is one text: %d", got)
	}
	if got := len(get(`[[1,2],[3]]`, "float")); got != 2 {
		t.Errorf("two lists of tokens: %d", got)
	}
}

func TestRefusalsAreInTheCallersDialect(t *testing.T) {
	server := serve(t)
	for _, c := range []struct {
		name    string
		dialect vendor.Dialect
		body    string
		status  int
		has     string
	}{
		{"no such model", vendor.Chat, `{"model":"gpt-5","messages":[{"role":"user","content":"x"}]}`, 404, `{"error":{"code":null`},
		{"no such model", vendor.Messages, `{"model":"claude","messages":[{"role":"user","content":"x"}]}`, 404, `"type":"error"`},
		{"no JSON", vendor.Responses, `{`, 400, "invalid_request_error"},
		{"nothing said", vendor.Chat, `{"model":"demo"}`, 400, "says nothing"},
		{"a kept answer", vendor.Responses, `{"model":"demo","previous_response_id":"resp_1","input":"x"}`, 400, "keeps no answers"},
		{"input of the wrong kind", vendor.Responses, `{"model":"demo","input":7}`, 400, "invalid_request_error"},
		{"no text to embed", vendor.Embeddings, `{"model":"demo-embedding","input":[]}`, 400, "1 to 2048"},
		{"an object to embed", vendor.Embeddings, `{"model":"demo-embedding","input":[{}]}`, 400, "no text"},
		{"too large", vendor.Chat, `{"model":"` + strings.Repeat("x", bodyBytesMax) + `"}`, 400, "larger than"},
	} {
		if status, body := post(t, server, c.dialect, c.body); status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s: %d %.200s", c.name, status, body)
		}
	}
	for method, path := range map[string]string{http.MethodGet: "/v1/chat/completions", http.MethodPost: "/v1/nothing"} {
		req, _ := http.NewRequest(method, server.URL+path, bytes.NewReader(nil))
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode/100 != 4 {
			t.Errorf("%s %s: %v %v", method, path, resp, err)
		}
	}
	resp, err := http.Get(server.URL + "/v1/models")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err)
	}
	if status, body := post(t, server, vendor.CountTokens, `{"model":"demo","messages":[{"role":"user","content":"one two three"}]}`); status != 200 || body != `{"input_tokens":3}` {
		t.Errorf("%d %s", status, body)
	}
}

func TestPieces(t *testing.T) {
	for text, want := range map[string][]string{
		"":                   nil,
		"one two":            {"one", " two"},
		"It is 12:00.\n\nOk": {"It", " is", " 12", ":", "00", ".", "\n\nOk"},
		"größe":              {"größe"},
		"  ":                 {"  "},
	} {
		if got := pieces(text); !slices.Equal(got, want) || strings.Join(got, "") != text {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestArithmetic(t *testing.T) {
	for text, want := range map[string]string{
		"2+2": "2+2 = 4", "what is 1 / 3?": "1 / 3 = 0.333333", "-(2 + 3) * -2": "-(2 + 3) * -2 = 10", "0.1 + 0.2": "0.1 + 0.2 = 0.3",
		"10 - 4 - 3": "10 - 4 - 3 = 3", "2 + 3 * 4": "2 + 3 * 4 = 14",
		"on 2026-11-24": "", "open 24/7": "", "1 / 0": "", "(2 + 3": "", "no sums": "", "v1+": "", "* 2": "", "2 ** 3": "",
		strings.Repeat("(", 50) + "1+1" + strings.Repeat(")", 50): "",
	} {
		got := ""
		if expression, value, ok := arithmetic(text); ok {
			got = expression + " = " + value
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range conversations {
		f.Add("chat", `{"model":"demo",`+c.chat+`}`)
		f.Add("responses", `{"model":"demo",`+c.responses+`}`)
		f.Add("messages", `{"model":"demo",`+c.messages+`}`)
	}
	s := New(func() time.Time { return noon }, 0)
	f.Fuzz(func(t *testing.T, dialect, body string) {
		d := vendor.Dialect(dialect)
		req, err := parse(d, []byte(body))
		if err != nil {
			return
		}
		a := s.answer(req)
		if !json.Valid(a.Body(d)) {
			t.Error("an answer that is no JSON")
		}
		for _, e := range a.Events(d) {
			if string(e.Data) != "[DONE]" && !json.Valid(e.Data) || bytes.ContainsAny(e.Data, "\n\r") {
				t.Errorf("event %q", e.Data)
			}
		}
	})
}
