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
	// holdMax bounds every estimate in tokens: two of them can be multiplied, and their product with a rate stays exact.
	holdMax = 1 << 31
)

// Hold returns what to reserve for a call: the expected cost, and the worst case for hard limits.
//
// Expected: the input at the dearest way it is usually read (plain, or written to a cache) in the tier of its size, and
// output of min(caller's limit, model's limit, 1.5 × recent outputs), at least 1,000 where the caller's limit allows it.
// Worst: input at a token per byte but at most the context window, and the full limit of the output, each at its dearest
// kind. The worst case is ledger.Unbounded when neither the caller nor the catalog limits the output, when input lies
// elsewhere and the window is not known, and when the provider may run tools without a cap; in money only if what has no
// bound has a price.
func (p *Price) Hold(a Ask) ledger.Hold {
	h := ledger.Hold{PriceList: p.List, Prices: p.units}
	choices := clamp(max(a.Choices, 1))
	searches := clamp(a.Searches)
	if a.Searches < 0 {
		searches = searchesUsual
	}
	usual := load{input: clamp(clamp(a.Input) + searches*searchReads), output: clamp(choices * p.expectedOutput(&a)), searches: searches}
	h.Tokens = usual.input + usual.output
	h.Cost = p.worth(&a, usual, false)

	worst, open := p.worstLoad(&a, choices)
	worst.input, worst.output = max(worst.input, usual.input), max(worst.output, usual.output)
	h.WorstTokens, h.Worst = ledger.Unbounded, ledger.Unbounded
	if open == (load{}) {
		h.WorstTokens = worst.input + worst.output
	}
	most := load{max(worst.input, open.input), max(worst.output, open.output), max(worst.searches, open.searches)}
	if cost := p.worth(&a, worst, true); cost == p.worth(&a, most, true) {
		h.Worst = max(cost, h.Cost)
	}
	return h
}

// load is what a call may use.
type load struct{ input, output, searches int64 }

// worstLoad is the most that a call can use. open holds holdMax where nothing limits it.
func (p *Price) worstLoad(a *Ask, choices int64) (worst, open load) {
	var ok bool
	if worst.output, ok = p.worstOutput(a); !ok {
		open.output = holdMax
	}
	worst.output = clamp(worst.output * choices)
	if worst.input, ok = p.worstInput(a); !ok {
		open.input = holdMax
	}
	if worst.searches = clamp(a.Searches); a.Searches < 0 {
		open.searches = holdMax
		open.input = holdMax // each result is read
	}
	return worst, open
}

// expectedOutput is the output tokens to expect of one answer.
func (p *Price) expectedOutput(a *Ask) int64 {
	if a.NoOutput {
		return 0
	}
	out := int64(outputUsual)
	if a.RecentOutput > 0 {
		out = max(clamp(clamp(a.RecentOutput)*3/2), outputFloor)
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

// worth is what l costs at most, in the tier of its input's size. Usually input is read plainly or written to a cache, and
// output is text; in the worst case each token is of the dearest kind that the request allows.
func (p *Price) worth(a *Ask, l load, worst bool) ledger.Nano {
	r := p.rates(l.input)
	read, write := max(r.Input, r.CacheWrite5m), max(r.Output, r.Reasoning)
	if a.Long {
		read = max(read, r.CacheWrite1h)
	}
	media := min(clamp(a.Media), l.input)
	heard := max(read, r.AudioInput)
	if worst {
		read = max(read, r.CacheRead)
		write = max(write, r.AudioOutput, r.Image)
		if media > 0 {
			media = l.input
		}
	}
	var s sum
	s.add(l.input-media, read)
	s.add(media, heard)
	s.add(l.output, write)
	s.times(p.factor(a.Service))
	s.add(l.searches, each(r.WebSearch))
	s.add(1, each(r.Call))
	return s.nano()
}

func clamp(n int64) int64 { return min(max(n, 0), holdMax) }
