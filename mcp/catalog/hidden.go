package catalog

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The joiners are invisible, and needed between letters of some scripts and inside emoji.
const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
	emojiSelector      = '\ufe0f'
)

// hidden returns the name of the first character in raw, a value that a strict scan has passed, that is not there for
// people to see, such as "U+202E"; empty: none.
func hidden(raw []byte) string {
	var prev rune
	for i := 0; i < len(raw); {
		r, n := jsonRune(raw[i:])
		if n == 1 && raw[i] < 0x20 { // white space between tokens; strings have none as it is
			i++
			continue
		}
		if invisible(prev, r) {
			return fmt.Sprintf("U+%04X", r)
		}
		prev, i = r, i+n
	}
	return ""
}

// jsonRune decodes the character at the start of b, which may be written as an escape.
func jsonRune(b []byte) (r rune, n int) {
	if b[0] != '\\' || len(b) < 2 {
		return utf8.DecodeRune(b)
	}
	if b[1] != 'u' {
		return rune(b[1]), 2 // \n and the like: seen as themselves
	}
	r = hex4(b, 2)
	if utf16.IsSurrogate(r) && len(b) >= 8 && b[6] == '\\' && b[7] == 'u' {
		return utf16.DecodeRune(r, hex4(b, 8)), 12
	}
	return r, 6
}

func hex4(b []byte, at int) rune {
	if len(b) < at+4 {
		return unicode.ReplacementChar
	}
	v, err := strconv.ParseUint(string(b[at:at+4]), 16, 16)
	if err != nil {
		return unicode.ReplacementChar
	}
	return rune(v)
}

func invisible(prev, r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r': // written as \u0009 and so on
		return false
	case r < 0x20 || r >= 0x7f && r < 0xa0 || utf16.IsSurrogate(r):
		return true
	case r == zeroWidthJoiner || r == zeroWidthNonJoiner:
		return !unicode.In(prev, unicode.Lo, unicode.Mn, unicode.Mc, unicode.So) && !skinTone(prev)
	case r == emojiSelector:
		return variation(prev)
	case variation(r):
		return r > 0xffff || variation(prev)
	}
	return unicode.In(r, unicode.Cf, unicode.Co) || r == 0x3164 || r == 0x115f || r == 0x1160 || r == 0xffa0
}

func skinTone(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

func variation(r rune) bool { return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef }
