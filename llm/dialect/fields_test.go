package dialect

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/llm/vendor"
)

var formats = New()

func scan(t *testing.T, d vendor.Dialect, body string) Fields {
	t.Helper()
	f, err := formats[d].Scan([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return f
}

func TestFields(t *testing.T) {
	chat := scan(t, vendor.Chat, `{"model":"a/b","stream":true,"max_tokens":10,"max_completion_tokens":20,"n":3,"service_tier":"flex","user":null}`)
	if chat.Text(Model) != "a/b" || !chat.True(Streaming) || chat.OutputLimit() != 20 || chat.Outputs() != 3 || chat.Text(Tier) != "flex" || chat.Has(User) {
		t.Errorf("%+v", chat)
	}
	messages := scan(t, vendor.Messages, `{"model":"a","metadata":{"user_id":"u","x":[{}]},"max_tokens":1e3}`)
	if messages.Text(User) != "u" || messages.OutputLimit() != 1000 || messages.Outputs() != 1 {
		t.Errorf("%+v", messages)
	}
	for text, want := range map[string]int64{"0": 0, "-5": 0, "1.5": 2, "7": 7, "1e99": outputMost, "99999999999999999999": outputMost} {
		if f := scan(t, vendor.Responses, `{"max_output_tokens":`+text+`}`); f.OutputLimit() != want {
			t.Errorf("%s: %d, want %d", text, f.OutputLimit(), want)
		}
	}
}

// A governed member of another kind could be read in another way by the provider than here.
func TestGovernedMembersHaveTheirKind(t *testing.T) {
	for _, body := range []string{
		`{"model":5}`, `{"model":null}`, `{"model":["a"]}`, `{"stream":"true"}`, `{"stream":1}`, `{"stream_options":true}`, `{"stream_options":{"include_usage":"yes"}}`,
		`{"max_tokens":"100"}`, `{"n":true}`, `{"tools":{}}`, `{"web_search_options":[]}`, `{"service_tier":1}`, `{"user":{}}`,
	} {
		if _, err := formats[vendor.Chat].Scan([]byte(body)); err == nil {
			t.Errorf("%s was taken", body)
		} else if e, ok := err.(*Error); !ok || e.Status != 400 || e.Message == "" {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, body := range []string{`{"stream":null}`, `{"max_tokens":null,"tools":null}`, `{"stop":5}`, `{"tool_choice":{}}`} {
		scan(t, vendor.Chat, body)
	}
}

func TestModelName(t *testing.T) {
	long := strings.Repeat("x", ModelBytesMax)
	for body, want := range map[string]string{
		`{"model":"a"}`: "a", `{"model":"\u0061/é"}`: "a/é", `{"model":"` + long + `"}`: long,
		`{"model":""}`: "", `{}`: "", `{"model":"a\nb"}`: "", `{"model":"` + long + `x"}`: "",
	} {
		f := scan(t, vendor.Chat, body)
		if got, err := f.ModelName(); got != want || (err == nil) != (want != "") {
			t.Errorf("%.50s: %q, %v", body, got, err)
		}
	}
}

func TestProviderTools(t *testing.T) {
	tests := []struct {
		d    vendor.Dialect
		body string
		want bool
	}{
		{vendor.Chat, `{"tools":[{"type":"function","function":{"name":"web_search"}}]}`, false},
		{vendor.Chat, `{"web_search_options":{}}`, true},
		{vendor.Chat, `{"web_search_options":null}`, false},
		{vendor.Responses, `{"tools":[{"type":"function","name":"x"},{ "type" : "web_search_preview"}]}`, true},
		{vendor.Responses, `{"tools":[{"type":"custom","name":"apply_patch"}]}`, false},
		{vendor.Responses, `{"tools":[{"type":"\u0077eb_search"}]}`, true},
		{vendor.Responses, `{"tools":[{"ty\u0070e":"web_search"}]}`, true},
		{vendor.Responses, `{"tools":[{"type":"function","description":"a \u2014 \u003c b"}]}`, false},
		{vendor.Responses, `{"input":[{"type":"additional_tools","tools":[{"type":"code_interpreter"}]}]}`, true},
		{vendor.Responses, `{"input":[{"type":"message","content":"code_interpreter"}]}`, false},
		{vendor.Messages, `{"tools":[{"type":"web_search_20250305","name":"web_search"}]}`, true},
		{vendor.Messages, `{"tools":[{"name":"bash","input_schema":{"type":"object"}}]}`, false},
		{vendor.Messages, `{"mcp_servers":[{"url":"x"}]}`, true},
	}
	for _, test := range tests {
		if f := scan(t, test.d, test.body); f.ProviderTools() != test.want {
			t.Errorf("%s %s: %v", test.d, test.body, !test.want)
		}
	}
}

// Whatever a body is: if it is taken, it still says the same after it was edited, but for what the edits are for.
// members are those of a JSON object; numbers stay as they are written, whatever fits into a float.
func members(body []byte) (m map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return m, d.Decode(&m)
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"model":"a","stream":true,"stream_options":{"include_usage":false},"messages":[{"role":"user","content":"x"}]}`))
	f.Add([]byte(` {"a":[1,2,{"model":"no"}],"mod\u0065l":"m", "stream_options":null } `))
	f.Add([]byte(`{"model":"a","model":"b"}`))
	f.Add([]byte(`{"model":"a","Model":"b","max_tokens":1e400}`))
	f.Add([]byte(`{"model":"a","x":1E700}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings} {
			fields, err := formats[d].Scan(body)
			if err != nil {
				continue
			}
			fields.ProviderTools()
			fields.OutputLimit()
			name, err := fields.ModelName()
			if err != nil {
				continue
			}
			before, err := members(body)
			if err != nil {
				t.Fatalf("taken, and yet: %v", err)
			}
			if before["model"] != name {
				t.Fatalf("read %q, a parser reads %q", name, before["model"])
			}
			edits := fields.WithModel("x\"y")
			if d == vendor.Chat {
				edits = append(edits, fields.WithUsage()...)
				if len(edits) == 2 && edits[0].Start > edits[1].Start {
					edits[0], edits[1] = edits[1], edits[0]
				}
			}
			sent := strictjson.Splice(body, edits...)
			again, err := formats[d].Scan(sent)
			if err != nil {
				t.Fatalf("%q became %q: %v", body, sent, err)
			}
			if got, _ := again.ModelName(); got != `x"y` || d == vendor.Chat && !again.True(IncludeUsage) {
				t.Fatalf("%q became %q", body, sent)
			}
			after, err := members(sent)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []map[string]any{before, after} {
				delete(m, "model")
				delete(m, "stream_options")
			}
			a, _ := json.Marshal(before)
			b, _ := json.Marshal(after)
			if string(a) != string(b) {
				t.Fatalf("%q became %q", body, sent)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	for name, n := range map[string]int{"1.5KB": 12, "48KB": 400} {
		body := []byte(`{"model":"a/b","stream":true,"messages":[` + strings.Repeat(`{"role":"user","content":"the quick brown fox jumps over the lazy dog, again and again, until noon"},`, n) + `{}]}`)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				f, err := formats[vendor.Chat].Scan(body)
				if err != nil || f.ProviderTools() {
					b.Fatal(err)
				}
			}
		})
	}
}
