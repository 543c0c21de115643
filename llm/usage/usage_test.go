package usage

import (
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
)

// The shapes in which vendors report usage, and what each comes to by hand at the rates of golden.
var golden = []struct {
	name    string
	dialect vendor.Dialect
	usage   string
	want    ledger.Quantities
	cost    ledger.Nano
}{
	{
		"openai chat with cache, reasoning and audio", vendor.Chat,
		`{"prompt_tokens":1000,"completion_tokens":300,"total_tokens":1300,"prompt_tokens_details":{"cached_tokens":400,"audio_tokens":100},"completion_tokens_details":{"reasoning_tokens":120,"audio_tokens":30,"accepted_prediction_tokens":5,"rejected_prediction_tokens":7}}`,
		ledger.Quantities{InputTokens: 500, CacheReadTokens: 400, AudioInputTokens: 100, OutputTokens: 150, ReasoningTokens: 120, AudioOutputTokens: 30, Calls: 1},
		500*2_000 + 400*200 + 100*4_000 + 150*10_000 + 120*10_000 + 30*20_000,
	},
	{
		"openai chat with a cache write", vendor.Chat,
		`{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1010,"prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":200}}`,
		ledger.Quantities{InputTokens: 700, CacheReadTokens: 100, CacheWriteTokens: 200, OutputTokens: 10, Calls: 1},
		700*2_000 + 100*200 + 200*2_500 + 10*10_000,
	},
	{
		"xai counts reasoning beside the completion", vendor.Chat,
		`{"prompt_tokens":100,"completion_tokens":40,"total_tokens":200,"completion_tokens_details":{"reasoning_tokens":60}}`,
		ledger.Quantities{InputTokens: 100, OutputTokens: 40, ReasoningTokens: 60, Calls: 1},
		100*2_000 + 100*10_000,
	},
	{
		"gemini hides thoughts in the total", vendor.Chat,
		`{"prompt_tokens":100,"completion_tokens":40,"total_tokens":200}`,
		ledger.Quantities{InputTokens: 100, OutputTokens: 40, ReasoningTokens: 60, Calls: 1},
		100*2_000 + 100*10_000,
	},
	{
		"deepseek", vendor.Chat,
		`{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}`,
		ledger.Quantities{InputTokens: 36, CacheReadTokens: 64, OutputTokens: 10, Calls: 1},
		36*2_000 + 64*200 + 10*10_000,
	},
	{
		"moonshot", vendor.Chat,
		`{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110,"cached_tokens":50}`,
		ledger.Quantities{InputTokens: 50, CacheReadTokens: 50, OutputTokens: 10, Calls: 1},
		50*2_000 + 50*200 + 10*10_000,
	},
	{
		"a prompt that leaves its cached part out", vendor.Chat,
		`{"prompt_tokens":100,"completion_tokens":10,"total_tokens":160,"prompt_tokens_details":{"cached_tokens":50}}`,
		ledger.Quantities{InputTokens: 100, CacheReadTokens: 50, OutputTokens: 10, Calls: 1},
		100*2_000 + 50*200 + 10*10_000,
	},
	{
		"responses", vendor.Responses,
		`{"input_tokens":1000,"input_tokens_details":{"cached_tokens":600,"cache_write_tokens":100},"output_tokens":200,"output_tokens_details":{"reasoning_tokens":150},"total_tokens":1200}`,
		ledger.Quantities{InputTokens: 300, CacheReadTokens: 600, CacheWriteTokens: 100, OutputTokens: 50, ReasoningTokens: 150, Calls: 1},
		300*2_000 + 600*200 + 100*2_500 + 200*10_000,
	},
	{
		"messages with both cache lifetimes and searches", vendor.Messages,
		`{"input_tokens":10,"cache_read_input_tokens":1000,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":50,"server_tool_use":{"web_search_requests":3},"service_tier":"standard"}`,
		ledger.Quantities{InputTokens: 10, CacheReadTokens: 1000, CacheWriteTokens: 100, CacheWrite1hTokens: 200, OutputTokens: 50, WebSearches: 3, Calls: 1},
		10*2_000 + 1000*200 + 100*2_500 + 200*4_000 + 50*10_000 + 3*10_000_000,
	},
	{
		"messages without the split", vendor.Messages,
		`{"input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":0,"output_tokens":50}`,
		ledger.Quantities{InputTokens: 10, CacheWriteTokens: 300, OutputTokens: 50, Calls: 1},
		10*2_000 + 300*2_500 + 50*10_000,
	},
	{
		"messages compacted in between", vendor.Messages,
		`{"input_tokens":10,"output_tokens":50,"iterations":[{"type":"compaction","input_tokens":1000,"output_tokens":100},{"type":"message","input_tokens":10,"output_tokens":50}]}`,
		ledger.Quantities{InputTokens: 1010, OutputTokens: 150, Calls: 1},
		1010*2_000 + 150*10_000,
	},
	{
		"embeddings", vendor.Embeddings, `{"prompt_tokens":8,"total_tokens":8}`,
		ledger.Quantities{InputTokens: 8, Calls: 1},
		8 * 2_000,
	},
}

func goldenPrice(t *testing.T) *price.Price {
	t.Helper()
	p, err := price.Parse(map[string]string{
		"input": "2 USD/1M", "output": "10 USD/1M", "cache_read": "0.20 USD/1M", "cache_write": "2.50 USD/1M", "cache_write_1h": "4 USD/1M",
		"audio_input": "4 USD/1M", "audio_output": "20 USD/1M", "web_search": "0.01 USD",
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryShapeOfUsageComesToItsCost(t *testing.T) {
	p := goldenPrice(t)
	for _, c := range golden {
		body := `{"id":"x","usage":` + c.usage + `}`
		r := NewReader(c.dialect)
		r.Body([]byte(body))
		check := func(how string, res Result) {
			if res.Quantities != c.want || res.Estimated || res.Bad {
				t.Errorf("%s, %s:\n got %+v\nwant %+v", c.name, how, res, c.want)
			}
			if cost := p.Cost(&res.Quantities, res.Service); cost != c.cost {
				t.Errorf("%s, %s: costs %d, by hand %d", c.name, how, cost, c.cost)
			}
		}
		check("body", r.Result(1, true))
		event := body
		switch c.dialect {
		case vendor.Responses:
			event = `{"type":"response.completed","response":` + body + `}`
		case vendor.Messages:
			event = `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":` + c.usage + `}`
		}
		s := NewReader(c.dialect)
		s.Event([]byte(event))
		check("event", s.Result(1, true))
	}
}
