package policy

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"
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
	tools    *index
	models   *index
	uses     uses // of all rules together
	warnings []Warning

	pool  sync.Pool // of *evaluator
	cache cache
}

// None returns the set that denies everything: what runs when no policy is written.
func None() *Set { return &Set{} }

// Compile is Load for file contents by name; the names appear in errors. It returns all findings at once, joined, each
// with file and line.
func Compile(revision string, files map[string][]byte, o Options) (*Set, error) {
	var found findings
	src := parse(files, &found)
	s := &Set{revision: revision, zone: o.Location, tools: newIndex(), models: newIndex(), cache: newCache()}
	if s.zone == nil {
		s.zone = time.UTC
	}
	for i := range src.rules {
		if r := compileRule(&src.rules[i], src.sets, o, &found); r != nil {
			s.rules = append(s.rules, r)
		}
	}
	slices.SortFunc(s.rules, func(a, b *rule) int { return cmp.Compare(a.id, b.id) })
	for i := 1; i < len(s.rules); i++ {
		if a, b := s.rules[i-1], s.rules[i]; a.id == b.id {
			found.add(b.file, b.line, "rule %q again: it stands at %s:%d already", b.id, a.file, a.line)
		}
	}
	if len(found) > 0 {
		return nil, errors.Join(found...)
	}
	for i, r := range s.rules {
		for _, p := range r.tools {
			s.tools.add(p, i)
		}
		for _, p := range r.models {
			s.models.add(p, i)
		}
		s.uses.args = s.uses.args || r.uses().args
		s.uses.spend = s.uses.spend || r.uses().spend
	}
	s.warnings = s.lint(src)
	return s, nil
}

// Revision names the set as ledger lines do: see Load.
func (s *Set) Revision() string { return s.revision }

// NeedsSpend reports whether a rule reads spend, so that the gate fills Call.Spend only then.
func (s *Set) NeedsSpend() bool { return s.uses.spend }

// NeedsArgs reports whether any rule reads args.
func (s *Set) NeedsArgs() bool { return s.uses.args }

func (s *Set) evaluator() *evaluator {
	if e, ok := s.pool.Get().(*evaluator); ok {
		return e
	}
	return &evaluator{}
}

func (s *Set) release(e *evaluator) {
	e.reset()
	s.pool.Put(e)
}
