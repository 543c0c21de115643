package price

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// Terms are what the config says of a provider's prices.
type Terms struct {
	Provider string            // its name, for the error
	Kind     string            // its vendor kind: whose list prices hold
	Price    *Price            // price: for every model without a price of its own
	Models   map[string]*Price // prices by model
	Unpriced bool              // unpriced: allow: a model that nothing prices costs nothing, and its entries say so
}

// Find returns what model costs under t at the instant now: as declared for the model, else as declared for the
// provider, else as the catalog lists it. Declared prices keep the limits that the catalog knows. Otherwise the error is
// ErrUnknownPrice and says what to write.
func (c *Catalog) Find(t *Terms, model string, now time.Time) (*Price, error) {
	listed, ok := c.Lookup(t.Kind, model, now)
	own := t.Price
	if p := t.Models[model]; p != nil {
		own = p
	}
	switch {
	case own != nil && ok && own.Limits == (Limits{}):
		p := *own
		p.Limits = listed.Limits
		return &p, nil
	case own != nil:
		return own, nil
	case ok:
		return listed, nil
	case t.Unpriced:
		return unpriced(), nil
	}
	return nil, fmt.Errorf("%w of model %q at provider %s: write `price: {input: 0.10 USD/1M, output: 0.40 USD/1M}`, `price: 0` or `unpriced: allow` under providers.%s",
		ErrUnknownPrice, model, t.Provider, t.Provider)
}

// unpriced is the price of models that are allowed without one.
func unpriced() *Price {
	p := (&Price{Name: noPrice, List: noPrice}).build(Input | Output)
	p.Assumed |= Input | Output
	return p
}

// FieldError is a fault in one field of a declared price.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return "price, " + e.Field + ": " + e.Err.Error() }

// Unwrap returns the fault.
func (e *FieldError) Unwrap() error { return e.Err }

// fieldOf returns where the field of a declared price goes: a rate, or money for what is not counted in tokens.
func (r *Rates) fieldOf(name string) (*Rate, *ledger.Nano, Field) {
	switch name {
	case "web_search":
		return nil, &r.WebSearch, WebSearch
	case "call":
		return nil, &r.Call, Call
	}
	if i := slices.Index(rateNames[:], name); i >= 0 {
		return r.tokenRates()[i], nil, 1 << i
	}
	return nil, nil, 0
}

// Free is the price `0`: declared, and nothing.
func Free() *Price {
	return (&Price{Name: declared, List: declared, Source: declared}).build(everything)
}

const everything = Call<<1 - 1

// Parse reads a declared price: rates as "0.10 USD/1M", web_search and call as "0.001 USD", each also "0". One that names
// tokens must name both input and output, so that neither is free by omission. Errors are *FieldError.
func Parse(fields map[string]string) (*Price, error) {
	p := &Price{Name: declared, List: declared, Source: declared}
	known := Field(0)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		rate, money, field := p.Rates.fieldOf(name)
		var err error
		switch {
		case rate != nil:
			*rate, err = ParseRate(fields[name])
		case money != nil:
			*money, err = ParseMoney(fields[name])
		default:
			err = fmt.Errorf("there is no such field: write some of %s, web_search, call", strings.Join(rateNames[:], ", "))
		}
		if err != nil {
			return nil, &FieldError{name, err}
		}
		known |= field
	}
	tokens := known &^ (Call | WebSearch)
	switch {
	case tokens == 0 && known&Call == 0:
		return nil, &FieldError{"input", fmt.Errorf("%w: write input and output, or call", ErrMoney)}
	case tokens == 0:
		known |= Input | Output // priced by the call: tokens are free
	case known&Input == 0:
		return nil, &FieldError{"input", fmt.Errorf("%w: write it too, 0 if input is free", ErrMoney)}
	case known&Output == 0:
		return nil, &FieldError{"output", fmt.Errorf("%w: write it too, 0 if output is free", ErrMoney)}
	}
	return p.build(known), nil
}

// ParseScalar reads a price that is one word: "0" is free, an amount such as "0.001 USD" is per call.
func ParseScalar(text string) (*Price, error) {
	if strings.TrimSpace(text) == "0" {
		return Free(), nil
	}
	return Parse(map[string]string{"call": text})
}
