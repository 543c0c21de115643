package wire

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/usage"
	"github.com/tollgate/tollgate/llm/vendor"
)

// What is written as usage in any dialect is read as the same quantities, from a body and from a stream.
func TestUsageComesBackAsItWas(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := func() int64 { return r.Int64N(3) * r.Int64N(100_000) }
	for range 300 {
		q := ledger.Quantities{InputTokens: 1 + n(), CacheReadTokens: n(), CacheWriteTokens: n(), OutputTokens: 1 + n(), ReasoningTokens: n(), Calls: 1}
		for _, d := range []vendor.Dialect{vendor.Chat, vendor.Responses, vendor.Messages} {
			want := q
			switch d {
			case vendor.Chat, vendor.Responses:
				want.AudioInputTokens, want.AudioOutputTokens, want.ImageTokens = n(), n(), n()
			case vendor.Messages: // it does not tell reasoning from output
				want.CacheWrite1hTokens, want.WebSearches = n(), n()
				want.OutputTokens, want.ReasoningTokens = want.OutputTokens+want.ReasoningTokens, 0
			}
			a := Answer{ID: "x", Model: "m", Text: []string{"a"}, Usage: &want, AskedUsage: true}
			body := usage.NewReader(d)
			body.Body(a.Body(d))
			stream := usage.NewReader(d)
			for _, e := range a.Events(d) {
				stream.Event(e.Data)
			}
			for how, reader := range map[string]usage.Reader{"body": body, "stream": stream} {
				if got := reader.Result(0, true); got.Quantities != want || got.Estimated || got.Bad {
					t.Fatalf("%s, %s:\n got %+v\nwant %+v", d, how, got, want)
				}
			}
		}
	}
}

func TestEventsAreFramed(t *testing.T) {
	a := Answer{ID: "x", Model: "m", Text: []string{"one\ntwo"}, Calls: []Call{{ID: "c", Name: "f", Arguments: "no JSON"}}}
	for d, last := range map[vendor.Dialect]string{vendor.Chat: "data: [DONE]\n\n", vendor.Responses: "event: response.completed\n", vendor.Messages: "event: message_stop\n"} {
		var b []byte
		for _, e := range a.Events(d) {
			b = e.Append(b)
			if string(e.Data) == "[DONE]" {
				continue
			}
			var typed struct{ Type string }
			if err := json.Unmarshal(e.Data, &typed); err != nil || typed.Type != e.Name && e.Name != "" {
				t.Errorf("%s: event %q says it is %q: %v", d, e.Name, typed.Type, err)
			}
		}
		if !strings.Contains(string(b), last) || strings.Contains(string(b), "usage\":{") {
			t.Errorf("%s: %s", d, b)
		}
	}
}

func TestErrorsHaveTheirFamilysForm(t *testing.T) {
	for d, want := range map[vendor.Dialect]string{
		vendor.Messages: `{"error":{"message":"m","type":"k"},"type":"error"}`,
		vendor.Chat:     `{"error":{"code":null,"message":"m","param":null,"type":"k"}}`,
	} {
		if got := string(Error(d, "k", "m")); got != want {
			t.Errorf("%s: %s", d, got)
		}
		if e := Failure(d, "k", "m"); string(e.Data) != want {
			t.Errorf("%s: %s", d, e.Data)
		}
	}
	if e := Failure(vendor.Responses, "k", "m"); e.Name != "error" || !strings.Contains(string(e.Data), `"code":"k"`) {
		t.Errorf("%+v", e)
	}
}
