package price

import "github.com/tollgate/tollgate/ledger"

// Ask is what is known of a call before it leaves.
type Ask struct {
	Bytes  int64 // of the request that can become input, media taken out: no tokenizer makes more than one token of a byte
	Input  int64 // input tokens expected, media included
	Media  int64 // input tokens expected of media alone (images, audio, files in the request)
	Long   bool  // the request asks for the long cache lifetime
	Remote bool  // the request points at input it does not hold: a stored conversation, a file, an image by URL

	MaxOutput    int64 // the caller's limit on output tokens, 0: none
	RecentOutput int64 // 95th percentile of recent outputs of this key and model, 0: not known
	Choices      int64 // answers asked for, 0: one

	// Searches is the caller's cap on tools that the provider runs and bills itself, such as web search: 0: none asked
	// for, Unbounded: asked for without a cap.
	Searches int64
	NoOutput bool   // embeddings: there is no output to hold for
	Service  string // service tier asked for
}

// What an estimate falls back to.
const (
	// outputFloor is the least output expected where the caller asks for more: an answer of a page.
	outputFloor = 1_000
	// outputUsual is expected of a model and key without history: agents' turns rarely reach it.
	outputUsual = 4_000
	// searchesUsual is expected when searches are asked for without a cap.
	searchesUsual = 2
	// searchReads is the input tokens that one search result brings.
	searchReads = 10_000
	// overhead is the tokens that vendors add around a request: chat templates, the system prompt of tool use.
	overhead = 1_024
	// holdMax bounds every estimate in tokens; products with a rate stay exact.
	holdMax = 1 << 40
)

// Hold returns what to reserve for a call: the expected cost, and the worst case for hard limits.
//
// Expected: the input at the dearest way it can be read (plain, or written to a cache) in the tier of its size, and
// output of min(caller's limit, model's limit, 1.5 × recent outputs), at least 1,000 where the caller's limit allows it.
// Worst: input at a token per byte but at most the context window, and the full limit of the output. The worst case is
// ledger.Unbounded when neither the caller nor the catalog limits the output, when input lies elsewhere and the window is
// not known, and when the provider may run tools without a cap.
func (p *Price) Hold(a Ask) ledger.Hold {
	h := ledger.Hold{PriceList: p.List, Prices: p.units}
	choices := clamp(max(a.Choices, 1))

	input := clamp(max(a.Input, 0))
	output := choices * p.expectedOutput(&a)
	searches := a.Searches
	if searches < 0 {
		searches = searchesUsual
	}
	searches = clamp(searches)
	expected := clamp(input + searches*searchReads)
	h.Tokens = expected + output
	h.Cost = p.worth(&a, expected, output, searches)

	h.Worst, h.WorstTokens = ledger.Unbounded, ledger.Unbounded
	worstOutput, ok := p.worstOutput(&a)
	worstInput, ok2 := p.worstInput(&a)
	if !ok || !ok2 || a.Searches < 0 {
		return h
	}
	worstOutput = clamp(worstOutput * choices)
	worstInput = clamp(max(worstInput, expected))
	h.WorstTokens = max(worstInput+worstOutput, h.Tokens)
	h.Worst = max(p.worth(&a, worstInput, worstOutput, searches), h.Cost)
	return h
}

// expectedOutput is the output tokens to expect of one answer.
func (p *Price) expectedOutput(a *Ask) int64 {
	if a.NoOutput {
		return 0
	}
	out := int64(outputUsual)
	if a.RecentOutput > 0 {
		out = max(clamp(a.RecentOutput)*3/2, outputFloor)
	}
	if a.MaxOutput > 0 {
		out = min(out, a.MaxOutput)
	}
	if p.Limits.Output > 0 {
		out = min(out, p.Limits.Output)
	}
	return out
}

// worstOutput is the most that one answer can be; false when nothing limits it.
func (p *Price) worstOutput(a *Ask) (int64, bool) {
	switch {
	case a.NoOutput:
		return 0, true
	case a.MaxOutput > 0 && p.Limits.Output > 0:
		return clamp(min(a.MaxOutput, p.Limits.Output)), true
	case a.MaxOutput > 0:
		return clamp(a.MaxOutput), true
	case p.Limits.Output > 0:
		return clamp(p.Limits.Output), true
	case p.Limits.Context > 0:
		return clamp(p.Limits.Context), true // the window holds input and output
	}
	return 0, false
}

// worstInput is the most that the input can come to; false when nothing limits it. Media and tools that the provider
// runs have no bound in bytes, the window has one for everything, once per turn of a provider's tool.
func (p *Price) worstInput(a *Ask) (int64, bool) {
	window := p.Limits.Context
	if a.Remote || a.Media > 0 || a.Searches != 0 {
		return clamp(window * clamp(1+max(a.Searches, 0))), window > 0
	}
	most := clamp(a.Bytes) + overhead
	if window > 0 {
		most = min(most, window)
	}
	return most, true
}

// worth is the cost of input at its dearest, output at its dearest, and searches, in the tier of the input's size.
func (p *Price) worth(a *Ask, input, output, searches int64) ledger.Nano {
	r := p.rates(input)
	read := max(r.Input, r.CacheWrite5m)
	if a.Long {
		read = max(read, r.CacheWrite1h)
	}
	media := min(clamp(a.Media), input)
	var s sum
	s.add(input-media, read)
	s.add(media, max(read, r.AudioInput))
	s.add(output, max(r.Output, r.Reasoning))
	s.times(p.Service[a.Service])
	s.add(searches, each(r.WebSearch))
	s.add(1, each(r.Call))
	return s.nano()
}

func clamp(n int64) int64 { return min(max(n, 0), holdMax) }
