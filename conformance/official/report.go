package official

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Scenario is what came of one scenario.
type Scenario struct {
	Name     string
	Scored   bool     // it counts for the revision
	Passed   bool     // a check succeeded and none failed
	Failures []string // the checks that failed and what they say
	Warnings []string // the checks that found something which only should be otherwise
}

// judged reads a scenario's checks as the suite does.
func judged(name string, scored bool, checks []check) Scenario {
	s := Scenario{Name: name, Scored: scored}
	for _, c := range checks {
		switch c.Status {
		case "SUCCESS":
			s.Passed = true
		case "FAILURE":
			s.Failures = append(s.Failures, c.ID+": "+c.ErrorMessage)
		case "WARNING":
			s.Warnings = append(s.Warnings, c.ID+": "+c.ErrorMessage)
		}
	}
	s.Passed = s.Passed && s.Failures == nil
	return s
}

// Report is what came of a run, in the order of names.
type Report struct{ Scenarios []Scenario }

// Without returns the report without the scenarios whose name begins with prefix, and how many of those were scored.
func (r *Report) Without(prefix string) (rest *Report, scored int) {
	rest = &Report{}
	for _, s := range r.Scenarios {
		if !strings.HasPrefix(s.Name, prefix) {
			rest.Scenarios = append(rest.Scenarios, s)
		} else if s.Scored {
			scored++
		}
	}
	return rest, scored
}

// Count returns how many scored, or unscored, scenarios passed and how many there are.
func (r *Report) Count(scored bool) (passed, all int) {
	for _, s := range r.Scenarios {
		if s.Scored != scored {
			continue
		}
		all++
		if s.Passed {
			passed++
		}
	}
	return passed, all
}

// String is one line of counts, then what did not pass and what was warned of.
func (r *Report) String() string {
	var b strings.Builder
	passed, all := r.Count(true)
	other, others := r.Count(false)
	fmt.Fprintf(&b, "scored %d/%d, unscored %d/%d", passed, all, other, others)
	for _, s := range r.Scenarios {
		mark := "✗"
		if s.Passed {
			mark = "!"
		}
		if s.Passed && len(s.Warnings) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n  %s %s", mark, s.Name)
		if !s.Scored {
			b.WriteString(" (unscored)")
			continue
		}
		for _, why := range slices.Concat(s.Failures, s.Warnings) {
			fmt.Fprintf(&b, "\n      %s", why)
		}
	}
	return b.String()
}

// Unexpected lists the scored scenarios that failed and are not expected to, and the expected ones that passed or are
// not scenarios at all.
func (r *Report) Unexpected(expected []string) []string {
	var out []string
	for _, s := range r.Scenarios {
		if s.Scored && !s.Passed && !slices.Contains(expected, s.Name) {
			out = append(out, fmt.Sprintf("%s failed: %s", s.Name, strings.Join(s.Failures, "; ")))
		}
	}
	for _, name := range expected {
		i := slices.IndexFunc(r.Scenarios, func(s Scenario) bool { return s.Name == name && s.Scored })
		if i < 0 {
			out = append(out, name+" is expected to fail and is no scored scenario")
		} else if r.Scenarios[i].Passed {
			out = append(out, name+" passes: take it from the list of expected failures")
		}
	}
	return out
}

// Expected reads a list of expected failures of a role, in the suite's format. Each entry must carry a comment that says
// why the scenario cannot pass.
func Expected(file string, role Role) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lists map[Role]yaml.Node
	if err := yaml.Unmarshal(text, &lists); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	list, ok := lists[role]
	if !ok || list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%s has no list named %s", file, role)
	}
	var names []string
	for _, entry := range list.Content {
		if entry.HeadComment == "" && entry.LineComment == "" {
			return nil, fmt.Errorf("%s:%d: %s has no comment that says why it cannot pass", file, entry.Line, entry.Value)
		}
		names = append(names, entry.Value)
	}
	return names, nil
}
