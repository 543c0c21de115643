package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

// DidYouMean returns ` (did you mean "x"?)` with the known word nearest to word, or nothing when none is near.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// Nearest returns the known word that word was most likely meant to be, or nothing. Equal distances go to the word that
// sorts first.
func Nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d < distance && d < max(len(k), 2) {
			best, distance = k, d
		}
	}
	return best
}

// edits counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
func edits(a, b string) int {
	const wordBytesMax = 64 // words are keys and names; longer ones are nobody's typing error
	if len(a) > wordBytesMax || len(b) > wordBytesMax {
		return wordBytesMax
	}
	var before, above, row [wordBytesMax + 1]int
	for j := range len(b) + 1 {
		above[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
