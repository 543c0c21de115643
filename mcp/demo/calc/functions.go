package calc

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// argumentsMax bounds the arguments of min and max.
const argumentsMax = 100

// constant returns a named number.
func constant(name string) (float64, bool) {
	switch name {
	case "pi":
		return math.Pi, true
	case "tau":
		return 2 * math.Pi, true
	case "e":
		return math.E, true
	case "phi":
		return math.Phi, true
	}
	return 0, false
}

// float returns the functions of one argument that work on a float64.
func float(name string) func(float64) float64 {
	switch name {
	case "cbrt":
		return math.Cbrt
	case "exp":
		return math.Exp
	case "ln":
		return math.Log
	case "log", "log10":
		return math.Log10
	case "log2":
		return math.Log2
	case "sin":
		return math.Sin
	case "cos":
		return math.Cos
	case "tan":
		return math.Tan
	case "asin":
		return math.Asin
	case "acos":
		return math.Acos
	case "atan":
		return math.Atan
	}
	return nil
}

// named evaluates a constant, or a function once its arguments are read.
func (p *parser) named(name string) (*big.Rat, error) {
	name = strings.ToLower(name)
	if v, ok := constant(name); ok {
		return rational(v)
	}
	if p.operator("(") == 0 {
		return nil, p.errorf("%s is no constant: there are pi, tau, e and phi", name)
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var args []*big.Rat
	for {
		v, err := p.sum()
		if err != nil {
			return nil, err
		}
		if args = append(args, v); len(args) > argumentsMax {
			return nil, p.errorf("more than %d arguments", argumentsMax)
		}
		if p.operator(",") != 0 {
			continue
		}
		if p.operator(")") == 0 {
			return nil, p.errorf("a closing parenthesis is missing")
		}
		break
	}
	v, err := apply(name, args)
	if errors.Is(err, errArguments) {
		return nil, p.errorf("%s does not take %d arguments", name, len(args))
	}
	if errors.Is(err, errFunction) {
		return nil, p.errorf("there is no function %s: use abs, sign, floor, ceil, round, min, max, sqrt, cbrt, exp, ln, log, log2, "+
			"sin, cos, tan, asin, acos, atan, atan2 or hypot", name)
	}
	return v, err
}

var (
	errArguments = errors.New("wrong number of arguments")
	errFunction  = errors.New("unknown function")
)

func apply(name string, args []*big.Rat) (*big.Rat, error) {
	x := args[0]
	if f := float(name); f != nil {
		if len(args) != 1 {
			return nil, errArguments
		}
		return approximate(f, x)
	}
	want := 1
	var f func() (*big.Rat, error)
	switch name {
	case "min", "max":
		want = len(args)
		f = func() (*big.Rat, error) { return extreme(name, args), nil }
	case "abs":
		f = func() (*big.Rat, error) { return new(big.Rat).Abs(x), nil }
	case "sign":
		f = func() (*big.Rat, error) { return new(big.Rat).SetInt64(int64(x.Sign())), nil }
	case "floor":
		f = func() (*big.Rat, error) { return floor(x), nil }
	case "ceil":
		f = func() (*big.Rat, error) { return new(big.Rat).Neg(floor(new(big.Rat).Neg(x))), nil }
	case "round":
		f = func() (*big.Rat, error) { return round(x), nil }
	case "sqrt":
		f = func() (*big.Rat, error) { return sqrt(x) }
	case "atan2", "hypot":
		want = 2
		of := math.Hypot
		if name == "atan2" {
			of = math.Atan2
		}
		f = func() (*big.Rat, error) { return approximate2(of, x, args[1]) }
	default:
		return nil, errFunction
	}
	if len(args) != want {
		return nil, errArguments
	}
	return f()
}

func extreme(name string, args []*big.Rat) *big.Rat {
	best := args[0]
	for _, v := range args[1:] {
		if c := v.Cmp(best); name == "min" && c < 0 || name == "max" && c > 0 {
			best = v
		}
	}
	return best
}

func floor(x *big.Rat) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Div(x.Num(), x.Denom())) // Euclidean, and the denominator is positive
}

// round rounds halves away from zero.
func round(x *big.Rat) *big.Rat {
	half := big.NewRat(1, 2)
	if x.Sign() < 0 {
		return new(big.Rat).Neg(floor(half.Add(half, new(big.Rat).Neg(x))))
	}
	return floor(half.Add(half, x))
}

// sqrt is exact for squares of fractions.
func sqrt(x *big.Rat) (*big.Rat, error) {
	if x.Sign() < 0 {
		return nil, errNotReal
	}
	num, den := new(big.Int).Sqrt(x.Num()), new(big.Int).Sqrt(x.Denom())
	r := new(big.Rat).SetFrac(num, den)
	if new(big.Rat).Mul(r, r).Cmp(x) == 0 {
		return r, nil
	}
	const precision = 128 // bits: more digits than are shown
	f := new(big.Float).SetPrec(precision).SetRat(x)
	root, _ := f.Sqrt(f).Rat(nil)
	return bounded(root)
}

var errNotReal = errors.New("the result is not a real number, or too big for this function")

func approximate(f func(float64) float64, x *big.Rat) (*big.Rat, error) {
	v, _ := x.Float64()
	return rational(f(v))
}

func approximate2(f func(x, y float64) float64, x, y *big.Rat) (*big.Rat, error) {
	v, _ := x.Float64()
	w, _ := y.Float64()
	return rational(f(v, w))
}

// rational is f as the shortest decimal that means it: sin(pi/6) is 0.49999999999999994, not 53 bits written out.
func rational(f float64) (*big.Rat, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errNotReal
	}
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	if !ok {
		return nil, errNotReal
	}
	return bounded(r)
}
