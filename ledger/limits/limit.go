package limits

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/policy/glob"
)

// Limit is one parsed limit: an amount of a unit in a window. It is what budgets, rates and concurrency have in common.
//
//	50 USD / 1M        money in a calendar month
//	60 requests / 1m   calls in any minute
//	200k tokens / 1m   tokens in any minute
//	8 concurrent       calls at the same time
//	5 USD / 1d hard    the worst case is held instead of the expected cost
type Limit struct {
	Text string   // as written
	On   []string // globs over SERVER/TOOL and PROVIDER/MODEL that it counts; none: all. * crosses /

	Amount int64  // nano-USD, tokens, calls or calls at once
	Unit   Unit   // empty: not parsed
	Window Window // zero for concurrent
	Hard   bool   // holds the worst case
}

// Unit is what a limit counts.
type Unit string

// The units of limits.
const (
	UnitUSD        Unit = "USD"
	UnitTokens     Unit = "tokens"
	UnitCalls      Unit = "calls"
	UnitConcurrent Unit = "concurrent"
)

// dollar is one US dollar in nano-USD, the unit of money.
const dollar = 1_000_000_000

// AmountMax keeps sums of amounts far from overflow: ten million dollars.
const AmountMax = 10_000_000 * dollar

// Parse parses "50 USD / 1M", "60 requests / 1m", "8 concurrent", with an optional suffix "hard". The error says
// what is expected instead.
func Parse(text string) (Limit, error) {
	l := Limit{Text: text}
	bad := func(format string, args ...any) (Limit, error) {
		return Limit{}, fmt.Errorf("limit %q: %s", text, fmt.Sprintf(format, args...))
	}
	what, window, windowed := strings.Cut(text, "/")
	words := strings.Fields(what)
	last := &words
	var after []string
	if windowed {
		after = strings.Fields(window)
		last = &after
	}
	if n := len(*last); n > 0 && (*last)[n-1] == "hard" {
		l.Hard = true
		*last = (*last)[:n-1]
	}
	if len(words) != 2 {
		return bad("write an amount, a unit and a window: 50 USD / 1M, 60 requests / 1m, 8 concurrent")
	}
	var err error
	if l.Unit, err = parseUnit(words[1]); err != nil {
		return bad("%v", err)
	}
	if l.Amount, err = parseAmount(words[0], l.Unit); err != nil {
		return bad("%v", err)
	}
	switch {
	case l.Unit == UnitConcurrent && windowed:
		return bad("concurrent takes no window: write 8 concurrent")
	case l.Unit != UnitConcurrent && len(after) == 0:
		return bad("a window is missing: one of %s", windowNames())
	case l.Hard && l.Unit != UnitUSD && l.Unit != UnitTokens:
		return bad("hard is for USD and tokens: %s are always counted exactly", l.Unit)
	}
	if windowed {
		if l.Window, err = ParseWindow(strings.Join(after, " ")); err != nil {
			return bad("%v", err)
		}
	}
	return l, nil
}

func parseUnit(s string) (Unit, error) {
	switch s {
	case "USD":
		return UnitUSD, nil
	case "tokens", "token":
		return UnitTokens, nil
	case "calls", "call", "requests", "request":
		return UnitCalls, nil
	case "concurrent":
		return UnitConcurrent, nil
	}
	return "", fmt.Errorf("unknown unit %q: one of USD, tokens, calls, requests, concurrent", s)
}

// parseAmount reads a decimal number with an optional suffix k or M, exactly.
func parseAmount(s string, unit Unit) (int64, error) {
	number, scale := s, 0
	if digits, ok := strings.CutSuffix(number, "k"); ok {
		number, scale = digits, 3
	} else if digits, ok := strings.CutSuffix(number, "M"); ok {
		number, scale = digits, 6
	}
	if unit == UnitUSD {
		scale += 9
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	if whole == "" || dotted && fraction == "" || !digitsOnly(whole) || !digitsOnly(fraction) {
		return 0, fmt.Errorf("amount %q is not a number like 50, 0.5 or 200k", s)
	}
	if len(fraction) > scale {
		if strings.TrimRight(fraction[scale:], "0") != "" {
			return 0, fmt.Errorf("amount %q is finer than can be counted", s)
		}
		fraction = fraction[:scale]
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", scale-len(fraction)), 10, 64)
	if errors.Is(err, strconv.ErrRange) || n > AmountMax {
		return 0, fmt.Errorf("amount %q is too large", s)
	}
	return n, err
}

func digitsOnly(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// Spell says the limit in words, for people who check a config: "at most 60 calls in any minute".
func (l *Limit) Spell() string {
	var b strings.Builder
	b.WriteString("at most ")
	b.WriteString(SpellAmount(l.Amount, l.Unit))
	if l.Unit == UnitConcurrent {
		b.WriteString(" at the same time")
	} else {
		b.WriteString(" " + l.Window.spell())
	}
	if l.Hard {
		b.WriteString(", holding the worst case of each call")
	}
	if len(l.On) > 0 {
		b.WriteString(", counting " + strings.Join(l.On, ", "))
	}
	return b.String()
}

// Warnings lists what is allowed but seldom meant.
func (l *Limit) Warnings() []string {
	var out []string
	if l.Unit == UnitUSD && l.Window == minute {
		out = append(out, fmt.Sprintf("limit %q is money per minute; a month is written 1M", l.Text))
	}
	if l.Amount == 0 {
		out = append(out, fmt.Sprintf("limit %q refuses every call that would count", l.Text))
	}
	return out
}

// SpellAmount writes an amount with its unit: "0.25 USD", "1 call", "8 calls".
func SpellAmount(n int64, unit Unit) string {
	switch unit {
	case UnitUSD:
		return SpellUSD(n)
	case UnitTokens:
		return plural(n, "token")
	default:
		return plural(n, "call")
	}
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}

// SpellUSD writes nano-USD in dollars, with as many decimals as it takes but at least two: "0.50 USD", "0.000042 USD".
func SpellUSD(n int64) string {
	sign := ""
	u := uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	fraction := fmt.Sprintf("%09d", u%dollar)
	fraction = fraction[:2] + strings.TrimRight(fraction[2:], "0")
	return fmt.Sprintf("%s%d.%s USD", sign, u/dollar, fraction)
}

// Matches reports whether the limit counts calls to path.
func (l *Limit) Matches(path string) bool {
	if len(l.On) == 0 {
		return true
	}
	return slices.ContainsFunc(l.On, func(on string) bool { return glob.Pattern(on).Match(path) })
}

// AddSat adds without overflow: amounts from outside may be absurd, sums of them must still only restrict.
func AddSat(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}
