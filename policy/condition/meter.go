package condition

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm/runtime"
)

// An expression cannot be stopped from outside, so it counts its own steps: one per turn of a loop, and more where a
// builtin reads a text or list that the caller chose. Each expression has its own allowance, so that what a rule
// decides does not depend on its neighbours; a decision that needs more than all of them may have is a denial.
const (
	StepsMax         = 20_000  // of one expression: some 10 ms
	DecisionStepsMax = 100_000 // of a decision, all its expressions together
)

// meter counts the steps of one evaluation. It is used by one goroutine.
type meter struct {
	left  int // of the expression
	total int // spent by the decision
}

var errSteps = &evalError{fmt.Sprintf("the arguments need more than %d steps", StepsMax)}

func (m *meter) pay(steps int) error {
	m.left -= steps
	m.total += steps
	if m.left < 0 {
		return errSteps
	}
	return nil
}

// payFor pays for one pass over v, a text at per bytes to the step, a list or an object by its members.
func (m *meter) payFor(v any, per int) error {
	switch v := v.(type) {
	case string:
		return m.pay(len(v) / per)
	case []any:
		return m.pay(len(v))
	case []string:
		return m.pay(len(v))
	case map[string]any:
		return m.pay(len(v))
	}
	return nil
}

// guards are the functions that hardener puts into expressions.
func guards() []expr.Option {
	return []expr.Option{
		expr.Function(fnGet, func(p ...any) (any, error) { return get(p[0], p[1], p[2].(string), false) }),
		expr.Function(fnMaybe, func(p ...any) (any, error) { return get(p[0], p[1], p[2].(string), true) }),
		expr.Function(fnStep, func(p ...any) (any, error) { return p[0], p[1].(*meter).pay(1) }),
		expr.Function(fnPay, func(p ...any) (any, error) { return p[0], p[1].(*meter).payFor(p[0], p[2].(int)) }),
		expr.Function(fnEqual, func(p ...any) (any, error) { return equal(p[0], p[1], p[2].(*meter)) }),
		expr.Function(fnIn, func(p ...any) (any, error) { return in(p[0], p[1], p[2].(*meter)) }),
		expr.Function(fnMath, func(p ...any) (any, error) { return calculate(p[3].(string), p[0], p[1], p[2].(*meter)) }),
	}
}

// get reads a member. A missing one is an error, and so is a null, unless the rule says that it may be missing.
func get(from, name any, path string, optional bool) (any, error) {
	var value any
	switch from := from.(type) {
	case map[string]any:
		key, ok := name.(string)
		if !ok {
			return nil, &evalError{path + " needs a text to choose the member"}
		}
		value = from[key]
	case []any:
		value = item(from, name)
	case []string:
		value = item(from, name)
	case []int:
		value = item(from, name)
	case nil:
	default:
		return nil, &evalError{path + " is read from something that has no members"}
	}
	if value == nil && !optional {
		return nil, &evalError{path + " is missing"}
	}
	return value, nil
}

// item returns list[index], counted from the end when negative, or nil.
func item[T any](list []T, index any) any {
	i, ok := index.(int)
	if i < 0 {
		i += len(list)
	}
	if !ok || i < 0 || i >= len(list) {
		return nil
	}
	return list[i]
}

func scalar(v any) bool {
	switch v.(type) {
	case nil, string, bool, int, float64:
		return true
	}
	return false
}

// equal compares values of which at least one is a scalar: lists and objects have no size that the rule could know.
func equal(a, b any, m *meter) (any, error) {
	if !scalar(a) && !scalar(b) {
		return nil, &evalError{"lists and objects are not compared as a whole"}
	}
	if s, ok := a.(string); ok {
		if err := m.payFor(s, bytesPerStep["compare"]); err != nil {
			return nil, err
		}
	}
	return scalar(a) && scalar(b) && runtime.Equal(a, b), nil
}

// in reports whether the list has the item, or the object a member of that name.
func in(item, list any, m *meter) (any, error) {
	if err := m.payFor(list, 1); err != nil {
		return nil, err
	}
	switch list := list.(type) {
	case nil:
		return false, nil
	case []string:
		s, ok := item.(string)
		return ok && slices.Contains(list, s), nil
	case []int:
		for _, x := range list {
			if scalar(item) && runtime.Equal(item, x) {
				return true, nil
			}
		}
		return false, nil
	case []any:
		for _, x := range list {
			same, err := equal(item, x, m)
			if err != nil || same == true {
				return same, err
			}
		}
		return false, nil
	case map[string]any:
		name, ok := item.(string)
		if ok {
			_, ok = list[name]
		}
		return ok, nil
	}
	return nil, &evalError{"in looks into lists and objects"}
}

var errRange = &evalError{"a number is out of range"}

// calculate is + - * / ** on values of which one at least comes from outside the rule. Numbers that leave their range
// would compare as anything, so they are errors; so is a text longer than an argument may be.
func calculate(op string, a, b any, m *meter) (any, error) {
	if s, ok := a.(string); ok && op == "+" {
		t, ok := b.(string)
		if !ok || len(s)+len(t) > argTextBytesMax {
			return nil, errRange
		}
		return s + t, m.pay((len(s) + len(t)) / textBytesPerStep)
	}
	return arithmetic(op, a, b)
}

func arithmetic(op string, a, b any) (any, error) {
	x, okX := a.(int)
	y, okY := b.(int)
	if okX && okY && op != "/" && op != "**" && op != "^" {
		return whole(op, x, y)
	}
	f, okF := number(a)
	g, okG := number(b)
	if !okF || !okG {
		return nil, &evalError{"numbers are calculated with numbers only"}
	}
	var out float64
	switch op {
	case "+":
		out = f + g
	case "-":
		out = f - g
	case "*":
		out = f * g
	case "/":
		out = f / g
	default:
		out = math.Pow(f, g)
	}
	if !finite(out) {
		return nil, errRange
	}
	return out, nil
}

// whole is exact or an error. The least int counts as out of range: it has no negative.
func whole(op string, x, y int) (any, error) {
	var out int
	exact := true
	switch op {
	case "+":
		out = x + y
		exact = (out > x) == (y > 0)
	case "-":
		out = x - y
		exact = (out < x) == (y > 0)
	default:
		hi, lo := bits.Mul64(magnitude(x), magnitude(y))
		out = x * y
		exact = hi == 0 && lo <= math.MaxInt64
	}
	if !exact || out == math.MinInt {
		return nil, errRange
	}
	return out, nil
}

func magnitude(x int) uint64 {
	if x < 0 {
		return uint64(-x)
	}
	return uint64(x)
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
