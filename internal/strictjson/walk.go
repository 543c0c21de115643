package strictjson

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"
)

// Whole returns the Value that the whole of doc is: with it Members and Elements walk a document, or a part of one that
// was cut out. Its Name is -1. The zero Value if doc holds nothing.
func Whole(doc []byte) Value {
	start := skipSpace(doc, 0)
	if start == len(doc) {
		return Value{}
	}
	end := len(doc)
	for isSpace(doc[end-1]) {
		end--
	}
	return Value{Name: -1, Start: start, End: end, Kind: kind(doc[start])}
}

// Members walks the members of the object obj of doc, which Scan or Check has passed: each one's name, unescaped, and
// where it stands in doc. A value that is no object has none. A name is valid as long as doc is.
//
//	for name, v := range strictjson.Members(doc, meta) { … }
func Members(doc []byte, obj Value) iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		if obj.Kind != '{' {
			return
		}
		w := walk{doc[:obj.End], skipSpace(doc, obj.Start+1)}
		for name, v, ok := w.member(); ok; name, v, ok = w.member() {
			if !yield(name, v) {
				return
			}
		}
	}
}

// Elements walks the elements of the array arr of doc, which Scan or Check has passed. Their Name is -1. A value that is
// no array has none.
func Elements(doc []byte, arr Value) iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		if arr.Kind != '[' {
			return
		}
		w := walk{doc[:arr.End], skipSpace(doc, arr.Start+1)}
		for i := 0; ; i++ {
			v, ok := w.element(-1)
			if !ok || !yield(i, v) {
				return
			}
		}
	}
}

// Lookup returns the member of obj with that name, or the zero Value.
func Lookup(doc []byte, obj Value, name string) Value {
	for n, v := range Members(doc, obj) {
		if string(n) == name {
			return v
		}
	}
	return Value{}
}

// walk goes over a container that is known to be well formed; on anything else it ends early.
type walk struct {
	doc []byte // up to the container's end
	at  int    // of the next name or element
}

// member returns the next name and its value and goes behind them and their comma.
func (w *walk) member() ([]byte, Value, bool) {
	doc, at := w.doc, w.at
	if at >= len(doc) || doc[at] != '"' {
		return nil, Value{}, false
	}
	end := skipString(doc, at)
	if end-at < 2 {
		return nil, Value{}, false
	}
	name := doc[at+1 : end-1 : end-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name = appendUnescaped(nil, name)
	}
	if end = skipSpace(doc, end); end >= len(doc) || doc[end] != ':' {
		return nil, Value{}, false
	}
	w.at = skipSpace(doc, end+1)
	v, ok := w.element(at)
	return name, v, ok
}

// element returns the value that begins here, named at name, and goes behind it and its comma.
func (w *walk) element(name int) (Value, bool) {
	doc, at := w.doc, w.at
	if at >= len(doc) || doc[at] == ']' || doc[at] == '}' {
		return Value{}, false
	}
	end := skipValue(doc, at)
	v := Value{Name: name, Start: at, End: end, Kind: kind(doc[at])}
	if w.at = skipSpace(doc, end); w.at < len(doc) && doc[w.at] == ',' {
		w.at = skipSpace(doc, w.at+1)
	}
	return v, end > at
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && isSpace(doc[i]) {
		i++
	}
	return i
}

// skipString returns the offset behind the string whose opening quote is at i.
func skipString(doc []byte, i int) int {
	for i++; i < len(doc); {
		if i+8 <= len(doc) {
			m := stops(binary.LittleEndian.Uint64(doc[i:]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		switch doc[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
		i++
	}
	return len(doc)
}

// skipValue returns the offset behind the value at i.
func skipValue(doc []byte, i int) int {
	depth := 0
	for i < len(doc) {
		switch doc[i] {
		case '"':
			i = skipString(doc, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\r', '\t':
			i++
			continue
		default:
			for i++; i < len(doc) && isPlain(doc[i]); i++ {
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return len(doc)
}

// isPlain reports whether c can stand within a number, true, false or null.
func isPlain(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '.' || c == '-' || c == '+' || c == 'E'
}
