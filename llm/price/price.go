package price

import (
	"maps"

	"github.com/tollgate/tollgate/ledger"
)

// Rates are the prices of one model in one tier. The kinds of tokens are those of ledger.Quantities.
type Rates struct {
	Input, Output           Rate
	CacheRead               Rate
	CacheWrite5m            Rate // also the write of vendors that know no lifetimes
	CacheWrite1h            Rate
	Reasoning               Rate
	AudioInput, AudioOutput Rate
	Image                   Rate // image tokens of the output; those of the input count as input
	WebSearch               ledger.Nano
	Call                    ledger.Nano
}

// Field names one rate, as a bit.
type Field uint16

// The fields of Rates, in the order of rateNames.
const (
	Input Field = 1 << iota
	Output
	CacheRead
	CacheWrite5m
	CacheWrite1h
	Reasoning
	AudioInput
	AudioOutput
	Image
	WebSearch
	Call
)

// Tier re-rates the whole call when its prompt, cached parts included, is longer than Above tokens.
type Tier struct {
	Above int64
	Rates Rates
}

// Limits are what a model can take and give, in tokens. 0: not known.
type Limits struct {
	Context int64
	Output  int64
}

// Price is what a model costs. Immutable, safe for concurrent use; its pointers are shared.
type Price struct {
	Name   string // "openai/gpt-5.2", or "config" when declared
	List   string // the price list it is from: the catalog's version, "config" or "unpriced"
	Source string // where the row's figures are from
	AsOf   string // the day they were read, 2006-01-02
	Limits Limits

	Rates Rates
	Tiers []Tier // rising

	// Assumed are the fields without a figure of their own. They hold the rate of the nearest kind that is not cheaper
	// than it in practice; a cost that rests on one is an estimate.
	Assumed Field
	Service map[string]Ratio // by service tier: the factor on the token rates; see factor for those that are not here

	units map[string]ledger.Nano
}

// Ratio is a factor on all rates.
type Ratio struct{ Num, Den int64 }

// searchAssumed is the price of one provider-run web search where none is known: the dearest in the catalog.
const searchAssumed = 35 * ledger.USD / 1000

// dearAssumed is the factor of a service tier that costs more where a list price does not say how much: the catalog's
// largest but for single models.
var dearAssumed = Ratio{5, 2}

// factor is the factor of a service tier. What the catalog does not know costs as much as the standard tier, or more if
// that is what the tier is for. A declared price holds for every tier.
func (p *Price) factor(service string) Ratio {
	r, ok := p.Service[service]
	if !ok && (service == "priority" || service == "fast") && p.List != declared && p.List != noPrice {
		return dearAssumed
	}
	return r
}

// The price lists beside the catalog's versions.
const (
	declared = "config"
	noPrice  = "unpriced"
)

// build fills the rates that have no figure of their own and prepares the entry's unit prices. known are the fields that
// have one.
func (p *Price) build(known Field) *Price {
	p.Assumed = p.Rates.complete(known)
	for i := range p.Tiers {
		p.Tiers[i].Rates.complete(known)
	}
	p.units = p.Rates.units(known)
	return p
}

// complete gives each field that is not known the rate of its nearest kin, and returns those fields. Reading from a cache
// without a rate for it costs what reading costs; so does writing; a long write twice that, as at the vendors that have
// one. Reasoning is output wherever it has no price of its own: no assumption.
func (r *Rates) complete(known Field) (assumed Field) {
	for _, f := range []struct {
		field Field
		rate  *Rate
		as    *Rate
		times Rate
	}{
		{Input, &r.Input, &r.Output, 1},
		{Output, &r.Output, &r.Input, 1},
		{CacheRead, &r.CacheRead, &r.Input, 1},
		{CacheWrite5m, &r.CacheWrite5m, &r.Input, 1},
		{CacheWrite1h, &r.CacheWrite1h, &r.Input, 2},
		{Reasoning, &r.Reasoning, &r.Output, 1},
		{AudioInput, &r.AudioInput, &r.Input, 1},
		{AudioOutput, &r.AudioOutput, &r.Output, 1},
		{Image, &r.Image, &r.Output, 1},
	} {
		if known&f.field == 0 {
			*f.rate = *f.as * f.times
			assumed |= f.field
		}
	}
	if known&WebSearch == 0 {
		assumed |= WebSearch
		if r.Input != 0 || r.Output != 0 { // a free model's searches are its server's own
			r.WebSearch = searchAssumed
		}
	}
	return assumed &^ Reasoning
}

// rateNames are the names of the token rates, in configs, in entries and in the order of catalog.csv's columns.
var rateNames = [...]string{"input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output", "image"}

// tokenRates returns r's rates in the order of rateNames: the i-th is that of Field 1<<i.
func (r *Rates) tokenRates() [len(rateNames)]*Rate {
	return [...]*Rate{&r.Input, &r.Output, &r.CacheRead, &r.CacheWrite5m, &r.CacheWrite1h, &r.Reasoning, &r.AudioInput, &r.AudioOutput, &r.Image}
}

// units are the prices that an entry records: the known ones by name.
func (r *Rates) units(known Field) map[string]ledger.Nano {
	out := map[string]ledger.Nano{}
	for i, rate := range r.tokenRates() {
		if known&(1<<i) != 0 {
			out[rateNames[i]] = ledger.Nano(*rate)
		}
	}
	if known&WebSearch != 0 {
		out["web_search"] = r.WebSearch
	}
	if known&Call != 0 {
		out["call"] = r.Call
	}
	return out
}

// Units returns the known unit prices by quantity name, per million units (web_search and call: each), as entries
// record them. It is a copy.
func (p *Price) Units() map[string]ledger.Nano { return maps.Clone(p.units) }

// rates returns the rates of a call with a prompt of so many tokens.
func (p *Price) rates(prompt int64) *Rates {
	r := &p.Rates
	for i := range p.Tiers {
		if prompt > p.Tiers[i].Above {
			r = &p.Tiers[i].Rates
		}
	}
	return r
}

// promptTokens is the size of the prompt that tiers look at: all that the model read.
func promptTokens(q *ledger.Quantities) int64 {
	return q.InputTokens + q.CacheReadTokens + q.CacheWriteTokens + q.CacheWrite1hTokens + q.AudioInputTokens
}

// Cost returns what q costs, exactly, rounded up to a whole nano-USD. service is the service tier that the answer names
// ("flex", "priority"); empty is the standard one. Negative quantities cost nothing.
func (p *Price) Cost(q *ledger.Quantities, service string) ledger.Nano {
	r := p.rates(promptTokens(q))
	var s sum
	s.add(q.InputTokens, r.Input)
	s.add(q.OutputTokens, r.Output)
	s.add(q.CacheReadTokens, r.CacheRead)
	s.add(q.CacheWriteTokens, r.CacheWrite5m)
	s.add(q.CacheWrite1hTokens, r.CacheWrite1h)
	s.add(q.ReasoningTokens, r.Reasoning)
	s.add(q.AudioInputTokens, r.AudioInput)
	s.add(q.AudioOutputTokens, r.AudioOutput)
	s.add(q.ImageTokens, r.Image)
	s.times(p.factor(service))
	s.add(q.WebSearches, each(r.WebSearch))
	s.add(q.Calls, each(r.Call))
	return s.nano()
}

// each makes a price per piece a rate per million pieces.
func each(n ledger.Nano) Rate { return Rate(min(n, ledger.Nano(rateMax)/perRate)) * perRate }

// Exact reports whether the cost of q rests on known figures alone; otherwise it is an estimate. Seconds have no price.
func (p *Price) Exact(q *ledger.Quantities) bool {
	for _, f := range []struct {
		field Field
		n     int64
	}{
		{Input, q.InputTokens}, {Output, q.OutputTokens}, {CacheRead, q.CacheReadTokens}, {CacheWrite5m, q.CacheWriteTokens}, {CacheWrite1h, q.CacheWrite1hTokens},
		{AudioInput, q.AudioInputTokens}, {AudioOutput, q.AudioOutputTokens}, {Image, q.ImageTokens}, {WebSearch, q.WebSearches},
	} {
		if f.n > 0 && p.Assumed&f.field != 0 {
			return false
		}
	}
	return q.Seconds <= 0
}
