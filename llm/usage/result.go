package usage

import (
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/vendor"
)

// Result is what an answer used.
type Result struct {
	Quantities ledger.Quantities
	Estimated  bool   // at least one side is not the provider's own final count
	Bad        bool   // the provider reported a count that cannot be; it was dropped
	Service    string // the service tier that the answer names, for the price: "flex", "priority", "batch", "scale", "fast" or ""
}

// bytesPerToken turns bytes of text into tokens where nothing better is known.
const bytesPerToken = 4

// Result makes the quantities of what was read. whole says that the answer came to its end; of one that did not, counts
// are only a lower bound. expectedInput is what History expected of the input, used where the provider says nothing.
func (r *Reader) Result(expectedInput int64, whole bool) Result {
	c := r.counts // a copy: Result may be asked for again
	res := Result{Bad: c.bad, Service: r.service}
	written := (r.text + bytesPerToken - 1) / bytesPerToken
	noOutput := r.dialect == vendor.Embeddings || r.dialect == vendor.CountTokens

	// No prompt is empty and no text is free: zero in such a place is a provider that does not count.
	if c.n[input]+c.n[cacheRead]+c.n[cacheWrite]+c.n[write5m]+c.n[write1h] == 0 {
		c.n[input] = min(max(expectedInput, 0), countMax)
		c.n[total] = 0
		res.Estimated = true
	}
	if !noOutput && (!c.has(output) || !whole || c.n[output] == 0 && written > 0) {
		if written > c.n[output] {
			c.n[output] = min(written, countMax)
			c.n[total] = 0
		}
		res.Estimated = true
	}
	res.Quantities = c.disjoint(r.dialect)
	res.Quantities.WebSearches = max(c.n[searches], r.ran)
	res.Quantities.Calls = 1
	if r.dialect == vendor.CountTokens {
		res.Quantities = ledger.Quantities{Calls: 1} // counting is not using
		res.Estimated = false
	}
	return res
}

// disjoint takes overlapping counts apart.
func (c *counts) disjoint(d vendor.Dialect) ledger.Quantities {
	var q ledger.Quantities
	q.CacheReadTokens = c.n[cacheRead]
	q.CacheWrite1hTokens = c.n[write1h]
	q.CacheWriteTokens = max(c.n[cacheWrite]-c.n[write1h], c.n[write5m])
	q.AudioInputTokens = c.n[audioIn]
	q.InputTokens = c.n[input]
	parts := q.CacheReadTokens + q.CacheWriteTokens + q.CacheWrite1hTokens + q.AudioInputTokens
	out := c.n[output]
	beside := max(0, c.n[total]-c.n[input]-out)
	switch {
	case d == vendor.Messages: // input is what was neither read from a cache nor written to one
	case parts > q.InputTokens, parts > 0 && beside == parts: // some vendors do as Anthropic does: the total shows it
	default:
		q.InputTokens -= parts
		if d == vendor.Chat {
			// Reasoning is part of the completion at OpenAI, beside it at xAI, and only in the total at Gemini's endpoint.
			out += beside
			c.n[reasoning] = max(c.n[reasoning], beside)
		}
	}
	q.ReasoningTokens = min(c.n[reasoning], out)
	out -= q.ReasoningTokens
	q.AudioOutputTokens = min(c.n[audioOut], out)
	out -= q.AudioOutputTokens
	q.ImageTokens = min(c.n[imageOut], out)
	q.OutputTokens = out - q.ImageTokens
	return q
}
