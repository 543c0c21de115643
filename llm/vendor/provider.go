package vendor

import (
	"fmt"
	"slices"
	"strings"
)

// Declared is what the config says of a provider.
type Declared struct {
	Name     string    // the provider's name in the config
	Kind     string    // empty: the row of that name, else custom when base_url and dialects are given
	BaseURL  string    // empty: the row's
	Dialects []Dialect // empty: the row's
}

// Provider is a declared provider made ready: its row and an endpoint for each dialect it speaks. Immutable, safe for
// concurrent use.
type Provider struct {
	Name      string
	Vendor    *Vendor
	Base      string // as declared, or the row's
	Dialects  []Dialect
	endpoints map[Dialect]Endpoint
}

// New makes d ready; getenv (os.Getenv) is asked for the variables of rows whose address needs one. Errors are ErrKind,
// ErrBase or ErrDialect and say what to write.
func New(d Declared, getenv func(string) string) (*Provider, error) {
	v, err := rowOf(d)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", d.Name, err)
	}
	p := &Provider{Name: d.Name, Vendor: v, Base: d.BaseURL, Dialects: d.Dialects, endpoints: map[Dialect]Endpoint{}}
	if p.Base == "" {
		if p.Base, err = v.Base(getenv); err != nil {
			return nil, fmt.Errorf("provider %s: %w", d.Name, err)
		}
	}
	if len(p.Dialects) == 0 {
		p.Dialects = v.Dialects
	}
	if len(p.Dialects) == 0 {
		return nil, fmt.Errorf("provider %s: %w: kind %s has no usual dialects: write `dialects:` with some of %s", d.Name, ErrDialect, v.Kind, v.spoken())
	}
	for _, dialect := range p.Dialects {
		if !dialect.Valid() {
			return nil, fmt.Errorf("provider %s: %w: there is no dialect %q: write some of %s", d.Name, ErrDialect, dialect, v.spoken())
		}
		if p.endpoints[dialect], err = v.Endpoint(p.Base, dialect); err != nil {
			return nil, fmt.Errorf("provider %s: %w", d.Name, err)
		}
	}
	return p, nil
}

func rowOf(d Declared) (*Vendor, error) {
	if d.Kind != "" {
		return Lookup(d.Kind)
	}
	if v, err := Lookup(d.Name); err == nil {
		return v, nil
	}
	if d.BaseURL != "" && len(d.Dialects) > 0 {
		return Lookup(Custom)
	}
	return nil, fmt.Errorf("%w %q: write `kind:` as one of %s, or `base_url:` and `dialects:` for any other", ErrKind, d.Name, strings.Join(Kinds(), ", "))
}

// Speaks reports whether p was declared, or is known, to speak d.
func (p *Provider) Speaks(d Dialect) bool { return slices.Contains(p.Dialects, d) }

// Endpoint returns where p takes requests of d; false when it does not speak d.
func (p *Provider) Endpoint(d Dialect) (Endpoint, bool) {
	e, ok := p.endpoints[d]
	return e, ok
}

// FromEnv returns the providers that the environment has a key for, in the table's order: what the starter offers.
// Local servers have none; the starter probes those of Locals.
func FromEnv(getenv func(string) string) []Found {
	var found []Found
	for i := range vendors {
		v := &vendors[i]
		key, name := v.Key(getenv)
		if key == "" || v.Local {
			continue
		}
		p, err := New(Declared{Name: v.Kind}, getenv)
		if err != nil {
			continue // its address needs a variable that is not set: the key alone is no use
		}
		found = append(found, Found{Provider: p, KeyEnv: name})
	}
	return found
}

// Found is a provider whose key is in the environment variable KeyEnv.
type Found struct {
	Provider *Provider
	KeyEnv   string
}

// Locals returns the model servers to look for on this machine, each at its usual address or the one its variable names.
func Locals(getenv func(string) string) []*Provider {
	var out []*Provider
	for i := range vendors {
		if !vendors[i].Local {
			continue
		}
		if p, err := New(Declared{Name: vendors[i].Kind}, getenv); err == nil {
			out = append(out, p)
		}
	}
	return out
}
