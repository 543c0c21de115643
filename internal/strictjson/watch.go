package strictjson

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Paths is a compiled set of members to watch. Immutable, safe for concurrent use.
type Paths struct {
	root  level
	count int
}

// level is one object that a path passes through: the names watched in it.
type level struct {
	watched []watched
	bloom   uint64 // of the watched names, see bloomBit: most other names are turned away by one test
}

type watched struct {
	name  []byte
	out   int    // index of the path that ends here; -1: paths only pass through
	below *level // nil: no path goes further
}

// Compile watches the members at the given dotted paths of an object document: "model", "stream_options.include_usage",
// "params._meta". Arrays are not entered. At every level that a path passes through, names that equal a watched one but
// for case (Unicode simple folding, so U+017F and U+212A too) are refused. It panics on a malformed path: paths are
// constants.
func Compile(paths ...string) *Paths {
	p := &Paths{count: len(paths)}
	for i, path := range paths {
		at := &p.root
		steps := strings.Split(path, ".")
		for j, step := range steps {
			if !plainName(step) {
				panic(fmt.Sprintf("strictjson: path %q has a name that is empty or not ASCII", path))
			}
			w := at.add(step)
			if j < len(steps)-1 {
				if w.below == nil {
					w.below = &level{}
				}
				at = w.below
				continue
			}
			if w.out >= 0 {
				panic(fmt.Sprintf("strictjson: path %q is given twice", path))
			}
			w.out = i
		}
	}
	return p
}

func plainName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// add returns the watched name in l, made if need be. The pointer is valid until the next add.
func (l *level) add(name string) *watched {
	i := slices.IndexFunc(l.watched, func(w watched) bool { return string(w.name) == name })
	if i < 0 {
		i = len(l.watched)
		l.watched = append(l.watched, watched{name: []byte(name), out: -1})
		l.bloom |= bloomBit(l.watched[i].name)
	}
	return &l.watched[i]
}

// bloomBit maps a name to one of 64 bits, the same one for all ASCII case variants of it.
func bloomBit(name []byte) uint64 {
	if len(name) == 0 {
		return 0
	}
	return 1 << ((uint(len(name)) + 7*uint(name[0]|0x20)) & 63)
}

// match finds name, which is unescaped, among the watched ones: itself, or one that differs from it by case only.
func (l *level) match(name []byte, ascii bool) (w *watched, variant bool) {
	if ascii && l.bloom&bloomBit(name) == 0 {
		return nil, false
	}
	for i := range l.watched {
		if bytes.Equal(l.watched[i].name, name) {
			return &l.watched[i], false
		}
	}
	for i := range l.watched {
		if bytes.EqualFold(l.watched[i].name, name) {
			return &l.watched[i], true
		}
	}
	return nil, false
}
