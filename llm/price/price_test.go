package price

import (
	"errors"
	"maps"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

var day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func catalog(t testing.TB) *Catalog {
	t.Helper()
	c, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, fields map[string]string) *Price {
	t.Helper()
	p, err := Parse(fields)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRatesAreReadExactly(t *testing.T) {
	for text, want := range map[string]Rate{
		"0.10 USD/1M": 100_000_000, "0.1USD/1M": 100_000_000, "10 USD / 1M": 10_000_000_000, "0": 0, "0 USD/1M": 0,
		"0.000000001 USD/1M": 1, "0.25 USD/1k": 250_000_000_000, "0.000002 USD/1": 2_000_000_000, "1000000 USD/1M": 1_000_000_000_000_000,
		"0.100000000000 USD/1M": 100_000_000,
	} {
		if got, err := ParseRate(text); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "0.10", "0.10 USD", "USD/1M", ".5 USD/1M", "5. USD/1M", "-1 USD/1M", "+1 USD/1M", "1e3 USD/1M", "0x10 USD/1M", "1_000 USD/1M", "1,5 USD/1M",
		"1 EUR/1M", "1 usd/1M", "1 USD/1m", "1 USD/2M", "1 USD/", "0.0000000001 USD/1M", "1000001 USD/1M", "1 USD/1", "1.2.3 USD/1M", "٣ USD/1M",
		strings.Repeat("9", 40) + " USD/1M", "0.1\x00 USD/1M",
	} {
		if text == "1 USD/1" { // a million USD per million: the most there is
			continue
		}
		if got, err := ParseRate(text); !errors.Is(err, ErrMoney) {
			t.Errorf("%q is read as %d, %v", text, got, err)
		}
	}
	if got, err := ParseMoney("0.001 USD"); got != 1_000_000 || err != nil {
		t.Errorf("%d %v", got, err)
	}
	if _, err := ParseMoney("0.0000000001 USD"); !errors.Is(err, ErrMoney) {
		t.Errorf("%v", err)
	}
}

func FuzzParseRate(f *testing.F) {
	for _, text := range []string{"0.10 USD/1M", "0", "1 USD/1k", "0.000000001 USD/1M", "9999999999 USD/1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := ParseRate(text)
		if err != nil {
			return
		}
		if rate < 0 || rate > rateMax {
			t.Errorf("%q: %d", text, rate)
		}
		if again, err := ParseRate(rate.String()); again != rate || err != nil {
			t.Errorf("%q: %d is written %q and read %d, %v", text, rate, rate, again, err)
		}
	})
}

// By hand, at the rates of the price: exact, and rounded up once at the end.
func TestCost(t *testing.T) {
	p := parse(t, map[string]string{"input": "2 USD/1M", "output": "10 USD/1M", "cache_read": "0.20 USD/1M", "web_search": "0.01 USD", "call": "0.002 USD"})
	fine := parse(t, map[string]string{"input": "0.0000001 USD/1M", "output": "0"})
	for _, c := range []struct {
		name string
		p    *Price
		q    ledger.Quantities
		want ledger.Nano
	}{
		{"nothing", p, ledger.Quantities{}, 0},
		{"a token each", p, ledger.Quantities{InputTokens: 1, OutputTokens: 1}, 2_000 + 10_000},
		{"a million", p, ledger.Quantities{InputTokens: 1_000_000}, 2 * ledger.USD},
		{"read from a cache", p, ledger.Quantities{CacheReadTokens: 5}, 1_000},
		{"written to a cache without a price: as input", p, ledger.Quantities{CacheWriteTokens: 5}, 10_000},
		{"written for long: twice that", p, ledger.Quantities{CacheWrite1hTokens: 5}, 20_000},
		{"reasoning: as output", p, ledger.Quantities{ReasoningTokens: 3}, 30_000},
		{"a call and two searches", p, ledger.Quantities{Calls: 1, WebSearches: 2}, 2_000_000 + 20_000_000},
		{"negative counts are nothing", p, ledger.Quantities{InputTokens: -5, OutputTokens: 1, Calls: -1}, 10_000},
		{"a ten-thousandth of a nano rounds up", fine, ledger.Quantities{InputTokens: 1}, 1},
		{"not twice", fine, ledger.Quantities{InputTokens: 10_000}, 1},
		{"past a whole one", fine, ledger.Quantities{InputTokens: 10_001}, 2},
		{"free", Free(), ledger.Quantities{InputTokens: 1e9, OutputTokens: 1e9, WebSearches: 9, Calls: 1}, 0},
		{"more than fits", parse(t, map[string]string{"input": "1000000 USD/1M", "output": "0"}), ledger.Quantities{InputTokens: 1 << 62}, 1<<63 - 1},
	} {
		if got := c.p.Cost(&c.q, ""); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if p.Exact(&ledger.Quantities{CacheWriteTokens: 1}) || !p.Exact(&ledger.Quantities{InputTokens: 1, CacheReadTokens: 1, ReasoningTokens: 1, WebSearches: 1}) {
		t.Error("an assumed rate is an estimate, a known one is not")
	}
	if p.Exact(&ledger.Quantities{Seconds: 1}) {
		t.Error("seconds have no price: their cost is not known")
	}
}

// The same sums in fractions of any size.
func TestCostIsTheExactSum(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	c := catalog(t)
	names := c.Models("openai")
	names = append(names, "")
	fine := parse(t, map[string]string{"input": "0.000000007 USD/1M", "output": "3.333333333 USD/1M"})
	for range 5_000 {
		p := fine
		if n := names[r.IntN(len(names))]; n != "" {
			p, _ = c.Lookup("openai", n, day)
		}
		n := func() int64 { return r.Int64N(1 << r.IntN(24)) }
		q := ledger.Quantities{
			InputTokens: n(), OutputTokens: n(), CacheReadTokens: n(), CacheWriteTokens: n(), CacheWrite1hTokens: n(), ReasoningTokens: n(),
			AudioInputTokens: n(), AudioOutputTokens: n(), ImageTokens: n(), WebSearches: r.Int64N(9), Calls: 1,
		}
		service := []string{"", "flex", "batch", "priority"}[r.IntN(4)]
		rates := &p.Rates
		for _, tier := range p.Tiers {
			if q.InputTokens+q.CacheReadTokens+q.CacheWriteTokens+q.CacheWrite1hTokens+q.AudioInputTokens > tier.Above {
				rates = &tier.Rates
			}
		}
		want := new(big.Rat)
		for i, tokens := range []int64{q.InputTokens, q.OutputTokens, q.CacheReadTokens, q.CacheWriteTokens, q.CacheWrite1hTokens, q.ReasoningTokens, q.AudioInputTokens, q.AudioOutputTokens, q.ImageTokens} {
			want.Add(want, new(big.Rat).SetInt(new(big.Int).Mul(big.NewInt(tokens), big.NewInt(int64(*rates.tokenRates()[i])))))
		}
		if f := p.factor(service); f.Den != 0 {
			want.Mul(want, big.NewRat(f.Num, f.Den))
		}
		want.Quo(want, big.NewRat(perRate, 1))
		want.Add(want, new(big.Rat).SetInt64(q.WebSearches*int64(rates.WebSearch)+int64(rates.Call)))
		got := new(big.Rat).SetInt64(int64(p.Cost(&q, service)))
		// Rounded up, and by less than two: the factor rounds its sum up to a millionth before.
		if d := new(big.Rat).Sub(got, want); d.Sign() < 0 || d.Cmp(big.NewRat(2, 1)) >= 0 {
			t.Fatalf("%s %s %+v: %s, exactly %s", p.Name, service, q, got, want.FloatString(9))
		}
	}
}

func TestALongPromptReratesTheWholeCall(t *testing.T) {
	p, ok := catalog(t).Lookup("gemini", "gemini-3.1-pro-preview", day)
	if !ok {
		t.Fatal("no row")
	}
	q := ledger.Quantities{InputTokens: 150_000, CacheReadTokens: 50_000, OutputTokens: 1_000}
	if got, want := p.Cost(&q, ""), ledger.Nano(150_000*2_000+50_000*200+1_000*12_000); got != want {
		t.Errorf("at the threshold %d, want %d", got, want)
	}
	q.InputTokens++
	if got, want := p.Cost(&q, ""), ledger.Nano(150_001*4_000+50_000*400+1_000*18_000); got != want {
		t.Errorf("above it %d, want %d", got, want)
	}
	if got, want := p.Cost(&q, "flex"), p.Cost(&q, "")/2; got != want {
		t.Errorf("flex %d, want half: %d", got, want)
	}
	if got, want := p.Cost(&q, "priority"), p.Cost(&q, "")*9/5; got != want {
		t.Errorf("priority %d, want %d", got, want)
	}
	if p.Cost(&q, "standard") != p.Cost(&q, "") {
		t.Error("an unknown tier that is not a dear one is the standard one")
	}
}

func TestLookupIsStrict(t *testing.T) {
	c := catalog(t)
	for _, n := range []struct {
		kind, model, want string
	}{
		{"openai", "gpt-5.2", "openai/gpt-5.2"},
		{"openai", "gpt-5.2-2025-12-11", "openai/gpt-5.2"},
		{"anthropic", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"},
		{"anthropic", "claude-haiku-4-5@20251001", "anthropic/claude-haiku-4-5"},
		{"openai", "gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"}, // dearer than its successors under the name
		{"openai", "gpt-5.2-2025-13-11", ""},
		{"openai", "gpt-5.2-11111111", ""},
		{"openai", "gpt-5.2-turbo", ""},
		{"openai", "gpt-5.2 ", ""},
		{"openai", "GPT-5.2", ""},
		{"openai", "openai/gpt-5.2", ""},
		{"openai", "-2025-12-11", ""},
		{"openai", "", ""},
		{"groq", "gpt-5.2", ""},
		{"ollama", "gpt-5.2", ""},
		{"openai", "claude-haiku-4-5", ""},
	} {
		p, ok := c.Lookup(n.kind, n.model, day)
		if got := ""; ok {
			if got = p.Name; got != n.want {
				t.Errorf("%s %q: priced as %s, want %q", n.kind, n.model, got, n.want)
			}
		} else if n.want != "" {
			t.Errorf("%s %q is not known", n.kind, n.model)
		}
	}
}

func TestAnAnnouncedPriceHoldsFromItsDay(t *testing.T) {
	c := catalog(t)
	for _, at := range []struct {
		now  time.Time
		want ledger.Nano
	}{
		{day, 750},
		{time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), 750},
		{time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), 1_500},
		{time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), 750},
	} {
		p, _ := c.Lookup("gemini", "gemini-3.6-flash", at.now)
		if got := p.Cost(&ledger.Quantities{InputTokens: 1}, ""); got != at.want {
			t.Errorf("%s: %d, want %d", at.now, got, at.want)
		}
	}
}

func TestEveryRowOfTheCatalogIsSound(t *testing.T) {
	c := catalog(t)
	if c.Version != "2026-11-24" {
		t.Errorf("version %q", c.Version)
	}
	rows := 0
	for n, list := range c.rows {
		for _, d := range list {
			rows++
			p := d.price
			if p.Rates.Input == 0 && p.Rates.Output == 0 {
				t.Errorf("%s costs nothing: what is free says so in the config", p.Name)
			}
			if p.Source == "" || p.List != c.Version || p.AsOf != c.Version {
				t.Errorf("%s: source %q, list %q, day %q", p.Name, p.Source, p.List, p.AsOf)
			}
			if p.Rates.Input > Rate(1000*ledger.USD) || p.Rates.Output > Rate(1000*ledger.USD) {
				t.Errorf("%s: %s in, %s out: a unit is wrong", p.Name, p.Rates.Input, p.Rates.Output)
			}
			last := &p.Rates
			for i := range p.Tiers {
				r := &p.Tiers[i].Rates
				if r.Input < last.Input || r.Output < last.Output || r.CacheRead < last.CacheRead || r.CacheWrite5m < last.CacheWrite5m {
					t.Errorf("%s: a longer prompt is cheaper: a worst case would not be one", p.Name)
				}
				last = r
			}
			for service, f := range p.Service {
				if f.Num*10 < f.Den || f.Num > 10*f.Den {
					t.Errorf("%s: %s is %d/%d of the standard price", p.Name, service, f.Num, f.Den)
				}
			}
			if n.vendor+"/"+n.model != p.Name {
				t.Errorf("%v is named %s", n, p.Name)
			}
		}
	}
	if rows < 1500 {
		t.Errorf("only %d rows", rows)
	}
	for _, must := range [][2]string{
		{"openai", "gpt-5.2"}, {"openai", "gpt-5-mini"}, {"openai", "text-embedding-3-small"}, {"anthropic", "claude-opus-5-5"}, {"gemini", "gemini-2.5-flash"},
		{"groq", "llama-3.3-70b-versatile"}, {"mistral", "mistral-large-latest"}, {"xai", "grok-4.3"}, {"deepseek", "deepseek-chat"}, {"azure", "gpt-4o"},
	} {
		if _, ok := c.Lookup(must[0], must[1], day); !ok {
			t.Errorf("%v is missing", must)
		}
	}
}

func TestABrokenCatalogIsRefusedByLine(t *testing.T) {
	const head = "# List prices as of 2026-11-24.\n" + columnLine + "\n"
	good := "openai,m,,1,2,,,,,,,,,,1000,100,200:2/4///////,flex=0.5,x\n"
	if _, err := readCatalog(head + good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no day":               columnLine + "\n" + good,
		"a column too few":     head + "openai,m,,1,2\n",
		"no number":            head + strings.Replace(good, ",1,2,", ",one,2,", 1),
		"no price":             head + strings.Replace(good, ",1,2,", ",,,", 1),
		"twice":                head + good + good,
		"no date":              head + strings.Replace(good, "m,,", "m,soon,", 1),
		"limit":                head + strings.Replace(good, "1000,100", "-1,100", 1),
		"tier without above":   head + strings.Replace(good, "200:", "x:", 1),
		"tier of other kinds":  head + strings.Replace(good, "2/4///////", "2/4/1//////", 1),
		"tier too short":       head + strings.Replace(good, "2/4///////", "2/4", 1),
		"tiers that fall":      head + strings.Replace(good, "200:2/4///////", "200:2/4/////// 100:2/4///////", 1),
		"service without size": head + strings.Replace(good, "flex=0.5", "flex", 1),
	} {
		if _, err := readCatalog(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFind(t *testing.T) {
	c := catalog(t)
	own := parse(t, map[string]string{"input": "7 USD/1M", "output": "7 USD/1M"})
	special := parse(t, map[string]string{"call": "0.5 USD"})
	for _, f := range []struct {
		name  string
		terms Terms
		model string
		cost  ledger.Nano
		list  string
	}{
		{"the catalog's", Terms{Provider: "openai", Kind: "openai"}, "gpt-5.2", 1_750, "2026-11-24"},
		{"declared wins", Terms{Provider: "openai", Kind: "openai", Price: own}, "gpt-5.2", 7_000, "config"},
		{"the model's own wins", Terms{Provider: "p", Kind: "openai", Price: own, Models: map[string]*Price{"m": special}}, "m", 500_000_000, "config"},
		{"declared free", Terms{Provider: "p", Kind: "ollama", Price: Free()}, "any", 0, "config"},
		{"allowed without", Terms{Provider: "p", Kind: "ollama", Unpriced: true}, "any", 0, "unpriced"},
		{"allowed without, but known", Terms{Provider: "p", Kind: "openai", Unpriced: true}, "gpt-5.2", 1_750, "2026-11-24"},
	} {
		p, err := c.Find(&f.terms, f.model, day)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		q := ledger.Quantities{InputTokens: 1, Calls: 1}
		if got := p.Cost(&q, ""); got != f.cost || p.List != f.list {
			t.Errorf("%s: costs %d by %s, want %d by %s", f.name, got, p.List, f.cost, f.list)
		}
		if exact := p.Exact(&q); exact != (p.List != "unpriced") {
			t.Errorf("%s: exact is %v", f.name, exact)
		}
	}
	p, _ := c.Find(&Terms{Kind: "openai", Price: own}, "gpt-5.2", day)
	if p.Limits.Output != 128_000 || own.Limits.Output != 0 {
		t.Errorf("a declared price keeps the catalog's limits, and is not changed: %+v %+v", p.Limits, own.Limits)
	}
	_, err := c.Find(&Terms{Provider: "mine", Kind: "custom"}, "m", day)
	if !errors.Is(err, ErrUnknownPrice) || !strings.Contains(err.Error(), "providers.mine") || !strings.Contains(err.Error(), "unpriced: allow") {
		t.Errorf("%v", err)
	}
}

func TestDeclaredPrices(t *testing.T) {
	for name, fields := range map[string]map[string]string{
		"": {}, "inputs": {"inputs": "1 USD/1M"}, "output": {"input": "1 USD/1M"}, "input": {"output": "1 USD/1M"},
		"call": {"call": "1 USD/1M"}, "web_search": {"input": "0", "output": "0", "web_search": "x"}, "cache_read": {"input": "1 USD/1M", "output": "1 USD/1M", "cache_read": "half"},
	} {
		_, err := Parse(fields)
		var fault *FieldError
		if !errors.As(err, &fault) || name != "" && fault.Field != name {
			t.Errorf("%v: %v", fields, err)
		}
	}
	units := parse(t, map[string]string{"input": "1 USD/1M", "output": "2 USD/1M", "web_search": "0.5 USD"}).Units()
	if want := (map[string]ledger.Nano{"input": 1_000_000_000, "output": 2_000_000_000, "web_search": 500_000_000}); !maps.Equal(units, want) {
		t.Errorf("%v", units)
	}
	for text, want := range map[string]ledger.Nano{"0": 0, "0.001 USD": 1_000_000} {
		p, err := ParseScalar(text)
		if err != nil || p.Cost(&ledger.Quantities{InputTokens: 5, Calls: 1}, "priority") != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseScalar("free"); err == nil {
		t.Error("free is written 0")
	}
}

func BenchmarkCost(b *testing.B) {
	p, _ := catalog(b).Lookup("openai", "gpt-5.6", day)
	q := ledger.Quantities{InputTokens: 12_000, CacheReadTokens: 40_000, OutputTokens: 800, ReasoningTokens: 200, Calls: 1}
	b.ReportAllocs()
	for b.Loop() {
		p.Cost(&q, "")
	}
}

func BenchmarkFind(b *testing.B) {
	c := catalog(b)
	terms := Terms{Provider: "openai", Kind: "openai"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Find(&terms, "gpt-5.2-2025-12-11", day); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEmbedded(b *testing.B) {
	for b.Loop() {
		if _, err := Embedded(); err != nil {
			b.Fatal(err)
		}
	}
}
