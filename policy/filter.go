package policy

import (
	"errors"
	"fmt"
)

// Filter narrows what rules allow for one key. It never widens. Safe for concurrent use.
type Filter struct {
	tools, models *expression
}

// CompileFilter compiles a key's own filters, each one a when expression over the tool or the model; empty narrows nothing.
// An error while a filter is evaluated leaves the tool or model out.
func CompileFilter(tools, models string) (*Filter, error) {
	var f Filter
	var errs []error
	for _, side := range [...]struct {
		name, text string
		scope      scope
		into       **expression
	}{
		{"tools", tools, scope{tools: true}, &f.tools},
		{"models", models, scope{models: true}, &f.models},
	} {
		if side.text == "" {
			continue
		}
		x, bad := compileExpression(side.text, side.scope, nil)
		if bad != nil {
			errs = append(errs, fmt.Errorf("%s: %s", side.name, bad.text))
		}
		*side.into = x
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &f, nil
}

func (f *Filter) admits(e *evaluator, c *Call) bool {
	x := f.tools
	if c.Model != nil {
		x = f.models
	}
	yes, err := e.holds(x, nil)
	return yes && err == nil
}
