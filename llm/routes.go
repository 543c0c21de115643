package llm

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// target is one model at one provider.
type target struct {
	provider *provider
	model    policy.Model
	path     string // of model
	weight   int
	tier     int
}

// provider is a Provider made ready.
type provider struct {
	Provider
	urls    map[vendor.Dialect]*url.URL
	catalog []string   // the models that the price catalog lists for its vendor
	listed  discovered // what it says it has
}

// table is the compiled Routes. Immutable but for what providers say of themselves.
type table struct {
	providers map[string]*provider
	order     []*provider // as declared
	aliases   map[string][]*target
	prices    *price.Catalog
}

// compile makes the table, or says all that is wrong with r. What providers of before said of themselves is kept where
// they did not change.
func compile(r Routes, before *table) (*table, error) {
	t := &table{providers: map[string]*provider{}, aliases: map[string][]*target{}, prices: r.Prices}
	var errs []error
	if r.Prices == nil {
		errs = append(errs, errors.New("llm: no price catalog, so no call could be priced"))
	}
	for _, p := range r.Providers {
		errs = append(errs, t.addProvider(p, before))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Aliases)) {
		errs = append(errs, t.addAlias(name, r.Aliases[name]))
	}
	return t, errors.Join(errs...)
}

func (t *table) addProvider(p Provider, before *table) error {
	if p.Provider == nil {
		return errors.New("llm: a provider without its vendor's row")
	}
	if p.Name == "" || strings.Contains(p.Name, "/") {
		return fmt.Errorf("provider %q: a name without a slash is needed", p.Name)
	}
	if t.providers[p.Name] != nil {
		return fmt.Errorf("provider %s is declared twice", p.Name)
	}
	ready := &provider{Provider: p, urls: map[vendor.Dialect]*url.URL{}}
	if t.prices != nil {
		ready.catalog = t.prices.Models(p.Vendor.Kind)
	}
	for _, d := range vendor.Dialects() {
		e, ok := p.Endpoint(d)
		if !ok {
			continue
		}
		u, err := url.Parse(e.URL)
		if err != nil {
			return fmt.Errorf("provider %s: %w", p.Name, vendor.ErrBase)
		}
		ready.urls[d] = u
	}
	if before != nil {
		if old := before.providers[p.Name]; old != nil && old.Base == p.Base && old.Vendor == p.Vendor {
			ready.listed.adopt(&old.listed)
		}
	}
	t.providers[p.Name] = ready
	t.order = append(t.order, ready)
	return nil
}

func (t *table) addAlias(name string, uses []Target) error {
	if len(uses) == 0 || len(uses) > aliasTargets {
		return fmt.Errorf("model %s: it needs 1 to %d targets", name, aliasTargets)
	}
	var out []*target
	for _, use := range uses {
		tg, ok := t.direct(use.Use)
		if !ok {
			return fmt.Errorf("model %s: use %q names no declared provider: write provider/model", name, use.Use)
		}
		if use.Weight < 0 || use.Tier < 0 {
			return fmt.Errorf("model %s: weight and tier of %s must not be negative", name, use.Use)
		}
		tg.weight, tg.tier = max(use.Weight, 1), max(use.Tier, 1)
		out = append(out, tg)
	}
	slices.SortStableFunc(out, func(a, b *target) int { return cmp.Compare(a.tier, b.tier) })
	t.aliases[name] = out
	return nil
}

// direct reads provider/model; the model's name may have slashes of its own.
func (t *table) direct(name string) (*target, bool) {
	head, model, ok := strings.Cut(name, "/")
	p := t.providers[head]
	if !ok || p == nil || model == "" {
		return nil, false
	}
	return p.target(model), true
}

func (p *provider) target(model string) *target {
	return &target{provider: p, model: policy.Model{Provider: p.Name, Name: model}, path: p.Name + "/" + model, weight: 1, tier: 1}
}

// owners are the targets that a bare name can mean: one for each provider that has a model of that name.
func (t *table) owners(name string) []*target {
	var out []*target
	for _, p := range t.order {
		if slices.Contains(t.modelsOf(p), name) {
			out = append(out, p.target(name))
		}
	}
	return out
}

// modelsOf is what p has: as declared, else as it said, else what the catalog knows of its vendor.
func (t *table) modelsOf(p *provider) []string {
	if len(p.Models) > 0 {
		return p.Models
	}
	if names := p.listed.names(); len(names) > 0 {
		return names
	}
	return p.catalog
}

// speaks are the dialects of targets, sorted, for a caller who asked in another one.
func speaks(targets []*target) []string {
	var out []string
	for _, t := range targets {
		for _, d := range t.provider.Dialects {
			if d != vendor.Models && d != vendor.CountTokens && !slices.Contains(out, string(d)) {
				out = append(out, string(d))
			}
		}
	}
	slices.Sort(out)
	return out
}
