package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate/tollgate/internal/strictyaml"
)

// What a directory of policies may hold. All of it is compiled before any of it is used.
const (
	fileBytesMax  = 1 << 20 // one file; a thousand rules are 200 KB
	filesMax      = 256
	rulesMax      = 2000
	setsMax       = 1000
	setMembersMax = 10_000
	patternsMax   = 256 // of one rule, per side
	idBytesMax    = 64
	textBytesMax  = 500 // of a message
)

// document is the shape of one policy file.
type document struct {
	Version int            `yaml:"version"`
	Sets    map[string]set `yaml:"sets"`
	Rules   []written      `yaml:"rules"`
}

// written is one rule as the file has it.
type written struct {
	ID      text   `yaml:"id"`
	Effect  text   `yaml:"effect"`
	Tools   []text `yaml:"tools"`
	Models  []text `yaml:"models"`
	When    text   `yaml:"when"`
	If      text   `yaml:"if"`
	Message text   `yaml:"message"`
	Limit   text   `yaml:"limit"`
	Per     text   `yaml:"per"`

	line int
	file string
}

func (w *written) UnmarshalYAML(n *yaml.Node) error {
	type plain written
	w.line = n.Line
	return strictyaml.Node(n, (*plain)(w))
}

// text is a scalar that remembers where it stands.
type text struct {
	string
	line int // of its first line
}

func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("expected text")
	}
	t.string, t.line = n.Value, n.Line
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		t.line++
	}
	if strings.TrimSpace(t.string) == "" {
		return fmt.Errorf("empty text: write a value or remove the key")
	}
	return nil
}

// set is a named list that rules refer to as sets.NAME: all texts or all whole numbers.
type set struct {
	values any // []string or []int
	line   int
}

func (s *set) UnmarshalYAML(n *yaml.Node) error {
	s.line = n.Line
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("a set is a list of texts or of whole numbers")
	}
	if len(n.Content) > setMembersMax {
		return fmt.Errorf("a set has at most %d members", setMembersMax)
	}
	if len(n.Content) > 0 && n.Content[0].Tag == "!!int" {
		return members[int](s, n, "!!int")
	}
	return members[string](s, n, "!!str")
}

func members[T string | int](s *set, n *yaml.Node, tag string) error {
	values := make([]T, len(n.Content))
	for i, item := range n.Content {
		if item.Kind != yaml.ScalarNode || item.Tag != tag || item.Decode(&values[i]) != nil {
			return &strictyaml.Error{Line: item.Line, Text: "a set holds texts, or whole numbers, not both; quote a member to make it a text"}
		}
	}
	s.values = values
	return nil
}

// findings gathers what is wrong with the files.
type findings []error

func (f *findings) add(file string, line int, format string, args ...any) {
	*f = append(*f, &strictyaml.Error{File: file, Line: max(line, 1), Text: fmt.Sprintf(format, args...)})
}

// err joins all findings in the order of files and lines.
func (f findings) err() error {
	slices.SortStableFunc(f, func(a, b error) int {
		x, y := (*strictyaml.Error)(nil), (*strictyaml.Error)(nil)
		if !errors.As(a, &x) || !errors.As(b, &y) {
			return 0
		}
		return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line))
	})
	return errors.Join(f...)
}

// source is all files together.
type source struct {
	sets    map[string]set
	setFile map[string]string
	rules   []written
}

// parse reads all files, in the order of their names.
func parse(files map[string][]byte, found *findings) source {
	src := source{sets: map[string]set{}, setFile: map[string]string{}}
	if len(files) > filesMax {
		found.add("policies", 1, "%d files; at most %d are read", len(files), filesMax)
		return src
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if len(files[name]) > fileBytesMax {
			found.add(name, 1, "%d bytes; a policy file has at most %d", len(files[name]), fileBytesMax)
			continue
		}
		var f document
		if err := strictyaml.Unmarshal(name, files[name], &f); err != nil {
			*found = append(*found, err)
			continue
		}
		src.take(name, f, found)
	}
	return src
}

var (
	idShape  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	setShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (src *source) take(name string, f document, found *findings) {
	if f.Version != 1 {
		found.add(name, 1, "write version: 1; it says how the file is read")
	}
	for _, s := range slices.Sorted(maps.Keys(f.Sets)) {
		line := f.Sets[s].line
		if other, ok := src.setFile[s]; ok {
			found.add(name, line, "set %q is declared in %s already", s, other)
		}
		if !setShape.MatchString(s) {
			found.add(name, line, "set %q: a set's name has letters, digits and _", s)
		}
		src.sets[s], src.setFile[s] = f.Sets[s], name
	}
	for _, r := range f.Rules {
		r.file = name
		src.rules = append(src.rules, r)
	}
	if len(src.rules) > rulesMax {
		found.add(name, 1, "more than %d rules", rulesMax)
	}
	if len(src.sets) > setsMax {
		found.add(name, 1, "more than %d sets", setsMax)
	}
}
