package glob

import (
	"fmt"
	"slices"
	"strings"
)

// PatternBytesMax bounds one pattern.
const PatternBytesMax = 512

// Pattern is one glob over names such as server/tool. Only * is special: it stands for any text, / included.
type Pattern string

// Check says what is wrong with p under side ("tools" or "models"), or nil. A pattern that can match no name is an error:
// a deny that silently never holds is worse than a file that does not load.
func Check(p, side string) error {
	shape := "server/tool"
	if side == "models" {
		shape = "provider/model"
	}
	server, tool, two := strings.Cut(p, "__")
	before, after, slash := strings.Cut(p, "/")
	switch {
	case len(p) > PatternBytesMax:
		return fmt.Errorf("a pattern of %s: has at most %d bytes", side, PatternBytesMax)
	case slash && (before == "" || after == ""):
		return fmt.Errorf("%q matches nothing: names have the shape %s", p, shape)
	case two && side == "tools" && !strings.ContainsAny(server, "/*"):
		return fmt.Errorf("%q matches nothing: in policies the name is written %q", p, server+"/"+tool)
	case slash || strings.Contains(p, "*"):
		return nil
	}
	return fmt.Errorf("%q matches nothing: names have the shape %s; write %q or %q", p, shape, p+"/*", "*/"+p)
}

// Match reports whether p matches all of name. It is linear in name: with * as the only wildcard, taking the first place
// where each part fits is always right.
func (p Pattern) Match(name string) bool {
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
func (p Pattern) literal() string {
	before, _, _ := strings.Cut(string(p), "*")
	return before
}

// Overlaps reports whether some name matches both p and q.
func (p Pattern) Overlaps(q Pattern) bool {
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

// Index finds the rules whose patterns match a name without looking at the others: patterns are kept by the literal text
// they begin with. Add while building; then safe for concurrent use.
type Index struct {
	exact  map[string][]int     // whole names
	begins map[string][]indexed // by literal beginning; "" holds those that begin with a star
	bytes  []int                // the lengths of the keys of begins, ascending
}

type indexed struct {
	rule int
	rest Pattern // what must match behind the beginning; "*" always does
}

// NewIndex returns an empty index.
func NewIndex() *Index {
	return &Index{exact: map[string][]int{}, begins: map[string][]indexed{}}
}

// Add notes that rule is found by p. It must not be called once Find is.
func (x *Index) Add(p Pattern, rule int) {
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

// Find returns the rules that match name, ascending, each once.
func (x *Index) Find(name string) []int {
	out := slices.Clone(x.exact[name])
	for _, n := range x.bytes {
		if n > len(name) {
			break
		}
		for _, entry := range x.begins[name[:n]] {
			if entry.rest == "*" || entry.rest.Match(name[n:]) {
				out = append(out, entry.rule)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
