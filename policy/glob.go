package policy

import (
	"fmt"
	"slices"
	"strings"
)

const patternBytesMax = 512

// pattern is one glob over names such as server/tool. Only * is special: it stands for any text, / included.
type pattern string

// checkPattern says what is wrong with p as a name of side, or nothing. A pattern that can match no name is an error:
// a deny that silently never holds is worse than a file that does not load.
func checkPattern(p, side string) error {
	shape := "server/tool"
	if side == "models" {
		shape = "provider/model"
	}
	server, tool, two := strings.Cut(p, "__")
	before, after, slash := strings.Cut(p, "/")
	switch {
	case len(p) > patternBytesMax:
		return fmt.Errorf("a pattern of %s: has at most %d bytes", side, patternBytesMax)
	case slash && (before == "" || after == ""):
		return fmt.Errorf("%q matches nothing: names have the shape %s", p, shape)
	case slash || strings.Contains(p, "*"):
		return nil
	case two && side == "tools":
		return fmt.Errorf("%q matches nothing: in policies the name is written %q", p, server+"/"+tool)
	}
	return fmt.Errorf("%q matches nothing: names have the shape %s; write %q or %q", p, shape, p+"/*", "*/"+p)
}

// match reports whether p matches all of name. It is linear in name: with * as the only wildcard, taking the first place
// where each part fits is always right.
func (p pattern) match(name string) bool {
	rest := string(p)
	part, rest, star := strings.Cut(rest, "*")
	if !star {
		return name == part
	}
	if !strings.HasPrefix(name, part) {
		return false
	}
	name = name[len(part):]
	for {
		part, rest, star = strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
}

// literal is what every name that p matches begins with.
func (p pattern) literal() string {
	before, _, _ := strings.Cut(string(p), "*")
	return before
}

// overlaps reports whether some name matches both p and q.
func (p pattern) overlaps(q pattern) bool {
	// reach[j] says whether the part of p read so far and q[:j] match a common text.
	reach := make([]bool, len(q)+1)
	reach[0] = true
	for j := range len(q) {
		reach[j+1] = reach[j] && q[j] == '*'
	}
	for i := range len(p) {
		diagonal := reach[0]
		reach[0] = reach[0] && p[i] == '*'
		for j := range len(q) {
			above := reach[j+1]
			if p[i] == '*' || q[j] == '*' {
				reach[j+1] = above || reach[j] // the star stands for nothing, or for what the other has here
			} else {
				reach[j+1] = diagonal && p[i] == q[j]
			}
			diagonal = above
		}
	}
	return reach[len(q)]
}

// index finds the rules whose patterns match a name without looking at the others: patterns are kept by the literal text
// they begin with. Immutable once built.
type index struct {
	exact  map[string][]int     // whole names
	begins map[string][]indexed // by literal beginning; "" holds those that begin with a star
	bytes  []int                // the lengths of the keys of begins, ascending
}

type indexed struct {
	rule int
	rest pattern // what must match behind the beginning; "*" always does
}

func newIndex() *index {
	return &index{exact: map[string][]int{}, begins: map[string][]indexed{}}
}

func (x *index) add(p pattern, rule int) {
	begin := p.literal()
	if len(begin) == len(p) {
		x.exact[begin] = append(x.exact[begin], rule)
		return
	}
	if at, found := slices.BinarySearch(x.bytes, len(begin)); !found {
		x.bytes = slices.Insert(x.bytes, at, len(begin))
	}
	x.begins[begin] = append(x.begins[begin], indexed{rule, p[len(begin):]})
}

// find returns the rules that match name, ascending, each once.
func (x *index) find(name string) []int {
	out := slices.Clone(x.exact[name])
	for _, n := range x.bytes {
		if n > len(name) {
			break
		}
		for _, entry := range x.begins[name[:n]] {
			if entry.rest == "*" || entry.rest.match(name[n:]) {
				out = append(out, entry.rule)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
