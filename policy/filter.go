package policy

import (
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/policy/condition"
)

// Filter narrows what rules allow for one key. It never widens. Safe for concurrent use.
type Filter struct {
	tools, models *condition.Expression
}

// CompileFilter compiles a key's own filters, each one a when expression over the tool or the model; empty narrows nothing.
// An error while a filter is evaluated leaves the tool or model out.
func CompileFilter(tools, models string) (*Filter, error) {
	var f Filter
	var errs []error
	for _, side := range [...]struct {
		name, text string
		scope      condition.Scope
		into       **condition.Expression
	}{
		{"tools", tools, condition.Scope{Tools: true}, &f.tools},
		{"models", models, condition.Scope{Models: true}, &f.models},
	} {
		if side.text == "" {
			continue
		}
		x, err := condition.Compile(side.text, side.scope, nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", side.name, err))
		}
		*side.into = x
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &f, nil
}

func (f *Filter) admits(e *condition.Evaluator, c *Call) bool {
	x := f.tools
	if c.Model != nil {
		x = f.models
	}
	yes, err := e.Holds(x, nil)
	return yes && err == nil
}
