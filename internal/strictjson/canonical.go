package strictjson

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendCanonical appends doc in the canonical form of RFC 8785 to dst: one and the same for all documents that say the
// same, however their members are ordered, spaced and escaped and their numbers written. It is for comparing only; what is
// forwarded stays as it came. doc is any JSON value that Scan or Check has passed.
//
// Numbers are those of ECMAScript, so integers beyond 2^53 that differ in their last digits are one number. A number too
// large for it, for which the RFC has no form, keeps its digits.
func AppendCanonical(dst, doc []byte) []byte { return appendCanonical(dst, doc, Whole(doc)) }

func appendCanonical(dst, doc []byte, v Value) []byte {
	switch v.Kind {
	case '{':
		return appendSorted(dst, doc, v)
	case '[':
		dst = append(dst, '[')
		for i, e := range Elements(doc, v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCanonical(dst, doc, e)
		}
		return append(dst, ']')
	case '"':
		literal := v.In(doc)
		return appendPlainest(dst, appendUnescaped(nil, literal[1:len(literal)-1]))
	case '0':
		return appendNumber(dst, v.In(doc))
	}
	return append(dst, v.In(doc)...)
}

// appendSorted appends an object with its members in the order of their names.
func appendSorted(dst, doc []byte, obj Value) []byte {
	type member struct {
		name  []byte
		value Value
	}
	var all []member
	for name, v := range Members(doc, obj) {
		all = append(all, member{name, v})
	}
	slices.SortFunc(all, func(a, b member) int { return compareUTF16(a.name, b.name) })
	dst = append(dst, '{')
	for i, m := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendPlainest(dst, m.name), ':')
		dst = appendCanonical(dst, doc, m.value)
	}
	return append(dst, '}')
}

// compareUTF16 orders texts by their UTF-16 code units, where what is beyond the basic plane stands before U+E000.
func compareUTF16(a, b []byte) int {
	for len(a) > 0 && len(b) > 0 {
		ra, na := utf8.DecodeRune(a)
		rb, nb := utf8.DecodeRune(b)
		if ra != rb {
			ua, ub := firstUnit(ra), firstUnit(rb)
			if ua != ub {
				return cmp.Compare(ua, ub)
			}
			return cmp.Compare(ra, rb)
		}
		a, b = a[na:], b[nb:]
	}
	return cmp.Compare(len(a), len(b))
}

func firstUnit(r rune) rune {
	if high, _ := utf16.EncodeRune(r); high != utf8.RuneError {
		return high
	}
	return r
}

// appendPlainest appends text as a string with no escape that it can do without (RFC 8785, section 3.2.2.2).
func appendPlainest(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	const short = "btn?fr" // of U+0008 to U+000D
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c >= '\b' && c <= '\r' && c != '\v':
			dst = append(dst, '\\', short[c-'\b'])
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}

// appendNumber appends a number as ECMAScript writes it.
func appendNumber(dst, literal []byte) []byte {
	f, err := strconv.ParseFloat(string(literal), 64)
	if err != nil {
		return append(dst, literal...)
	}
	abs := math.Abs(f)
	switch {
	case f == 0:
		return append(dst, '0') // -0 too
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// 1e-07 is 1e-7 there.
	if i := start + bytes.IndexByte(dst[start:], 'e') + 2; dst[i] == '0' {
		dst = append(dst[:i], dst[i+1:]...)
	}
	return dst
}
