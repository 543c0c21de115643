package rpc

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// Members yields the members of obj, which a strict scan has passed, in order: the unquoted name and where the member
// stands. The name is valid until the next step.
func Members(obj []byte) iter.Seq2[[]byte, strictjson.Value] {
	return func(yield func([]byte, strictjson.Value) bool) {
		i := space(obj, 0)
		if i >= len(obj) || obj[i] != '{' {
			return
		}
		for i = space(obj, i+1); i < len(obj) && obj[i] == '"'; i = space(obj, i+1) {
			v := strictjson.Value{Name: i}
			i = skip(obj, i)
			name := unquoted(obj[v.Name:i])
			if i = space(obj, i); i >= len(obj) || obj[i] != ':' {
				return
			}
			v.Start = space(obj, i+1)
			if v.End = skip(obj, v.Start); v.End <= v.Start {
				return
			}
			v.Kind = kind(obj[v.Start])
			if !yield(name, v) {
				return
			}
			if i = space(obj, v.End); i >= len(obj) || obj[i] != ',' {
				return
			}
		}
	}
}

// Elements yields the elements of arr, which a strict scan has passed, in order; Name is unused.
func Elements(arr []byte) iter.Seq[strictjson.Value] {
	return func(yield func(strictjson.Value) bool) {
		i := space(arr, 0)
		if i >= len(arr) || arr[i] != '[' {
			return
		}
		for i++; ; i++ {
			v := strictjson.Value{Start: space(arr, i)}
			if v.Start >= len(arr) || arr[v.Start] == ']' {
				return
			}
			if v.End = skip(arr, v.Start); v.End <= v.Start {
				return
			}
			v.Kind = kind(arr[v.Start])
			if !yield(v) {
				return
			}
			if i = space(arr, v.End); i >= len(arr) || arr[i] != ',' {
				return
			}
		}
	}
}

func unquoted(literal []byte) []byte {
	if len(literal) >= 2 && bytes.IndexByte(literal, '\\') < 0 {
		return literal[1 : len(literal)-1]
	}
	text, err := strictjson.Unquote(literal)
	if err != nil {
		return nil
	}
	return []byte(text)
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skip returns the offset behind the value at i, or i when there is none.
func skip(b []byte, i int) int {
	depth := 0
	for j := i; j < len(b); j++ {
		switch b[j] {
		case '"':
			for j++; j < len(b) && b[j] != '"'; j++ {
				if b[j] == '\\' {
					j++
				}
			}
			if j >= len(b) {
				return i
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
			continue
		default:
			for j+1 < len(b) && strings.IndexByte(",:]} \n\r\t", b[j+1]) < 0 {
				j++
			}
		}
		if depth <= 0 {
			return j + 1
		}
	}
	return i
}

func kind(c byte) byte {
	if c == '-' || c >= '0' && c <= '9' {
		return '0'
	}
	return c
}

// Cuts collects changes to the members of one object, in any order, and makes them all at once.
type Cuts struct {
	edits []cut
}

type cut struct {
	v    strictjson.Value
	with []byte
	drop bool
}

// Set replaces the value at v.
func (c *Cuts) Set(v strictjson.Value, with []byte) {
	c.edits = append(c.edits, cut{v: v, with: with})
}

// Drop removes the member at v, name, comma and all.
func (c *Cuts) Drop(v strictjson.Value) { c.edits = append(c.edits, cut{v: v, drop: true}) }

// Empty reports whether nothing is to be changed.
func (c *Cuts) Empty() bool { return len(c.edits) == 0 }

// Apply returns a copy of doc with the changes made. All members dropped must be of doc's objects, all offsets in doc.
func (c *Cuts) Apply(doc []byte) []byte {
	slices.SortFunc(c.edits, func(a, b cut) int { return a.v.Start - b.v.Start })
	edits := make([]strictjson.Edit, 0, len(c.edits))
	end := 0 // nothing before it may be touched again
	for _, e := range c.edits {
		edit := strictjson.Edit{Start: e.v.Start, End: e.v.End, With: e.with}
		if e.drop {
			edit.Start, edit.End = member(doc, e.v, end)
			edit.With = nil
		}
		end = edit.End
		edits = append(edits, edit)
	}
	return strictjson.Splice(doc, edits...)
}

// member returns the span of the member at v with one comma: the one before it, or, for the first of its object, the one
// behind it. floor is the end of the edit before, whose comma may be gone already.
func member(doc []byte, v strictjson.Value, floor int) (start, end int) {
	i := v.Name - 1
	for i >= floor && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\r' || doc[i] == '\t') {
		i--
	}
	if i >= floor && doc[i] == ',' {
		return i, v.End
	}
	if j := space(doc, v.End); j < len(doc) && doc[j] == ',' {
		return v.Name, j + 1
	}
	return v.Name, v.End
}
