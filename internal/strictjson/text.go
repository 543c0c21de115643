package strictjson

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote returns the text of a JSON string literal that Scan has passed. Half a surrogate pair, where it was let pass,
// becomes U+FFFD.
func Unquote(literal []byte) (string, error) {
	n := len(literal)
	if n < 2 || literal[0] != '"' || literal[n-1] != '"' {
		return "", errors.New("not a JSON string")
	}
	if bytes.IndexByte(literal, '\\') < 0 {
		return string(literal[1 : n-1]), nil
	}
	return string(appendUnescaped(make([]byte, 0, n), literal[1:n-1])), nil
}

// appendUnescaped appends the text that body, the inside of a scanned literal, stands for.
func appendUnescaped(dst, body []byte) []byte {
	for {
		i := bytes.IndexByte(body, '\\')
		if i < 0 || i+1 >= len(body) {
			return append(dst, body...)
		}
		dst = append(dst, body[:i]...)
		body = body[i:]
		if body[1] != 'u' {
			dst = append(dst, unescape(body[1]))
			body = body[2:]
			continue
		}
		r, n := decodeUnicode(body)
		dst = utf8.AppendRune(dst, r)
		body = body[n:]
	}
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// decodeUnicode returns the rune of the \u escape, or pair of them, that b begins with, and its length.
func decodeUnicode(b []byte) (rune, int) {
	r, ok := unicodeEscape(b)
	if !ok {
		return utf8.RuneError, min(len(b), 6)
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low, ok := unicodeEscape(b[6:]); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// unicodeEscape reads a \u escape with its four hexadecimal digits.
func unicodeEscape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Quote appends text to dst as a JSON string literal. Only what must be is escaped; what is not UTF-8 becomes U+FFFD.
func Quote(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r < utf8.RuneSelf:
			dst = append(dst, text[i])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
