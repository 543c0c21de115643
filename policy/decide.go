package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/policy/condition"
)

// verdict is what can be said of a principal and a target before a call is made: the rules whose patterns and when hold.
// It depends on nothing else, so it is kept and shared. Immutable.
type verdict struct {
	visible bool
	final   *Decision // the answer when no if is open; always set when not visible

	granted  []string // allow rules without an if, ids
	approved []*rule  // approve rules without an if
	limits   []RuleLimit

	// Rules whose if is open.
	allowIf, denyIf, approveIf, limitIf []*rule

	members []string // of args that these rules read; nil: any
	now     bool     // one of them reads now
}

// Decide answers a call. It does no I/O, reads no clock and never fails. The slices of the answer are shared: callers
// must not change them.
//
// A list of tools, resources, prompts or models is allowed by any set that has a rule: what is in it is decided item by item with Visible.
// A call of the gateway's own is not decided here and denied, as is one that names neither a tool nor a model.
func (s *Set) Decide(c *Call) Decision {
	if c == nil || c.Principal == nil {
		return Decision{Message: "nobody is named whose call this is", Revision: s.revision}
	}
	if c.Action.lists() && c.Tool == nil && c.Model == nil {
		if len(s.rules) == 0 {
			return Decision{Message: noRules, Revision: s.revision}
		}
		return Decision{Effect: Allow, Revision: s.revision}
	}
	v := s.verdict(c)
	if v.final != nil && !(v.visible && c.Action.continues()) {
		return *v.final
	}
	e := s.evaluator()
	defer s.release(e)
	setPrincipal(&e.Vars, c.Principal)
	setTarget(&e.Vars, c.Tool, c.Model)
	setCall(&e.Vars, c)
	if v.now {
		setNow(&e.Vars, c.Now, s.zone)
	}
	e.Args, e.NoSpend = c.Args, c.Spend == nil
	d := v.decideFor(e, c.Action)
	if e.Exhausted() {
		d = Decision{Message: fmt.Sprintf("the arguments need more than %d steps to be judged: send smaller ones", condition.DecisionStepsMax)}
	}
	d.Revision = s.revision
	return d
}

// Visible reports whether the call's tool or model may be listed: some allow rule may match it and no unconditional deny
// does. Not visible means denied for all arguments.
func (s *Set) Visible(c *Call) bool {
	return c != nil && c.Principal != nil && s.verdict(c).visible
}

// decideFor decides a call, or what follows one.
func (v *verdict) decideFor(e *condition.Evaluator, a Action) Decision {
	if a.continues() {
		return v.continues(e)
	}
	return v.decide(e)
}

// decide evaluates what is open, in an order that cannot matter: deny, allow, approve, limit.
func (v *verdict) decide(e *condition.Evaluator) Decision {
	var d Decision
	for _, r := range v.denyIf {
		if yes, err := e.Holds(r.cond, v.members); yes || err != nil {
			d.Rules = append(d.Rules, r.id)
			d.Message = say(d.Message, denial(r, err))
		}
	}
	if len(d.Rules) > 0 {
		return d
	}
	d.Rules = v.granted
	var refusals []string
	for _, r := range v.allowIf {
		if len(d.Rules) > 0 {
			break
		}
		yes, err := e.Holds(r.cond, v.members)
		if yes && err == nil {
			d.Rules = []string{r.id}
			break
		}
		refusals = append(refusals, refusal(r, err))
	}
	if len(d.Rules) == 0 {
		d.Message = "no rule allows this call with these arguments: " + strings.Join(refusals, "; ")
		return d
	}
	d.Effect = Allow
	v.restrict(e, &d)
	return d
}

// restrict adds to an allowed call what approve and limit rules demand.
func (v *verdict) restrict(e *condition.Evaluator, d *Decision) {
	waiting := v.approved
	for _, r := range v.approveIf {
		if yes, err := e.Holds(r.cond, v.members); yes || err != nil {
			waiting = append(slices.Clip(waiting), r)
		}
	}
	if len(waiting) > 0 {
		demandApproval(d, waiting)
	}
	d.Limits = v.limits
	for _, r := range v.limitIf {
		if yes, err := e.Holds(r.cond, v.members); yes || err != nil {
			d.Limits = append(slices.Clip(d.Limits), r.ruleLimit())
		}
	}
}

func demandApproval(d *Decision, waiting []*rule) {
	d.Effect, d.Rules = Approve, nil
	for _, r := range waiting {
		d.Rules = append(d.Rules, r.id)
		message := r.message
		if message == "" {
			message = "rule " + r.id + " asks for an approval of this call"
		}
		d.Message = say(d.Message, message)
	}
	slices.Sort(d.Rules)
}

func (r *rule) ruleLimit() RuleLimit { return RuleLimit{Rule: r.id, Limit: r.limit, Per: r.per} }

// denial says why rule r denies a call; err is what went wrong in it, if something did.
func denial(r *rule, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("rule %s cannot be judged, so it denies: %s", r.id, condition.Cause(err))
	case r.message != "":
		return r.message
	}
	return "rule " + r.id + " denies this call"
}

// refusal says why the allow rule r did not match.
func refusal(r *rule, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("rule %s: %s", r.id, condition.Cause(err))
	case r.message != "":
		return r.message
	}
	return "the if of rule " + r.id + " does not hold"
}

// say joins what several rules have to say, each once.
func say(before, more string) string {
	if before == "" || before == more {
		return more
	}
	return before + "; " + more
}

// lists reports whether the action only asks what there is.
func (a Action) lists() bool {
	switch a {
	case ToolList, ResourceList, PromptList, ModelList:
		return true
	}
	return false
}
