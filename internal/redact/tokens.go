package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// tokenBytes is how much of a digest a token shows: values of one installation are told apart, and one of them is not found
// by trying all without the key.
const tokenBytes = 4

// Tokens replaces credentials and personal data by tokens. Safe for concurrent use.
type Tokens struct {
	key  []byte
	mask *Mask
}

// NewTokens makes tokens with key; what mask knows is masked.
func NewTokens(key []byte, mask *Mask) *Tokens { return &Tokens{key, mask} }

// Of is the token for a value of a kind.
func (t *Tokens) Of(kind, value string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(kind + "\x00" + value))
	return "<" + kind + ":" + hex.EncodeToString(mac.Sum(nil)[:tokenBytes]) + ">"
}

// Text returns text with tokens in the place of what was found.
func (t *Tokens) Text(text string) string {
	text = t.mask.Replace(text, func(s string) string { return t.Of("credential", s) })
	text = t.assignments(text)
	text = t.emails(text)
	text = t.accounts(text)
	return t.numbers(text)
}

// assigned is a name that says that a secret follows, in whatever notation: password: x, "api_key":"x", CLIENT_SECRET=x.
var assigned = regexp.MustCompile(`(?i)(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|[a-z][_-]?token)[\\"']*\s*[:=]\s*[\\"']*([^\s\\"',;&<>{}\[\]()]{3,})`)

func (t *Tokens) assignments(text string) string {
	if !strings.ContainsAny(text, ":=") {
		return text
	}
	return replaceGroup(text, assigned, func(s string) string {
		if strings.HasPrefix(s, masked[:1]) {
			return s
		}
		return t.Of("credential", s)
	})
}

var email = regexp.MustCompile(`([\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+)`)

func (t *Tokens) emails(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	return replaceGroup(text, email, func(s string) string { return t.Of("email", strings.ToLower(s)) })
}

// replaceGroup puts something in the place of the first group of each match.
func replaceGroup(text string, re *regexp.Regexp, with func(string) string) string {
	var out strings.Builder
	at := 0
	for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(text[at:m[2]])
		out.WriteString(with(text[m[2]:m[3]]))
		at = m[3]
	}
	return out.String() + text[at:]
}

// iban is what may begin an International Bank Account Number, in groups or without.
var iban = regexp.MustCompile(`(?i)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}`)

// ibanCharsMin is Norway's.
const ibanCharsMin = 15

// accounts replaces IBANs whose check digits hold.
func (t *Tokens) accounts(text string) string {
	var out strings.Builder
	for {
		m := iban.FindStringIndex(text)
		if m == nil {
			return out.String() + text
		}
		end, number := longestIBAN(text[m[0]:m[1]])
		if end == 0 || m[0] > 0 && isWord(text[m[0]-1]) {
			out.WriteString(text[:m[0]+1]) // another may begin within
			text = text[m[0]+1:]
			continue
		}
		out.WriteString(text[:m[0]] + t.Of("iban", number))
		text = text[m[0]+end:]
	}
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// longestIBAN is the end of the longest IBAN that text begins with, and the number without its spaces; 0: none.
func longestIBAN(text string) (int, string) {
	for end := len(text); end > 0; end-- {
		if text[end-1] == ' ' {
			continue
		}
		if end < len(text) && isWord(text[end]) && text[end-1] != ' ' {
			continue // in the middle of a word
		}
		number := strings.ToUpper(strings.ReplaceAll(text[:end], " ", ""))
		if len(number) < ibanCharsMin {
			return 0, ""
		}
		if mod97(number[4:]+number[:4]) == 1 {
			return end, number
		}
	}
	return 0, ""
}

// mod97 is the remainder by 97 of a number whose letters stand for 10 to 35.
func mod97(text string) int {
	n := 0
	for _, c := range []byte(text) {
		if c >= 'A' {
			n = (n*100 + int(c-'A'+10)) % 97
		} else {
			n = (n*10 + int(c-'0')) % 97
		}
	}
	return n
}
