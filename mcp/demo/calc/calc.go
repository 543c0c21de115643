// Package calc evaluates arithmetic: + - * / % ^, parentheses, some constants and functions.
//
// Numbers are exact fractions for as long as they can be, so 0.1+0.2 is 0.3 and 2^200 has all its digits; functions like
// sin work with the 53 bits of a float64. Nothing but arithmetic can be said in an expression, and its length, nesting
// and the size of its numbers are bounded.
package calc

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

const (
	expressionMax = 4096    // bytes of an expression
	depthMax      = 100     // nested parentheses, signs and powers
	bitsMax       = 1 << 15 // of a numerator or denominator: some 9,800 digits
	digitsMax     = 30      // of a result that is no whole number
	decimalsMin   = 10      // behind the point, however many digits are before it
	tiny          = 1e-20   // what is smaller is written with an exponent
)

// Eval evaluates an expression and returns its value in decimal. Whole numbers are exact; other values have 30 digits, and at
// least 10 behind the point.
func Eval(expression string) (string, error) {
	if len(expression) > expressionMax {
		return "", fmt.Errorf("the expression is longer than %d bytes", expressionMax)
	}
	p := &parser{text: expression}
	v, err := p.sum()
	if err != nil {
		return "", err
	}
	if p.space(); p.at < len(p.text) {
		return "", p.errorf("%q is not expected here", p.rest())
	}
	return format(v), nil
}

// format writes v without needless zeros.
func format(v *big.Rat) string {
	if v.IsInt() {
		return v.Num().String()
	}
	f, _ := v.Float64()
	if math.Abs(f) < tiny {
		const precision = 128 // bits: more than the digits shown
		return new(big.Float).SetPrec(precision).SetRat(v).Text('g', digitsMax)
	}
	digits := decimalsMin
	if !math.IsInf(f, 0) {
		digits = max(digits, digitsMax-1-int(math.Floor(math.Log10(math.Abs(f)))))
	}
	return strings.TrimRight(strings.TrimRight(v.FloatString(digits), "0"), ".")
}

// parser is a recursive descent over text: sum of products of powers.
type parser struct {
	text  string
	at    int
	depth int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("at position %d: "+format, append([]any{p.at + 1}, args...)...)
}

// rest is a short piece of what is not read yet.
func (p *parser) rest() string {
	const shown = 12
	return strings.ToValidUTF8(p.text[p.at:min(len(p.text), p.at+shown)], "?")
}

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// operator takes one of the operators in set, or returns 0.
func (p *parser) operator(set string) byte {
	p.space()
	if p.at < len(p.text) && strings.IndexByte(set, p.text[p.at]) >= 0 {
		p.at++
		return p.text[p.at-1]
	}
	return 0
}

// deeper guards the recursion.
func (p *parser) deeper() error {
	if p.depth++; p.depth > depthMax {
		return p.errorf("nested deeper than %d", depthMax)
	}
	return nil
}

func (p *parser) sum() (*big.Rat, error) {
	v, err := p.product()
	for err == nil {
		op := p.operator("+-")
		if op == 0 {
			return v, nil
		}
		var w *big.Rat
		if w, err = p.product(); err != nil {
			break
		}
		if op == '+' {
			v, err = bounded(new(big.Rat).Add(v, w))
		} else {
			v, err = bounded(new(big.Rat).Sub(v, w))
		}
	}
	return nil, err
}

func (p *parser) product() (*big.Rat, error) {
	v, err := p.signed()
	for err == nil {
		op := p.operator("*/%")
		if op == 0 {
			return v, nil
		}
		var w *big.Rat
		if w, err = p.signed(); err != nil {
			break
		}
		switch {
		case op == '*':
			v, err = bounded(new(big.Rat).Mul(v, w))
		case w.Sign() == 0:
			err = errors.New("division by zero")
		case op == '/':
			v, err = bounded(new(big.Rat).Quo(v, w))
		default:
			v, err = bounded(remainder(v, w))
		}
	}
	return nil, err
}

// remainder is v - w*trunc(v/w): it has the sign of v.
func remainder(v, w *big.Rat) *big.Rat {
	q := new(big.Rat).Quo(v, w)
	whole := new(big.Rat).SetInt(new(big.Int).Quo(q.Num(), q.Denom()))
	return new(big.Rat).Sub(v, whole.Mul(whole, w))
}

// signed binds looser than a power: -2^2 is -4.
func (p *parser) signed() (*big.Rat, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	switch p.operator("+-") {
	case '-':
		v, err := p.signed()
		if err != nil {
			return nil, err
		}
		return new(big.Rat).Neg(v), nil
	case '+':
		return p.signed()
	}
	return p.power()
}

// power is right associative: 2^3^2 is 2^9.
func (p *parser) power() (*big.Rat, error) {
	v, err := p.primary()
	if err != nil || p.operator("^") == 0 {
		return v, err
	}
	w, err := p.signed()
	if err != nil {
		return nil, err
	}
	return power(v, w)
}

func power(v, w *big.Rat) (*big.Rat, error) {
	switch {
	case v.Sign() == 0 && w.Sign() < 0:
		return nil, errors.New("division by zero")
	case !w.IsInt() || !w.Num().IsInt64():
		return approximate2(math.Pow, v, w)
	}
	n := w.Num().Int64()
	switch {
	case v.IsInt() && v.Num().BitLen() <= 1: // 0, 1 and -1 never grow
		n %= 2
		if w.Sign() != 0 && n == 0 {
			n = 2
		}
	case max(n, -n) > int64(bitsMax/max(v.Num().BitLen(), v.Denom().BitLen())) || n == math.MinInt64:
		return nil, errTooBig
	}
	e := big.NewInt(max(n, -n))
	num, den := new(big.Int).Exp(v.Num(), e, nil), new(big.Int).Exp(v.Denom(), e, nil)
	if n < 0 {
		num, den = den, num
	}
	return bounded(new(big.Rat).SetFrac(num, den))
}

var errTooBig = errors.New("the number becomes too big")

func bounded(v *big.Rat) (*big.Rat, error) {
	if v.Num().BitLen() > bitsMax || v.Denom().BitLen() > bitsMax {
		return nil, errTooBig
	}
	return v, nil
}

// primary is a number, a constant, a function of arguments, or a sum in parentheses.
func (p *parser) primary() (*big.Rat, error) {
	p.space()
	switch {
	case p.at == len(p.text):
		return nil, p.errorf("a number is missing")
	case p.operator("(") != 0:
		v, err := p.sum()
		if err != nil {
			return nil, err
		}
		if p.operator(")") == 0 {
			return nil, p.errorf("a closing parenthesis is missing")
		}
		return v, nil
	}
	if name := p.word(isLetter); name != "" {
		return p.named(name)
	}
	return p.number()
}

func isLetter(c byte, first bool) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || !first && c >= '0' && c <= '9'
}

// word takes the longest run of bytes that belong.
func (p *parser) word(belongs func(c byte, first bool) bool) string {
	start := p.at
	for p.at < len(p.text) && belongs(p.text[p.at], p.at == start) {
		p.at++
	}
	return p.text[start:p.at]
}

// number reads decimal digits with at most one point and an exponent.
func (p *parser) number() (*big.Rat, error) {
	start := p.at
	digits := func() string { return p.word(func(c byte, _ bool) bool { return c >= '0' && c <= '9' }) }
	n := len(digits())
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		n += len(digits())
	}
	if n == 0 {
		p.at = start
		return nil, p.errorf("a number is expected, not %q", p.rest())
	}
	if end := p.at; end < len(p.text) && p.text[end]|0x20 == 'e' {
		p.at++
		if p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		switch exponent := digits(); {
		case exponent == "":
			p.at = end // not an exponent: 2e is 2 followed by something wrong
		case len(exponent) > 4:
			return nil, errTooBig
		}
	}
	v, ok := new(big.Rat).SetString(p.text[start:p.at])
	if !ok {
		return nil, p.errorf("not a number")
	}
	return bounded(v)
}
