package strictjson

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	namesAtHand = 48 // names of all open objects together that need no allocation
	namesLinear = 16 // in one object: up to here each name is compared with those before it, beyond all are sorted
)

// scanner is one pass over one document. Its methods take the offset where something begins and return the offset behind
// it, or failed with err set.
//
// It lives on the stack of Scan. That is why the names it has at hand are an array of its own, and why the caller's out
// goes through the methods as an argument: the compiler moves to the heap whatever a field points to.
type scanner struct {
	doc    []byte
	lim    Limits
	depth  int // levels left
	tokens int // values and names left
	err    *Error

	// The names of all open objects, innermost last: the first in near, those that find no place there in far.
	count   int
	near    [namesAtHand]name
	far     []name
	escaped []byte // the text of names that were written with escapes
}

const failed = -1

// name is a member name of an open object. Its text stands in doc, or in scanner.escaped.
type name struct {
	mark       uint64 // equal for equal texts
	start, end uint32
	at         uint32 // of its opening quote
	unescaped  bool   // the text stands in scanner.escaped
	ascii      bool
}

func (s *scanner) limit(lim Limits) {
	if lim.Depth <= 0 {
		lim.Depth = depthDefault
	}
	if lim.Tokens <= 0 {
		lim.Tokens = tokensDefault
	}
	s.lim, s.depth, s.tokens = lim, lim.Depth, lim.Tokens
}

// document scans the one value that begins at i and what follows it.
func (s *scanner) document(i int, at *level, out []Value) error {
	if uint64(len(s.doc)) > math.MaxUint32 {
		return &Error{Reason: "longer than 4 GiB"}
	}
	i = s.value(i, at, out)
	if i == failed {
		return s.err
	}
	if i = s.space(i); i < len(s.doc) {
		return &Error{Offset: i, Reason: "something follows the JSON value", Syntax: true}
	}
	return nil
}

func (s *scanner) syntax(i int, what string) int {
	if i >= len(s.doc) {
		what = "the document ends too early"
	}
	s.err = &Error{Offset: i, Reason: what, Syntax: true}
	return failed
}

func (s *scanner) refuse(i int, format string, args ...any) int {
	s.err = &Error{Offset: i, Reason: fmt.Sprintf(format, args...)}
	return failed
}

// space skips white space.
func (s *scanner) space(i int) int {
	for i < len(s.doc) && s.doc[i] <= ' ' && isSpace(s.doc[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// value scans the value at i; if it is an object, at says what to watch in it and out is where to note it. at may be nil.
func (s *scanner) value(i int, at *level, out []Value) int {
	if i >= len(s.doc) {
		return s.syntax(i, "")
	}
	if s.tokens--; s.tokens < 0 {
		return s.refuse(i, "more than %d values and names", s.lim.Tokens)
	}
	switch c := s.doc[i]; c {
	case '"':
		end, _, _ := s.text(i, false)
		return end
	case '{', '[':
		if s.depth--; s.depth < 0 {
			return s.refuse(i, "nested deeper than %d", s.lim.Depth)
		}
		if c == '{' {
			i = s.object(i, at, out)
		} else {
			i = s.array(i)
		}
		s.depth++
		return i
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number(i)
	}
	return s.syntax(i, "not a JSON value")
}

func (s *scanner) word(i int, word string) int {
	if end := i + len(word); end <= len(s.doc) && string(s.doc[i:end]) == word {
		return end
	}
	return s.syntax(i, "not a JSON value")
}

func (s *scanner) array(i int) int {
	i = s.space(i + 1)
	if i < len(s.doc) && s.doc[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, nil, nil); i == failed {
			return failed
		}
		i = s.space(i)
		if i >= len(s.doc) || s.doc[i] != ',' && s.doc[i] != ']' {
			return s.syntax(i, "expected a comma or ]")
		}
		if s.doc[i] == ']' {
			return i + 1
		}
		i = s.space(i + 1)
	}
}

func (s *scanner) object(i int, at *level, out []Value) int {
	i = s.space(i + 1)
	if i < len(s.doc) && s.doc[i] == '}' {
		return i + 1
	}
	base, baseEscaped := s.count, len(s.escaped)
	for {
		if i >= len(s.doc) || s.doc[i] != '"' {
			return s.syntax(i, "expected a name in quotes")
		}
		if i = s.member(i, base, at, out); i == failed {
			return failed
		}
		i = s.space(i)
		if i >= len(s.doc) || s.doc[i] != ',' && s.doc[i] != '}' {
			return s.syntax(i, "expected a comma or }")
		}
		if s.doc[i] == '}' {
			break
		}
		i = s.space(i + 1)
	}
	if s.count-base > namesLinear && !s.distinct(s.own(base)) {
		return failed
	}
	s.count, s.escaped = base, s.escaped[:baseEscaped]
	return i + 1
}

// member scans a name, its colon and its value; base is where the names of the object begin.
func (s *scanner) member(i, base int, at *level, out []Value) int {
	n := s.nextName()
	next := s.name(i, n)
	if next == failed {
		return failed
	}
	if s.count-base < namesLinear {
		for j := base; j < s.count; j++ {
			if other := s.nameAt(j); other.mark == n.mark && bytes.Equal(s.textOf(other), s.textOf(n)) {
				return s.duplicate(n)
			}
		}
	}
	var w *watched
	if at != nil {
		var variant bool
		if w, variant = at.match(s.textOf(n), n.ascii); variant {
			return s.refuse(i, "name %s differs from %s by case only", quoted(s.textOf(n)), quoted(w.name))
		}
	}
	s.count++
	if next = s.space(next); next >= len(s.doc) || s.doc[next] != ':' {
		return s.syntax(next, "expected a colon")
	}
	start := s.space(next + 1)
	if w == nil {
		return s.value(start, nil, nil)
	}
	end := s.value(start, w.below, out)
	if end != failed && w.out >= 0 {
		out[w.out] = Value{Name: i, Start: start, End: end, Kind: kind(s.doc[start])}
	}
	return end
}

// kind maps the first byte of a value to its Value.Kind.
func kind(first byte) byte {
	if first == '-' || first >= '0' && first <= '9' {
		return '0'
	}
	return first
}

// name scans the member name at i into n and returns the offset behind it.
func (s *scanner) name(i int, n *name) int {
	if s.tokens--; s.tokens < 0 {
		return s.refuse(i, "more than %d values and names", s.lim.Tokens)
	}
	end, hasEscapes, ascii := s.text(i, true)
	if end == failed {
		return failed
	}
	*n = name{start: uint32(i + 1), end: uint32(end - 1), at: uint32(i), ascii: ascii}
	if hasEscapes {
		n.start = uint32(len(s.escaped))
		s.escaped = appendUnescaped(s.escaped, s.doc[i+1:end-1])
		n.end, n.unescaped, n.ascii = uint32(len(s.escaped)), true, false
		if bytes.IndexByte(s.textOf(n), 0) >= 0 {
			return s.refuse(i, "NUL in a name")
		}
	}
	n.mark = mark(s.textOf(n))
	return end
}

func (s *scanner) textOf(n *name) []byte {
	if n.unescaped {
		return s.escaped[n.start:n.end]
	}
	return s.doc[n.start:n.end]
}

// nextName returns the place of the name behind the last one. It is valid until the next one is asked for.
func (s *scanner) nextName() *name {
	if s.count < namesAtHand {
		return &s.near[s.count]
	}
	s.far = append(s.far[:s.count-namesAtHand], name{})
	return &s.far[s.count-namesAtHand]
}

func (s *scanner) nameAt(j int) *name {
	if j < namesAtHand {
		return &s.near[j]
	}
	return &s.far[j-namesAtHand]
}

// own returns the names from base on, in one piece.
func (s *scanner) own(base int) []name {
	switch {
	case s.count <= namesAtHand:
		return s.near[base:s.count]
	case base >= namesAtHand:
		return s.far[base-namesAtHand : s.count-namesAtHand]
	}
	return slices.Concat(s.near[base:], s.far[:s.count-namesAtHand])
}

// mark is a cheap hash of a name. Names made to collide cost a comparison each, in a handful of names or in a sort.
func mark(text []byte) uint64 {
	if n := len(text); n < 8 {
		m := uint64(n) << 56
		if cap(text) >= 8 { // the document goes on behind the name: what is not of the name is cut off
			return m | binary.LittleEndian.Uint64(text[:8])&(1<<(8*n)-1)
		}
		for i, c := range text {
			m |= uint64(c) << (8 * i)
		}
		return m
	}
	first, last := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[len(text)-8:])
	return first ^ bits.RotateLeft64(last, 29) ^ uint64(len(text))
}

// distinct sorts the names of one large object and reports whether no two are equal.
func (s *scanner) distinct(own []name) bool {
	slices.SortFunc(own, func(a, b name) int {
		if a.mark != b.mark {
			return cmp.Compare(a.mark, b.mark)
		}
		return bytes.Compare(s.textOf(&a), s.textOf(&b))
	})
	for i := 1; i < len(own); i++ {
		a, b := &own[i-1], &own[i]
		if a.mark == b.mark && bytes.Equal(s.textOf(a), s.textOf(b)) {
			if a.at > b.at {
				b = a
			}
			s.duplicate(b)
			return false
		}
	}
	return true
}

func (s *scanner) duplicate(n *name) int {
	return s.refuse(int(n.at), "duplicate name %s", quoted(s.textOf(n)))
}

// quoted shows the beginning of a name in an error.
func quoted(text []byte) string {
	if len(text) > nameTextMax {
		return strconv.Quote(string(text[:nameTextMax])) + "…"
	}
	return strconv.Quote(string(text))
}

// The scan of strings looks at eight bytes at once: each constant repeats a byte in all eight.
const (
	each      = 0x0101010101010101
	highBits  = 0x80 * each
	quotes    = '"' * each
	slashes   = '\\' * each
	belowText = 0x20 * each
)

// stops marks, by the highest bit of its byte, the first quote, backslash or control character in w. Marks behind the
// first may be wrong.
func stops(w uint64) uint64 {
	return ((w ^ quotes - each) | (w ^ slashes - each) | (w - belowText)) &^ w & highBits
}

// plain skips what needs no look: it returns the offset of the first quote, backslash or control character from i on, and
// all bytes before it or-ed together, in some byte of high.
func plain(doc []byte, i int) (stop int, high uint64) {
	for len(doc)-i >= 16 {
		w, w2 := binary.LittleEndian.Uint64(doc[i:]), binary.LittleEndian.Uint64(doc[i+8:])
		m := stops(w)
		if m == 0 {
			high |= w
			if m = stops(w2); m == 0 {
				high |= w2
				i += 16
				continue
			}
			w, i = w2, i+8
		}
		return i + bits.TrailingZeros64(m)>>3, high | w&(m&-m-1)
	}
	for i < len(doc) && doc[i] != '"' && doc[i] != '\\' && doc[i] >= ' ' {
		high |= uint64(doc[i])
		i++
	}
	return i, high
}

// text scans the string whose opening quote is at i. It also says whether it has escapes and is all ASCII.
func (s *scanner) text(i int, isName bool) (end int, hasEscapes, ascii bool) {
	stop, high := plain(s.doc, i+1)
	if stop < len(s.doc) && s.doc[stop] == '"' && high&highBits == 0 {
		return stop + 1, false, true
	}
	return s.textFrom(i+1, stop, high, isName)
}

// textFrom goes on with a string that began at start and had nothing but the bytes of high up to stop.
func (s *scanner) textFrom(start, stop int, high uint64, isName bool) (end int, hasEscapes, ascii bool) {
	doc, i := s.doc, stop
	for {
		switch {
		case i >= len(doc) || doc[i] < ' ':
			return s.syntax(i, "control character in a string"), false, false
		case doc[i] == '"':
			if ascii = high&highBits == 0; !ascii && !utf8.Valid(doc[start:i]) {
				return s.badUTF8(start), false, false
			}
			return i + 1, hasEscapes, ascii
		case i+1 < len(doc) && isShortEscape(doc[i+1]):
			i += 2
		default:
			if i = s.unicode(i, isName); i == failed {
				return failed, false, false
			}
		}
		hasEscapes = true
		var more uint64
		i, more = plain(doc, i)
		high |= more
	}
}

// isShortEscape reports whether c may follow a backslash and ends the escape.
func isShortEscape(c byte) bool {
	const few = 1 | 1<<('/'-'"') | 1<<('\\'-'"')
	const letters = 1 | 1<<('f'-'b') | 1<<('n'-'b') | 1<<('r'-'b') | 1<<('t'-'b')
	return uint64(few)>>(c-'"')&1 != 0 || uint64(letters)>>(c-'b')&1 != 0
}

// badUTF8 fails at the first byte from i on that is not UTF-8.
func (s *scanner) badUTF8(i int) int {
	for {
		r, n := utf8.DecodeRune(s.doc[i:])
		if r == utf8.RuneError && n == 1 {
			s.err = &Error{Offset: i, Reason: "invalid UTF-8", Syntax: true}
			return failed
		}
		i += n
	}
}

// unicode scans the \u escape at i, both halves if it is a surrogate pair.
func (s *scanner) unicode(i int, isName bool) int {
	if i+1 >= len(s.doc) || s.doc[i+1] != 'u' {
		return s.syntax(min(i+1, len(s.doc)), "unknown escape in a string")
	}
	r, ok := unicodeEscape(s.doc[i:])
	if !ok {
		return s.syntax(i, "\\u without four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		return i + 6
	}
	if low, ok := unicodeEscape(s.doc[i+6:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
		return i + 12
	}
	if s.lim.LoneSurrogates && !isName {
		return i + 6
	}
	return s.refuse(i, "half of a surrogate pair")
}

// number scans a number by the grammar of RFC 8259, section 6.
func (s *scanner) number(i int) int {
	doc := s.doc
	if doc[i] == '-' {
		i++
	}
	if i < len(doc) && doc[i] == '0' {
		i++
	} else if i = s.digits(i); i == failed {
		return failed
	}
	if i < len(doc) && doc[i] == '.' {
		if i = s.digits(i + 1); i == failed {
			return failed
		}
	}
	if i < len(doc) && doc[i]|0x20 == 'e' {
		i++
		if i < len(doc) && (doc[i] == '+' || doc[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits skips one digit or more.
func (s *scanner) digits(i int) int {
	start := i
	for i < len(s.doc) && s.doc[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return s.syntax(i, "not a JSON number")
	}
	return i
}
