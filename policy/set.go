package policy

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/policy/condition"
	"github.com/tollgate/tollgate/policy/glob"
)

// Options tune Load and Compile.
type Options struct {
	// CheckLimit parses the limit string of a limit rule, so that a bad one is an error of the file. Nil accepts any.
	CheckLimit func(string) error
	// Location is the time zone of now in conditions. Nil is UTC.
	Location *time.Location
}

// Set is an immutable, compiled set of rules. Safe for concurrent use. The zero value and None deny everything.
type Set struct {
	revision string
	zone     *time.Location
	rules    []*rule // sorted by id
	tools    *glob.Index
	models   *glob.Index
	uses     condition.Uses // of all rules together
	warnings []Warning

	pool  sync.Pool // of *condition.Evaluator
	cache cache
}

// None returns the set that denies everything: what runs when no policy is written.
func None() *Set { return &Set{} }

// Compile is Load for file contents by name; the names appear in errors. It returns all findings at once, joined, each
// with file and line.
func Compile(revision string, files map[string][]byte, o Options) (*Set, error) {
	var found findings
	src := parse(files, &found)
	s := &Set{revision: revision, zone: o.Location, tools: glob.NewIndex(), models: glob.NewIndex(), cache: newCache()}
	if s.zone == nil {
		s.zone = time.UTC
	}
	sets := condition.Sets{}
	for name, set := range src.sets {
		sets[name] = set.values
	}
	for i := range src.rules {
		if r := compileRule(&src.rules[i], sets, o, &found); r != nil {
			s.rules = append(s.rules, r)
		}
	}
	slices.SortFunc(s.rules, func(a, b *rule) int { return cmp.Compare(a.id, b.id) })
	for i := 1; i < len(s.rules); i++ {
		if a, b := s.rules[i-1], s.rules[i]; a.id == b.id {
			found.add(b.file, b.line, "rule %q again: it stands at %s:%d already", b.id, a.file, a.line)
		}
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	for i, r := range s.rules {
		for _, p := range r.tools {
			s.tools.Add(p, i)
		}
		for _, p := range r.models {
			s.models.Add(p, i)
		}
		s.uses.Args = s.uses.Args || r.uses().Args
		s.uses.Spend = s.uses.Spend || r.uses().Spend
	}
	s.warnings = s.lint(src)
	return s, nil
}

// Revision names the set as ledger lines do: see Load.
func (s *Set) Revision() string { return s.revision }

// NeedsSpend reports whether a rule reads spend, so that the gate fills Call.Spend only then.
func (s *Set) NeedsSpend() bool { return s.uses.Spend }

// NeedsArgs reports whether any rule reads args.
func (s *Set) NeedsArgs() bool { return s.uses.Args }

func (s *Set) evaluator() *condition.Evaluator {
	if e, ok := s.pool.Get().(*condition.Evaluator); ok {
		return e
	}
	return &condition.Evaluator{}
}

func (s *Set) release(e *condition.Evaluator) {
	e.Reset()
	s.pool.Put(e)
}
