package usage

import "bytes"

// members iterates over the members of an object, elements over the values of an array, without decoding. Broken JSON
// ends the iteration. Neither recurses, so depth costs nothing.
type members struct{ rest []byte }

// object iterates over v, which must start with '{'; anything else has no members.
func object(v []byte) members {
	if len(v) == 0 || v[0] != '{' {
		return members{}
	}
	return members{v[1:]}
}

// next returns a name as it stands between its quotes, and a value.
func (m *members) next() (name, value []byte, ok bool) {
	b := skipSpace(m.rest)
	if len(b) > 0 && b[0] == ',' {
		b = skipSpace(b[1:])
	}
	end := stringEnd(b)
	if end < 0 {
		m.rest = nil
		return nil, nil, false
	}
	name = b[1 : end-1]
	b = skipSpace(b[end:])
	if len(b) == 0 || b[0] != ':' {
		m.rest = nil
		return nil, nil, false
	}
	b = skipSpace(b[1:])
	end = valueEnd(b)
	m.rest = b[end:]
	return name, b[:end], end > 0
}

type elements struct{ rest []byte }

// array iterates over v, which must start with '['; anything else has no elements.
func array(v []byte) elements {
	if len(v) == 0 || v[0] != '[' {
		return elements{}
	}
	return elements{v[1:]}
}

func (e *elements) next() ([]byte, bool) {
	b := skipSpace(e.rest)
	if len(b) > 0 && b[0] == ',' {
		b = skipSpace(b[1:])
	}
	if len(b) == 0 || b[0] == ']' {
		e.rest = nil
		return nil, false
	}
	end := valueEnd(b)
	e.rest = b[end:]
	return b[:end], end > 0
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// stringEnd returns the length of the string literal that b starts with, or -1. Most are short: a search for the quote
// costs more than the walk to it.
func stringEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// valueEnd returns the length of the value that b starts with; of one that is cut off, all of b.
func valueEnd(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		if end := stringEnd(b); end > 0 {
			return end
		}
		return len(b)
	case '{', '[':
		return containerEnd(b)
	case ',', ':', '}', ']':
		return 0
	}
	if end := bytes.IndexAny(b, ",}] \n\t\r"); end >= 0 {
		return end
	}
	return len(b)
}

func containerEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b[i:])
			if end < 0 {
				return len(b)
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

// inner returns what stands between the quotes of a string literal, escapes as they are; nothing of other values.
func inner(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// textBytes adds up the bytes of the strings in v, names left out, and those of members that only label the others.
func textBytes(v []byte) int64 {
	total, label := int64(0), false
	for i := 0; i < len(v); {
		if v[i] != '"' {
			i++
			continue
		}
		end := stringEnd(v[i:])
		if end < 0 {
			return total + int64(len(v)-i-1)
		}
		text := v[i+1 : i+end-1]
		i += end
		after := skipSpace(v[i:])
		switch {
		case len(after) > 0 && after[0] == ':':
			label = labels(text)
		case label:
			label = false
		default:
			total += int64(len(text))
		}
	}
	return total
}

// labels reports whether a member's string says what something is, and is nothing that a model wrote.
func labels(name []byte) bool {
	switch string(name) {
	case "type", "id", "role", "object", "status", "model", "call_id", "item_id":
		return true
	}
	return false
}
