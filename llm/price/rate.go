package price

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"strings"

	"github.com/tollgate/tollgate/ledger"
)

// Rate is nano-USD per million units. One USD per million tokens is 1e9, a thousandth of a USD per token as well.
type Rate int64

// perRate is the number of units that a Rate is for.
const perRate = 1_000_000

// rateMax bounds a Rate, so that sums of products stay far inside 128 bits and configs cannot overflow: a million USD per
// million units.
const rateMax = Rate(1_000_000 * ledger.USD)

// ErrMoney means that a text is no amount of money as prices write it.
var ErrMoney = errors.New("not a price")

// digitsMax bounds an amount's digits; no price needs more, and big numbers cost time.
const digitsMax = 30

// parseUSD reads "0.10 USD" exactly, as nano-USD times scale, and refuses what would need rounding.
func parseUSD(text string, scale int64) (int64, error) {
	number, ok := strings.CutSuffix(text, "USD")
	whole, fraction, point := strings.Cut(strings.TrimRight(number, " "), ".")
	if !ok || whole == "" || point && fraction == "" {
		return 0, fmt.Errorf("%w: %q: write it as 0.10 USD", ErrMoney, text)
	}
	digits := whole + fraction
	if len(digits) > digitsMax || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%w: %q: write at most %d digits and one point before USD", ErrMoney, text, digitsMax)
	}
	n, _ := new(big.Int).SetString(digits, 10)
	n.Mul(n, big.NewInt(int64(ledger.USD)))
	n.Mul(n, big.NewInt(scale))
	rest := new(big.Int)
	n.QuoRem(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil), rest)
	switch {
	case rest.Sign() != 0:
		return 0, fmt.Errorf("%w: %q is finer than a nano-USD", ErrMoney, text)
	case n.Cmp(big.NewInt(int64(rateMax))) > 0:
		return 0, fmt.Errorf("%w: %q is more than any price", ErrMoney, text)
	}
	return n.Int64(), nil
}

// ParseRate reads a price per unit, "0.10 USD/1M" (also /1k and /1), exactly. "0" is free.
func ParseRate(text string) (Rate, error) {
	text = strings.TrimSpace(text)
	if text == "0" {
		return 0, nil
	}
	amount, per, ok := strings.Cut(text, "/")
	if !ok {
		return 0, fmt.Errorf("%w: %q: say for how many, as in 0.10 USD/1M", ErrMoney, text)
	}
	scale := int64(0)
	switch strings.TrimSpace(per) {
	case "1M":
		scale = 1
	case "1k":
		scale = 1_000
	case "1":
		scale = perRate
	default:
		return 0, fmt.Errorf("%w: %q: write /1M, /1k or /1", ErrMoney, text)
	}
	n, err := parseUSD(strings.TrimRight(amount, " "), scale)
	return Rate(n), err
}

// ParseMoney reads an amount, "0.001 USD", exactly. "0" is free.
func ParseMoney(text string) (ledger.Nano, error) {
	text = strings.TrimSpace(text)
	if text == "0" {
		return 0, nil
	}
	n, err := parseUSD(text, 1)
	return ledger.Nano(n), err
}

// String writes r so that ParseRate reads it again.
func (r Rate) String() string {
	if r == 0 {
		return "0"
	}
	text := fmt.Sprintf("%d.%09d", int64(r)/int64(ledger.USD), int64(r)%int64(ledger.USD))
	text = strings.TrimRight(text, "0")
	return strings.TrimSuffix(text, ".") + " USD/1M"
}

// sum adds up products of units and rates without loss. The zero sum is 0.
type sum struct{ hi, lo uint64 }

// add adds units times rate; negative ones count as nothing.
func (s *sum) add(units int64, rate Rate) {
	if units <= 0 || rate <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(units), uint64(rate))
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry)
}

// nano is the sum in nano-USD, rounded up, and at most the largest that fits.
func (s *sum) nano() ledger.Nano {
	const most = 1<<63 - 1
	if s.hi >= perRate {
		return most
	}
	n, rest := bits.Div64(s.hi, s.lo, perRate)
	if rest != 0 {
		n++
	}
	return ledger.Nano(min(n, most))
}

// times multiplies the sum by r, rounding up. The zero Ratio changes nothing.
func (s *sum) times(r Ratio) {
	if r.Num <= 0 || r.Den <= 0 || r.Num == r.Den {
		return
	}
	hh, hl := bits.Mul64(s.hi, uint64(r.Num))
	lh, ll := bits.Mul64(s.lo, uint64(r.Num))
	hi, carry := bits.Add64(hl, lh, 0)
	if hh != 0 || carry != 0 {
		s.hi, s.lo = 1<<63, 0 // beyond any money
		return
	}
	den := uint64(r.Den)
	q, rest := hi/den, hi%den
	lo, rest := bits.Div64(rest, ll, den)
	if rest != 0 {
		lo, carry = bits.Add64(lo, 1, 0)
		q += carry
	}
	s.hi, s.lo = q, lo
}
