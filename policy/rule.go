package policy

import (
	"errors"
	"strings"

	"github.com/tollgate/tollgate/internal/strictyaml"
	"github.com/tollgate/tollgate/policy/condition"
	"github.com/tollgate/tollgate/policy/glob"
)

// ruleEffect is what a matching rule does. deny beats approve beats allow; limit adds to whatever is allowed.
type ruleEffect string

const (
	allow   ruleEffect = "allow"
	deny    ruleEffect = "deny"
	approve ruleEffect = "approve"
	limit   ruleEffect = "limit"
)

var effects = [...]string{"allow", "approve", "deny", "limit"}

// rule is one compiled rule. Immutable.
type rule struct {
	id      string
	effect  ruleEffect
	tools   []glob.Pattern
	models  []glob.Pattern
	when    *condition.Expression // nil: always
	cond    *condition.Expression // the if; nil: always
	message string
	limit   string
	per     string
	file    string
	line    int
}

// restricts reports whether the rule can only take away, so that an error in it counts as a match.
func (r *rule) restricts() bool { return r.effect != allow }

// uses gathers what both conditions read.
func (r *rule) uses() condition.Uses {
	var out condition.Uses
	for _, x := range [...]*condition.Expression{r.when, r.cond} {
		u := x.Uses()
		out.Args = out.Args || u.Args
		out.Spend = out.Spend || u.Spend
		out.Client = out.Client || u.Client
		out.Optional = out.Optional || u.Optional
		out.Sets = append(out.Sets, u.Sets...)
	}
	return out
}

// compileRule compiles w, or adds what is wrong with it to found and returns nil.
func compileRule(w *written, sets condition.Sets, o Options, found *findings) *rule {
	before := len(*found)
	fail := func(t text, format string, args ...any) {
		line := t.line
		if line == 0 {
			line = w.line
		}
		found.add(w.file, line, format, args...)
	}
	r := &rule{
		id: w.ID.string, effect: ruleEffect(w.Effect.string), message: w.Message.string,
		limit: w.Limit.string, per: w.Per.string, file: w.file, line: w.line,
	}
	switch {
	case r.id == "":
		fail(w.ID, "the rule has no id: give it one, it appears on ledger lines")
	case len(r.id) > idBytesMax || !idShape.MatchString(r.id):
		fail(w.ID, "id %q: an id has letters, digits, dot, - and _, and at most %d of them", r.id, idBytesMax)
	}
	switch r.effect {
	case allow, deny, approve, limit:
	case "":
		fail(w.Effect, "rule %q has no effect: allow, deny, approve or limit", r.id)
	default:
		fail(w.Effect, "unknown effect %q%s: allow, deny, approve or limit", w.Effect.string, strictyaml.DidYouMean(w.Effect.string, effects[:]))
	}
	if len(r.message) > textBytesMax {
		fail(w.Message, "a message has at most %d bytes", textBytesMax)
	}
	r.tools = patterns(w.Tools, "tools", fail)
	r.models = patterns(w.Models, "models", fail)
	if len(w.Tools)+len(w.Models) == 0 {
		fail(w.ID, "rule %q names neither tools: nor models:, so it matches nothing", r.id)
	}
	checkLimit(r, w, o, fail)
	sc := condition.Scope{Tools: len(w.Tools) > 0, Models: len(w.Models) > 0, Grants: r.effect == allow}
	r.when = compileCondition("when", w.When, sc, sets, fail)
	sc.CallTime = true
	r.cond = compileCondition("if", w.If, sc, sets, fail)
	if len(*found) > before {
		return nil
	}
	return r
}

func patterns(written []text, side string, fail func(text, string, ...any)) []glob.Pattern {
	if len(written) > patternsMax {
		fail(written[0], "a rule has at most %d patterns under %s:", patternsMax, side)
		return nil
	}
	out := make([]glob.Pattern, 0, len(written))
	for _, t := range written {
		if err := glob.Check(t.string, side); err != nil {
			fail(t, "%s", err)
			continue
		}
		out = append(out, glob.Pattern(t.string))
	}
	return out
}

var scopes = [...]string{"key", "user", "team", "customer", "all"}

func checkLimit(r *rule, w *written, o Options, fail func(text, string, ...any)) {
	if r.effect != limit {
		if r.limit != "" {
			fail(w.Limit, "limit: belongs to rules with effect: limit")
		}
		if r.per != "" {
			fail(w.Per, "per: belongs to rules with effect: limit")
		}
		return
	}
	if r.limit == "" {
		fail(w.Limit, `rule %q has no limit: write one such as limit: "30 requests / 1m"`, r.id)
	} else if o.CheckLimit != nil {
		if err := o.CheckLimit(r.limit); err != nil {
			fail(w.Limit, "%s", err)
		}
	}
	if r.per == "" {
		r.per = "key"
	}
	if !strings.Contains(" key user team customer all ", " "+r.per+" ") {
		fail(w.Per, "per: %q%s: key, user, team, customer or all", r.per, strictyaml.DidYouMean(r.per, scopes[:]))
	}
}

func compileCondition(name string, t text, sc condition.Scope, sets condition.Sets, fail func(text, string, ...any)) *condition.Expression {
	if t.string == "" {
		return nil
	}
	x, err := condition.Compile(t.string, sc, sets)
	if bad := (*condition.Error)(nil); errors.As(err, &bad) {
		fail(text{line: t.line + bad.Line}, "%s: %s", name, bad.Text)
	}
	return x
}
