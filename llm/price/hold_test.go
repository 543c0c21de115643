package price

import (
	"math/rand/v2"
	"testing"

	"github.com/tollgate/tollgate/ledger"
)

// holdPrice is 2 USD in, 10 USD out, 2.50 to write a cache, 4 for an hour; above 100,000 tokens twice that.
func holdPrice(l Limits) *Price {
	p := &Price{List: "2026-11-24", Limits: l, Rates: Rates{Input: 2e9, Output: 10e9, CacheRead: 0.2e9, CacheWrite5m: 2.5e9, CacheWrite1h: 4e9, WebSearch: ledger.USD / 100}}
	p.Tiers = []Tier{{Above: 100_000, Rates: Rates{Input: 4e9, Output: 20e9, CacheRead: 0.4e9, CacheWrite5m: 5e9, CacheWrite1h: 8e9, WebSearch: ledger.USD / 100}}}
	return p.build(Input | Output | CacheRead | CacheWrite5m | CacheWrite1h | WebSearch)
}

func TestHold(t *testing.T) {
	known := Limits{Context: 200_000, Output: 32_000}
	perCall := parse(t, map[string]string{"call": "0.001 USD"})
	for _, c := range []struct {
		name                string
		p                   *Price
		a                   Ask
		cost, worst         ledger.Nano
		tokens, worstTokens int64
	}{
		{
			"an agent that asks for everything: the usual output is held, not the limit", holdPrice(known),
			Ask{Bytes: 48_000, Input: 12_000, MaxOutput: 128_000},
			12_000*2_500 + 4_000*10_000, (48_000+1_024)*2_500 + 32_000*10_000, 16_000, 48_000 + 1_024 + 32_000,
		},
		{
			"the caller's limit", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 50},
			100*2_500 + 50*10_000, (400+1_024)*2_500 + 50*10_000, 150, 1_424 + 50,
		},
		{
			"recent outputs, half as much again", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 20_000, RecentOutput: 6_000},
			100*2_500 + 9_000*10_000, 1_424*2_500 + 20_000*10_000, 9_100, 21_424,
		},
		{
			"a floor below which nobody estimates", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 20_000, RecentOutput: 10},
			100*2_500 + 1_000*10_000, 1_424*2_500 + 20_000*10_000, 1_100, 21_424,
		},
		{
			"no limit anywhere", holdPrice(Limits{}), Ask{Bytes: 400, Input: 100},
			100*2_500 + 4_000*10_000, ledger.Unbounded, 4_100, ledger.Unbounded,
		},
		{
			"the window is a limit too", holdPrice(Limits{Context: 50_000}), Ask{Bytes: 400, Input: 100},
			100*2_500 + 4_000*10_000, 1_424*2_500 + 50_000*10_000, 4_100, 51_424,
		},
		{
			"several answers", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 50, Choices: 3},
			100*2_500 + 150*10_000, 1_424*2_500 + 150*10_000, 250, 1_424 + 150,
		},
		{
			"a long prompt in its tier", holdPrice(known), Ask{Bytes: 1_000_000, Input: 150_000, MaxOutput: 50},
			150_000*5_000 + 50*20_000, 200_000*5_000 + 50*20_000, 150_050, 200_050,
		},
		{
			"a worst case in the next tier", holdPrice(known), Ask{Bytes: 120_000, Input: 30_000, MaxOutput: 50},
			30_000*2_500 + 50*10_000, 121_024*5_000 + 50*20_000, 30_050, 121_074,
		},
		{
			"the long cache lifetime", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 50, Long: true},
			100*4_000 + 50*10_000, 1_424*4_000 + 50*10_000, 150, 1_474,
		},
		{
			"input that lies elsewhere, in a known window", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 50, Remote: true},
			100*2_500 + 50*10_000, 200_000*5_000 + 50*20_000, 150, 200_050,
		},
		{
			"and in an unknown one", holdPrice(Limits{Output: 100}), Ask{Bytes: 400, Input: 100, MaxOutput: 50, Remote: true},
			100*2_500 + 50*10_000, ledger.Unbounded, 150, ledger.Unbounded,
		},
		{
			"searches without a cap", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 50, Searches: ledger.Unbounded},
			20_100*2_500 + 50*10_000 + 2*10_000_000, ledger.Unbounded, 20_150, ledger.Unbounded,
		},
		{
			"searches with a cap read a window each", holdPrice(known), Ask{Bytes: 400, Input: 100, MaxOutput: 50, Searches: 1},
			10_100*2_500 + 50*10_000 + 10_000_000, 400_000*5_000 + 50*20_000 + 10_000_000, 10_150, 400_050,
		},
		{
			"embeddings", holdPrice(Limits{}), Ask{Bytes: 400, Input: 100, NoOutput: true},
			100 * 2_500, 1_424 * 2_500, 100, 1_424,
		},
		{
			"free, whatever it uses", Free(), Ask{Bytes: 400, Input: 100, Remote: true, Searches: ledger.Unbounded},
			0, 0, 24_100, ledger.Unbounded,
		},
		{
			"priced by the call", perCall, Ask{Bytes: 400, Input: 100},
			1_000_000, 1_000_000, 4_100, ledger.Unbounded,
		},
		{
			"numbers out of all proportion", holdPrice(Limits{}), Ask{Bytes: 1 << 62, Input: -1, MaxOutput: 1 << 62, RecentOutput: 1 << 62, Choices: 1 << 62},
			holdMax * 10_000, (holdMax+overhead)*5_000 + holdMax*20_000, holdMax, 2*holdMax + overhead,
		},
	} {
		h := c.p.Hold(c.a)
		if h.Cost != c.cost || h.Worst != c.worst || h.Tokens != c.tokens || h.WorstTokens != c.worstTokens {
			t.Errorf("%s:\n got cost %d worst %d tokens %d worst %d\nwant cost %d worst %d tokens %d worst %d",
				c.name, h.Cost, h.Worst, h.Tokens, h.WorstTokens, c.cost, c.worst, c.tokens, c.worstTokens)
		}
		if h.PriceList != c.p.List || len(h.Prices) == 0 {
			t.Errorf("%s: list %q, prices %v", c.name, h.PriceList, h.Prices)
		}
	}
}

// What a hard limit rests on: no answer that keeps to its request can cost more than the worst case held for it.
func TestNothingCostsMoreThanItsWorstCase(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := catalog(t)
	var prices []*Price
	for _, rows := range c.rows {
		for _, d := range rows {
			prices = append(prices, d.price)
		}
	}
	odd := parse(t, map[string]string{"input": "1 USD/1M", "output": "1 USD/1M", "cache_read": "3 USD/1M", "cache_write": "0.5 USD/1M", "reasoning": "9 USD/1M"})
	for range 50 {
		prices = append(prices, holdPrice(Limits{}), holdPrice(Limits{Context: 200_000, Output: 32_000}), Free(), odd)
	}
	bounded := 0
	for range 200_000 {
		p := prices[r.IntN(len(prices))]
		a := Ask{Bytes: r.Int64N(1 << r.IntN(21)), MaxOutput: r.Int64N(1 << r.IntN(16)), Choices: r.Int64N(3), Long: r.IntN(2) == 0, RecentOutput: r.Int64N(9_000)}
		a.Service = []string{"", "flex", "priority"}[r.IntN(3)]
		a.Input = a.Bytes / (1 + r.Int64N(6))
		if r.IntN(8) == 0 {
			a.Searches = r.Int64N(4)
		}
		h := p.Hold(a)
		if h.Worst == ledger.Unbounded {
			continue
		}
		bounded++
		input := a.Bytes + overhead
		if a.Searches > 0 {
			input = p.Limits.Context * (1 + a.Searches)
		} else if p.Limits.Context > 0 {
			input = min(input, p.Limits.Context)
		}
		output := a.MaxOutput
		if output == 0 || p.Limits.Output > 0 && p.Limits.Output < output {
			output = max(p.Limits.Output, 0)
		}
		q := split(r, r.Int64N(input+1), r.Int64N(output*max(a.Choices, 1)+1), a.Long)
		q.WebSearches, q.Calls = r.Int64N(max(a.Searches, 0)+1), 1
		if cost := p.Cost(&q, a.Service); cost > h.Worst {
			t.Fatalf("%s: %+v costs %d, held %d for %+v", p.Name, q, cost, h.Worst, a)
		}
		if h.WorstTokens != ledger.Unbounded && q.Tokens() > h.WorstTokens {
			t.Fatalf("%s: %+v are %d tokens, held %d", p.Name, q, q.Tokens(), h.WorstTokens)
		}
	}
	if bounded < 50_000 {
		t.Errorf("only %d cases had a bound", bounded)
	}
}

// split deals tokens out to the kinds that a text request can use.
func split(r *rand.Rand, input, output int64, long bool) (q ledger.Quantities) {
	deal := func(left *int64) int64 {
		n := r.Int64N(*left + 1)
		*left -= n
		return n
	}
	q.CacheReadTokens, q.CacheWriteTokens = deal(&input), deal(&input)
	if long {
		q.CacheWrite1hTokens = deal(&input)
	}
	q.InputTokens = input
	q.ReasoningTokens, q.AudioOutputTokens, q.ImageTokens = deal(&output), deal(&output), deal(&output)
	q.OutputTokens = output
	return q
}

func BenchmarkHold(b *testing.B) {
	p, _ := catalog(b).Lookup("openai", "gpt-5.6", day)
	a := Ask{Bytes: 48_000, Input: 12_000, MaxOutput: 32_000, RecentOutput: 700}
	b.ReportAllocs()
	for b.Loop() {
		p.Hold(a)
	}
}
