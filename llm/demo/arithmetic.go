package demo

import (
	"math/big"
	"strings"
)

// The bounds of an expression: what is longer or deeper is no sum that somebody asks a demo.
const (
	expressionMax = 120
	depthMax      = 20
)

// arithmetic finds the first expression with an operator in text and returns it with its exact value.
func arithmetic(text string) (expression, value string, ok bool) {
	const signs = "0123456789.+-*/() "
	for start := 0; start < len(text); start++ {
		if !strings.ContainsRune("0123456789(-", rune(text[start])) || start > 0 && nameByte(text[start-1]) {
			continue
		}
		end := start
		for end < len(text) && strings.IndexByte(signs, text[end]) >= 0 {
			end++
		}
		run := strings.TrimRight(text[start:end], " .")
		if v, ok := evaluate(run); ok && (strings.ContainsAny(run, "+*") || strings.Contains(run, " - ") || strings.Contains(run, " / ")) {
			return run, v, true // 2026-11-24 is no sum, nor is 24/7
		}
		start = end
	}
	return "", "", false
}

// evaluate works out run with the usual precedence, in fractions, and writes the value with at most six decimals.
func evaluate(run string) (string, bool) {
	if len(run) < 2 || len(run) > expressionMax {
		return "", false
	}
	c := &calculator{rest: run}
	v := c.sum(0)
	if v == nil || strings.TrimSpace(c.rest) != "" {
		return "", false
	}
	text := v.FloatString(6)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), "."), true
}

// calculator reads an expression from the left; nil values mean it is none.
type calculator struct{ rest string }

func (c *calculator) next(signs string) byte {
	c.rest = strings.TrimLeft(c.rest, " ")
	if c.rest == "" || strings.IndexByte(signs, c.rest[0]) < 0 {
		return 0
	}
	sign := c.rest[0]
	c.rest = c.rest[1:]
	return sign
}

func (c *calculator) sum(depth int) *big.Rat { return c.chain(depth, "+-", c.product) }

func (c *calculator) product(depth int) *big.Rat { return c.chain(depth, "*/", c.factor) }

// chain reads operands with any of signs between them, from the left.
func (c *calculator) chain(depth int, signs string, operand func(int) *big.Rat) *big.Rat {
	v := operand(depth)
	for v != nil {
		sign := c.next(signs)
		if sign == 0 {
			return v
		}
		w := operand(depth)
		switch {
		case w == nil || sign == '/' && w.Sign() == 0:
			return nil
		case sign == '+':
			v.Add(v, w)
		case sign == '-':
			v.Sub(v, w)
		case sign == '*':
			v.Mul(v, w)
		default:
			v.Quo(v, w)
		}
	}
	return nil
}

func (c *calculator) factor(depth int) *big.Rat {
	if depth > depthMax {
		return nil
	}
	switch c.next("(-") {
	case '-':
		if v := c.factor(depth + 1); v != nil {
			return v.Neg(v)
		}
		return nil
	case '(':
		v := c.sum(depth + 1)
		if c.next(")") == 0 {
			return nil
		}
		return v
	}
	end := 0
	for end < len(c.rest) && (c.rest[end] >= '0' && c.rest[end] <= '9' || c.rest[end] == '.') {
		end++
	}
	v, ok := new(big.Rat).SetString(c.rest[:end])
	if !ok {
		return nil
	}
	c.rest = c.rest[end:]
	return v
}
