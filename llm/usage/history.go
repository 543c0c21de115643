package usage

import (
	"slices"
	"sync"

	"github.com/tollgate/tollgate/ledger"
)

// The bounds of History.
const (
	pairsMax   = 8_192 // pairs of key and model with recent outputs, half of them at least kept: 300 bytes each
	modelsMax  = 4_096 // models with a ratio of their own
	recentMax  = 64    // outputs kept of a pair: enough for a 95th percentile that is not the maximum
	recentMin  = 5     // outputs that a percentile needs to mean anything
	ratioStart = 4.0   // bytes per token of English text and JSON
	ratioMin   = 1.0   // a tokenizer makes no more than one token of a byte
	ratioMax   = 8.0   // what no ordinary body reaches; callers share the ratio and must not be able to drag it off
	ratioPull  = 0.2   // weight of the newest call
)

// History remembers how models count and how long answers were, to say what the next call will need. It forgets what has
// not been used for long. Nothing of it is kept on disk: after a start it begins anew with the usual figures. Safe for
// concurrent use.
type History struct {
	mu     sync.Mutex // guards all below
	ratios generations[string, float64]
	recent generations[pair, *outputs]
}

type pair struct{ key, model string }

// outputs is a ring of the last answers' lengths in tokens.
type outputs struct {
	ring [recentMax]int32
	n    int // how many were ever put in
	p95  int64
}

// NewHistory returns an empty History.
func NewHistory() *History {
	return &History{
		ratios: generations[string, float64]{max: modelsMax / 2},
		recent: generations[pair, *outputs]{max: pairsMax / 2},
	}
}

// Expect returns the input tokens to expect of a body of size s at model (provider/model), and the 95th percentile of the
// recent outputs of key there, 0 when too few are known.
func (h *History) Expect(key, model string, s Size) (input, output int64) {
	h.mu.Lock()
	ratio, ok := h.ratios.get(model)
	recent, _ := h.recent.get(pair{key, model})
	if recent != nil {
		output = recent.p95
	}
	h.mu.Unlock()
	if !ok {
		ratio = ratioStart
	}
	return int64(float64(s.Bytes)/ratio) + s.Media, output
}

// Observe learns from a call that ended: q must be the provider's own counts, not an estimate.
func (h *History) Observe(key, model string, s Size, q *ledger.Quantities) {
	input := q.InputTokens + q.CacheReadTokens + q.CacheWriteTokens + q.CacheWrite1hTokens
	output := q.OutputTokens + q.ReasoningTokens
	h.mu.Lock()
	defer h.mu.Unlock()
	if input > 0 && s.Bytes > 0 && !s.Remote && s.Media == 0 {
		ratio, ok := h.ratios.get(model)
		if !ok {
			ratio = ratioStart
		}
		now := min(max(float64(s.Bytes)/float64(input), ratioMin), ratioMax)
		h.ratios.put(model, ratio+(now-ratio)*ratioPull)
	}
	if output > 0 {
		recent, ok := h.recent.get(pair{key, model})
		if !ok {
			recent = &outputs{}
		}
		recent.add(output)
		h.recent.put(pair{key, model}, recent)
	}
}

func (o *outputs) add(tokens int64) {
	o.ring[o.n%recentMax] = int32(min(tokens, countMax))
	o.n++
	kept := min(o.n, recentMax)
	if kept < recentMin {
		return
	}
	sorted := o.ring
	slices.Sort(sorted[:kept])
	o.p95 = int64(sorted[(kept*95+99)/100-1])
}

// generations is a map that holds between max and twice max entries: when the young half is full the old one is dropped.
type generations[K comparable, V any] struct {
	max        int
	young, old map[K]V
}

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if _, ok := g.young[k]; !ok && len(g.young) >= g.max {
		g.young, g.old = nil, g.young
	}
	if g.young == nil {
		g.young = map[K]V{}
	}
	g.young[k] = v
}
