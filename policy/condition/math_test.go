package condition

import (
	"math"
	"math/big"
	"testing"
)

// Whole numbers are calculated as in school, or not at all.
func TestWholeNumbersAreExact(t *testing.T) {
	edges := []int{0, 1, -1, 2, -2, 3, 7, 1 << 31, 1<<32 + 1, -(1<<32 + 1), 1 << 62, -(1 << 62), 3037000499, 3037000500, math.MaxInt, math.MaxInt - 1, -math.MaxInt}
	for _, x := range edges {
		for _, y := range edges {
			a, b := big.NewInt(int64(x)), big.NewInt(int64(y))
			for op, want := range map[string]*big.Int{
				"+": new(big.Int).Add(a, b), "-": new(big.Int).Sub(a, b), "*": new(big.Int).Mul(a, b),
			} {
				got, err := arithmetic(op, x, y)
				fits := want.IsInt64() && want.Int64() != math.MinInt64
				if fits != (err == nil) || fits && got != int(want.Int64()) {
					t.Errorf("%d %s %d: got %v, %v, want %v", x, op, y, got, err, want)
				}
			}
		}
	}
}
