package entry

import "github.com/tollgate/tollgate/ledger/limits"

// Nano is money in nano-USD (10^-9 USD).
type Nano int64

// String writes n in dollars: "0.50 USD", "0.000042 USD".
func (n Nano) String() string { return limits.SpellUSD(int64(n)) }

// USD is one dollar.
const USD Nano = 1_000_000_000

// Quantities are what a call used, in disjoint kinds: their token sum is all tokens the provider counted.
type Quantities struct {
	InputTokens        int64 `json:"input_tokens,omitempty"`
	CacheReadTokens    int64 `json:"cache_read_tokens,omitempty"`
	CacheWriteTokens   int64 `json:"cache_write_tokens,omitempty"`
	CacheWrite1hTokens int64 `json:"cache_write_1h_tokens,omitempty"`
	OutputTokens       int64 `json:"output_tokens,omitempty"`
	ReasoningTokens    int64 `json:"reasoning_tokens,omitempty"`
	AudioInputTokens   int64 `json:"audio_input_tokens,omitempty"`
	AudioOutputTokens  int64 `json:"audio_output_tokens,omitempty"`
	ImageTokens        int64 `json:"image_tokens,omitempty"`
	WebSearches        int64 `json:"web_searches,omitempty"`
	Seconds            int64 `json:"seconds,omitempty"`
	Calls              int64 `json:"calls,omitempty"`
}

// Tokens is the sum of all token kinds, the unit of token limits.
func (q *Quantities) Tokens() int64 {
	return q.InputTokens + q.CacheReadTokens + q.CacheWriteTokens + q.CacheWrite1hTokens + q.OutputTokens +
		q.ReasoningTokens + q.AudioInputTokens + q.AudioOutputTokens + q.ImageTokens
}

// Clamped is q without what cannot be.
func (q Quantities) Clamped() Quantities {
	for _, v := range q.fields() {
		*v = min(max(*v, 0), limits.AmountMax)
	}
	return q
}

// Status is how a call ended.
type Status string

// The statuses of a resolution.
const (
	OK          Status = "ok"
	ToolError   Status = "tool_error"     // an isError result: the price is charged
	Failed      Status = "upstream_error" // a whole error answer: costs nothing
	Cut         Status = "cut"            // ended without a whole answer after it was sent
	Unsent      Status = "unsent"         // never left
	Interrupted Status = "interrupted"    // the process died; posted by the next start
)
