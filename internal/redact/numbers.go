package redact

import (
	"regexp"
	"strings"
)

// The lengths of the numbers that are looked for, in digits.
const (
	cardDigitsMin, cardDigitsMax   = 13, 19
	phoneDigitsMin, phoneDigitsMax = 8, 15 // with the country, ITU-T E.164
	trunkDigitsMin, trunkDigitsMax = 9, 12 // within a country, with the 0 before
)

// digits is a run of digits with what people write between them.
var digits = regexp.MustCompile(`\+?\(?[0-9](?:[ ./()-]{0,2}[0-9]){7,}`)

var (
	date     = regexp.MustCompile(`^[12][0-9]{3}([-/. ]?)[01][0-9]([-/. ]?)[0-3][0-9](?:[ -]?[0-9]{2,6})?$`)
	address  = regexp.MustCompile(`^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$`)
	social   = regexp.MustCompile(`^[0-9]{3}-[0-9]{2}-[0-9]{4}$`)
	american = regexp.MustCompile(`^\(?[0-9]{3}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}$`)
)

// numbers replaces the numbers of cards, phones and social security.
func (t *Tokens) numbers(text string) string {
	var out strings.Builder
	at := 0
	for _, m := range digits.FindAllStringIndex(text, -1) {
		if m[0] > 0 && isWord(text[m[0]-1]) || m[1] < len(text) && isWord(text[m[1]]) {
			continue // a part of an identifier
		}
		out.WriteString(text[at:m[0]])
		out.WriteString(t.number(text[m[0]:m[1]]))
		at = m[1]
	}
	return out.String() + text[at:]
}

// number replaces what a run of digits is, or the cards that are in it and what is beside them.
func (t *Tokens) number(run string) string {
	from, to, card := findCard(run)
	if card == "" {
		return t.single(run)
	}
	var out strings.Builder
	for card != "" {
		out.WriteString(t.rest(run[:from]))
		out.WriteString(t.Of("card", card))
		run = run[to:]
		from, to, card = findCard(run)
	}
	return out.String() + t.rest(run)
}

// single replaces a run of digits without a card if it is one number.
func (t *Tokens) single(run string) string {
	number := onlyDigits(run)
	switch {
	case date.MatchString(run), address.MatchString(run):
		return run
	case social.MatchString(run):
		return t.Of("ssn", number)
	case run[0] == '+' && len(number) >= phoneDigitsMin && len(number) <= phoneDigitsMax,
		number[0] == '0' && len(number) >= trunkDigitsMin && len(number) <= trunkDigitsMax && !strings.HasPrefix(run, "0."),
		american.MatchString(run):
		return t.Of("phone", number)
	}
	return run
}

// rest is single for what is beside a card, if it is long enough to be anything.
func (t *Tokens) rest(run string) string {
	trimmed := strings.Trim(run, " ./()-")
	if len(onlyDigits(trimmed)) < phoneDigitsMin {
		return run
	}
	i := strings.Index(run, trimmed)
	return run[:i] + t.single(trimmed) + run[i+len(trimmed):]
}

func onlyDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}

// findCard finds the number of a payment card in a run of digits: whole groups of it whose check digit holds, as many as can
// be. A run may be a table of megabytes, so no more is looked at from one group on than a card has.
func findCard(run string) (from, to int, number string) {
	for from = range len(run) {
		if !isDigit(run, from) || isDigit(run, from-1) || run[from] < '2' || run[from] > '6' {
			continue // cards begin with 2 to 6
		}
		if to, number = cardAt(run, from); number != "" {
			return from, to, number
		}
	}
	return 0, 0, ""
}

// cardAt is the end and the number of the longest card that begins at a group of a run; "": none does.
func cardAt(run string, from int) (to int, number string) {
	seen := make([]byte, 0, cardDigitsMax)
	for i := from; i < len(run); i++ {
		if !isDigit(run, i) {
			continue
		}
		if len(seen) == cardDigitsMax {
			break
		}
		seen = append(seen, run[i])
		if len(seen) >= cardDigitsMin && !isDigit(run, i+1) && luhn(string(seen)) {
			to, number = i+1, string(seen)
		}
	}
	return to, number
}

func isDigit(text string, i int) bool {
	return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9'
}

// luhn reports whether the check digit of a number holds.
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// Number is the token for a number that stands for itself, such as one in JSON, or "" if it is none to be replaced.
func (t *Tokens) Number(literal string) string {
	if _, _, number := findCard(literal); number == literal {
		return t.Of("card", number)
	}
	return ""
}
