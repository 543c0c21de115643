package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/target"
)

// Rounds differ much, but the target is always 100 µs slower than the direct call next to it: that is what it adds.
func TestAddedIsTheMedianOfDifferencesWithinARound(t *testing.T) {
	m := &measured{scenario: &scenario{title: "at %s"}, rate: 1000, slices: map[string][]slice{
		target.Direct:   {{p50: 50, perSecond: 100}, {p50: 900, perSecond: 10}, {p50: 60, perSecond: 80}},
		target.Tollgate: {{p50: 150, perSecond: 50}, {p50: 1000, perSecond: 5}, {p50: 160, perSecond: 40}},
	}}
	if got := m.added(target.Tollgate, p50); got != 100 {
		t.Errorf("added %v", got)
	}
	if got := m.ratio(target.Tollgate, target.Direct, perSecond); got != "0.50" {
		t.Errorf("ratio %v", got)
	}
	if got := m.ratio(target.Tollgate, target.Nginx, perSecond); got != "–" {
		t.Errorf("ratio to what was not measured: %v", got)
	}
	if got := m.title(); got != "at 1000/s" {
		t.Errorf("title %q", got)
	}
}

func TestEveryRowFitsItsColumns(t *testing.T) {
	for _, s := range scenarios {
		m := &measured{scenario: &s, rate: s.rate + s.share, slices: map[string][]slice{target.Direct: {{p50: 1}}, target.Proxy: {{p50: 2, bad: 1, queued: 3}}}}
		for name := range m.slices {
			if row := m.row(name); len(row) != len(m.columns()) {
				t.Errorf("%s: %d cells for %d columns", s.name, len(row), len(m.columns()))
			}
		}
		if got := m.bad(target.Proxy); got != "1 of 1 (up to 3 queued)" {
			t.Errorf("bad: %q", got)
		}
		if s.like != "" && !slices.ContainsFunc(scenarios, func(o scenario) bool { return o.name == s.like }) {
			t.Errorf("%s is like %q, which is no scenario", s.name, s.like)
		}
		if s.of != "" && !slices.ContainsFunc(scenarios, func(o scenario) bool { return o.name == s.of }) {
			t.Errorf("%s takes its rate from %q, which is no scenario", s.name, s.of)
		}
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		args    string
		rounds  int
		slice   time.Duration
		out     string
		inside  bool
		targets int
		fails   bool
	}{
		{args: "", rounds: fullRounds, slice: fullSlice, out: "BENCHMARKS.md", inside: true, targets: 5},
		{args: "-short", rounds: shortRounds, slice: shortSlice, targets: 5},
		{args: "-short -rounds 7", rounds: 7, slice: shortSlice, targets: 5},
		{args: "-only chat -targets tollgate", rounds: fullRounds, slice: fullSlice, targets: 2},
		{args: "-only (", fails: true},
		{args: "surplus", fails: true},
	}
	for _, tt := range tests {
		o, err := parse(strings.Fields(tt.args))
		if (err != nil) != tt.fails {
			t.Errorf("%q: %v", tt.args, err)
		}
		if err == nil && (o.rounds != tt.rounds || o.slice != tt.slice || o.out != tt.out || o.inside != tt.inside || len(o.targets) != tt.targets) {
			t.Errorf("%q: %+v", tt.args, o)
		}
	}
}
