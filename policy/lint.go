package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/policy/glob"
)

// Warning is something in the policies that loads but hardly does what its author meant.
type Warning struct {
	File string
	Line int
	Rule string // id; empty: the set as a whole
	Text string
}

func (w Warning) String() string {
	at := ""
	if w.File != "" {
		at = fmt.Sprintf("%s:%d: ", w.File, w.Line)
	}
	if w.Rule != "" {
		at += "rule " + w.Rule + ": "
	}
	return at + w.Text
}

// RuleInfo is a rule as it was written, for listing.
type RuleInfo struct {
	ID, Effect    string
	Tools, Models []string
	When, If      string
	Limit, Per    string
	Message       string
	File          string
	Line          int
}

// Rules lists the rules by id.
func (s *Set) Rules() []RuleInfo {
	out := make([]RuleInfo, len(s.rules))
	for i, r := range s.rules {
		out[i] = RuleInfo{
			ID: r.id, Effect: string(r.effect), Tools: texts(r.tools), Models: texts(r.models),
			When: r.when.Text(), If: r.cond.Text(), Limit: r.limit, Per: r.per, Message: r.message, File: r.file, Line: r.line,
		}
	}
	return out
}

func texts(patterns []glob.Pattern) []string {
	var out []string
	for _, p := range patterns {
		out = append(out, string(p))
	}
	return out
}

// Warnings are the findings that need nothing but the rules, in the order of the rules' ids.
func (s *Set) Warnings() []Warning {
	if len(s.rules) == 0 {
		return []Warning{{Text: noRules}}
	}
	return slices.Clone(s.warnings)
}

// Unreached are the rules that no configured server or provider is meant by: patterns whose part before the slash
// matches no name.
func (s *Set) Unreached(servers, providers []string) []Warning {
	var out []Warning
	for _, r := range s.rules {
		for _, side := range []struct {
			kind     string
			names    []string
			patterns []glob.Pattern
		}{{"server", servers, r.tools}, {"provider", providers, r.models}} {
			for _, p := range side.patterns {
				if !slices.ContainsFunc(side.names, func(n string) bool { return p.Overlaps(glob.Pattern(n + "/*")) }) {
					out = append(out, r.warn("%q matches nothing here: no %s of that name is configured", p, side.kind))
				}
			}
		}
	}
	return out
}

func (r *rule) warn(format string, args ...any) Warning {
	return Warning{r.file, r.line, r.id, fmt.Sprintf(format, args...)}
}

func (s *Set) lint(src source) []Warning {
	var out []Warning
	used := map[string]bool{}
	for _, r := range s.rules {
		u := r.uses()
		for _, name := range u.Sets {
			used[name] = true
		}
		if u.Spend {
			out = append(out, r.warn("spend is a reading that parallel calls can overtake: what must hold is a limit"))
		}
		if u.Client {
			out = append(out, r.warn("client is what the caller says of itself: another name gets past this rule"))
		}
		if u.Optional && r.effect == allow {
			out = append(out, r.warn("!= on an argument that may be missing holds when it is missing"))
		}
		out = append(out, s.pointless(r)...)
	}
	for _, name := range slices.Sorted(maps.Keys(src.sets)) {
		if !used[name] {
			out = append(out, Warning{File: src.setFile[name], Line: src.sets[name].line, Text: fmt.Sprintf("no rule uses set %q", name)})
		}
	}
	if !slices.ContainsFunc(s.rules, func(r *rule) bool { return r.effect == allow }) {
		out = append(out, Warning{Text: "no rule has effect: allow, so nothing is allowed"})
	}
	return out
}

// pointless finds rules that cannot change any decision.
func (s *Set) pointless(r *rule) []Warning {
	if r.effect == allow {
		for _, d := range s.rules {
			if d.effect == deny && d.when == nil && d.cond == nil && covers(d.tools, r.tools) && covers(d.models, r.models) {
				return []Warning{r.warn("it allows nothing: rule %s denies all that it names", d.id)}
			}
		}
		return nil
	}
	if r.effect != deny && !slices.ContainsFunc(s.rules, func(a *rule) bool {
		return a.effect == allow && (meet(a.tools, r.tools) || meet(a.models, r.models))
	}) {
		return []Warning{r.warn("it restricts nothing: no rule allows what it names, and a rule with effect: %s grants nothing", r.effect)}
	}
	return nil
}

// covers reports whether every name that a pattern of narrow matches is matched by one of wide, as far as can be told by
// reading a star as a text.
func covers(wide, narrow []glob.Pattern) bool {
	return !slices.ContainsFunc(narrow, func(n glob.Pattern) bool {
		return !slices.ContainsFunc(wide, func(w glob.Pattern) bool { return w.Match(strings.ReplaceAll(string(n), "*", "\x00")) })
	})
}

func meet(a, b []glob.Pattern) bool {
	return slices.ContainsFunc(a, func(p glob.Pattern) bool { return slices.ContainsFunc(b, p.Overlaps) })
}
