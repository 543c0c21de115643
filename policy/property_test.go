package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
)

// Conditions of random rules, each with what it says in plain Go: yes, no, or that it cannot be judged.
type known struct {
	text string
	says func(c *Call, args map[string]any) (yes, failed bool)
}

var whens = []known{
	{"", func(*Call, map[string]any) (bool, bool) { return true, false }},
	{`key.team == "t1"`, func(c *Call, _ map[string]any) (bool, bool) { return c.Principal.Team == "t1", false }},
	{`"g1" in user.groups`, func(c *Call, _ map[string]any) (bool, bool) { return slices.Contains(c.Principal.Groups, "g1"), false }},
	{`tool.read_only && server.name != "s2"`, func(c *Call, _ map[string]any) (bool, bool) { return c.Tool.ReadOnly && c.Tool.Server != "s2", false }},
	{`key.tags[0] == "x"`, func(c *Call, _ map[string]any) (bool, bool) {
		return len(c.Principal.Tags) > 0 && c.Principal.Tags[0] == "x", len(c.Principal.Tags) == 0
	}},
}

var ifs = []known{
	whens[0],
	whens[0],
	{`args.n > 5`, func(_ *Call, args map[string]any) (bool, bool) {
		n, ok := args["n"].(float64)
		return n > 5, !ok
	}},
	{`args?.s == "a"`, func(_ *Call, args map[string]any) (bool, bool) { return args["s"] == "a", args == nil }},
	{`has(args.n) && args.n != 3`, func(_ *Call, args map[string]any) (bool, bool) {
		return args["n"] != nil && args["n"] != float64(3), args == nil
	}},
	{`call.stream`, func(c *Call, _ map[string]any) (bool, bool) { return c.Stream, false }},
	{`not run.saw_untrusted`, func(c *Call, _ map[string]any) (bool, bool) { return c.Run == nil || !c.Run.SawUntrusted, false }},
}

var somePatterns = []string{"*", "*", "s1/*", "s1/*", "s2/*", "*/a", "*/b*", "s1/a", "s1/b", "s2/resource:*", "s*/a", "s3/x"}

// randomRule is a rule and its plain reading.
type randomRule struct {
	id, effect string
	tools      []string
	when, cond known
}

func randomRules(r *rand.Rand) []randomRule {
	out := make([]randomRule, 2+r.IntN(8))
	for i := range out {
		out[i] = randomRule{ // allow comes often, or most sets would allow nothing
			id: fmt.Sprintf("r%02d", r.IntN(90)), effect: []string{"allow", "allow", "allow", "allow", "deny", "approve", "limit"}[r.IntN(7)],
			when: whens[r.IntN(len(whens))], cond: ifs[r.IntN(len(ifs))],
		}
		for range 1 + r.IntN(2) {
			out[i].tools = append(out[i].tools, somePatterns[r.IntN(len(somePatterns))])
		}
	}
	slices.SortFunc(out, func(a, b randomRule) int { return strings.Compare(a.id, b.id) })
	return slices.CompactFunc(out, func(a, b randomRule) bool { return a.id == b.id })
}

func (w randomRule) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{id: %s, effect: %s, tools: ["%s"]`, w.id, w.effect, strings.Join(w.tools, `", "`))
	if w.when.text != "" {
		fmt.Fprintf(&b, `, when: '%s'`, w.when.text)
	}
	if w.cond.text != "" {
		fmt.Fprintf(&b, `, if: '%s'`, w.cond.text)
	}
	if w.effect == "limit" {
		b.WriteString(`, limit: 1 calls / 1d`)
	}
	return b.String() + "}"
}

func (w randomRule) names(c *Call) bool {
	for _, p := range w.tools {
		// path.Match stops its star at a slash; the names below have one slash at most.
		if p == "*" {
			return true
		}
		if ok, _ := path.Match(p, c.Tool.Path()); ok {
			return true
		}
	}
	return false
}

// matches reads the rule as the documentation does: an error restricts.
func (w randomRule) matches(c *Call, args map[string]any) bool {
	if !w.names(c) {
		return false
	}
	yes, failed := w.when.says(c, args)
	if failed || !yes {
		return failed && w.effect != "allow"
	}
	if w.cond.text == "" {
		return true
	}
	yes, failed = w.cond.says(c, args)
	if failed {
		return w.effect != "allow"
	}
	return yes
}

// plainDecide is the documentation in code: deny beats approve beats allow, limits add up, nothing means no.
func plainDecide(rules []randomRule, c *Call, args map[string]any) (effect Effect, limits []string) {
	matched := map[string]bool{}
	for _, w := range rules {
		if w.matches(c, args) {
			matched[w.effect] = true
			if w.effect == "limit" {
				limits = append(limits, w.id)
			}
		}
	}
	switch {
	case matched["deny"] || !matched["allow"]:
		return Deny, nil
	case matched["approve"]:
		return Approve, limits
	}
	return Allow, limits
}

func randomCall(r *rand.Rand) (*Call, map[string]any) {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	p := &Principal{Key: "k", Team: pick("t1", "t2"), Tags: [][]string{nil, {"x"}, {"y", "x"}}[r.IntN(3)], Groups: [][]string{nil, {"g1"}, {"g2"}}[r.IntN(3)]}
	c := toolCall(p, pick("s1/", "s1/", "s2/", "s4/")+pick("a", "b", "bb", "c"), "")
	c.Tool.ReadOnly, c.Stream = r.IntN(2) == 0, r.IntN(2) == 0
	if r.IntN(4) == 0 {
		c.Tool.Kind = "resource"
	}
	if r.IntN(3) == 0 {
		c.Run = &Run{SawUntrusted: r.IntN(2) == 0}
	}
	c.Args = []byte(pick(``, `{}`, `{"n":6}`, `{"n":3,"s":"a"}`, `{"n":"6"}`, `{"s":"a"}`, `{"n":null}`, `{"n":7,"n":1}`, `[`))
	var args map[string]any
	if err := json.Unmarshal(c.Args, &args); len(c.Args) == 0 || strings.Count(string(c.Args), `"n"`) > 1 {
		args = map[string]any{}
		if len(c.Args) > 0 {
			args = nil
		}
	} else if err != nil {
		args = nil
	}
	return c, args
}

// Over random rules and calls: what is callable is listed, and every decision is the one that the documentation gives.
func TestCallableMeansListed(t *testing.T) {
	sets, calls := 250, 500
	if testing.Short() {
		sets = 20
	}
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[Effect]int{}
	hidden := 0
	for range sets {
		rules := randomRules(r)
		texts := make([]string, len(rules))
		for i, w := range rules {
			texts[i] = w.text()
		}
		s := compile(t, texts...)
		for range calls {
			c, args := randomCall(r)
			d := s.Decide(c)
			checkInvariants(t, s, c, d)
			effect, limits := plainDecide(rules, c, args)
			var gotLimits []string
			for _, l := range d.Limits {
				gotLimits = append(gotLimits, l.Rule)
			}
			slices.Sort(gotLimits)
			if d.Effect != effect || !slices.Equal(gotLimits, limits) {
				t.Fatalf("rules\n%s\ncall %+v tool %+v args %s\n got %+v\nwant %v %v", strings.Join(texts, "\n"), c, c.Tool, c.Args, d, effect, limits)
			}
			seen[effect]++
			if d.Hidden {
				hidden++
				checkHidden(t, s, c)
			}
		}
	}
	if total := sets * calls; seen[Allow] < total/10 || seen[Approve] < total/100 || seen[Deny]-hidden < total/20 || hidden < total/10 {
		t.Errorf("the cases are lopsided: %v, %d hidden", seen, hidden)
	}
}

// checkHidden holds that what is hidden is denied for all arguments.
func checkHidden(t *testing.T, s *Set, c *Call) {
	t.Helper()
	for _, args := range []string{``, `{"n":6,"s":"a"}`, `{"n":1}`, `[`} {
		other := *c
		other.Args, other.Stream, other.Run = []byte(args), !c.Stream, nil
		if d := s.Decide(&other); d.Effect != Deny || !d.Hidden {
			t.Fatalf("hidden, but with %s: %+v", args, d)
		}
	}
}

// FuzzDecide feeds whole files and arguments: nothing panics, and what is true of every decision holds.
func FuzzDecide(f *testing.F) {
	f.Add([]byte(`{version: 1, rules: [{id: a, effect: allow, tools: ["s/*"], if: args.x == 1}, {id: d, effect: deny, tools: ["*"], when: tool.read_only}]}`), "s", "t", []byte(`{"x":1}`), true)
	f.Add([]byte(`{version: 1, sets: {n: [1, 2]}, rules: [{id: a, effect: allow, tools: ["*"], models: ["*"]}, {id: l, effect: limit, tools: ["s/t*"], if: 'args.x in sets.n', limit: 1 calls / 1d}]}`), "s", "tt", []byte(`{"x":[1]}`), false)
	f.Add([]byte("version: 1\nrules:\n- id: p\n  effect: approve\n  tools: ['*']\n  if: |\n    any(args.l, .a > 1)\n- {id: a, effect: allow, tools: [s/t], when: 'key.tags[0] == user.name'}\n"), "s", "t", []byte(`{"l":[{"a":2}]}`), true)
	f.Fuzz(func(t *testing.T, rules []byte, server, name string, args []byte, readOnly bool) {
		s, err := Compile("rev", map[string][]byte{"r.yaml": rules}, Options{})
		if err != nil {
			return
		}
		c := &Call{Principal: &Principal{Key: "k", Tags: []string{"x"}, User: "x"}, Action: ToolCall, Tool: &Tool{Server: server, Name: name, ReadOnly: readOnly}, Args: args}
		d := s.Decide(c)
		checkInvariants(t, s, c, d)
		if again := s.Decide(c); fmt.Sprint(again) != fmt.Sprint(d) {
			t.Fatalf("first %+v, then %+v", d, again)
		}
		s.Warnings()
		s.Rules()
	})
}
