package policy

import (
	"slices"

	"github.com/tollgate/tollgate/policy/condition"
)

// continues reports whether the action is about a task: work that an earlier tool call of the same principal began.
func (a Action) continues() bool {
	switch a {
	case TaskGet, TaskUpdate, TaskCancel:
		return true
	}
	return false
}

// continues decides whether a principal may go on with a task of a visible tool. The arguments of the call that made it were judged then and
// are not known now: a rule whose if reads args stands as it did when it let the call pass, and what had to be approved was.
// Everything else is judged as of now, so that whoever may no longer call the tool may no longer see what it did either.
func (v *verdict) continues(e *condition.Evaluator) Decision {
	var d Decision
	for _, r := range v.denyIf {
		if yes, known := holdsNow(e, r); yes && known {
			d.Rules, d.Message = append(d.Rules, r.id), say(d.Message, denial(r, nil))
		}
	}
	if len(d.Rules) > 0 {
		return d
	}
	d.Rules = v.granted
	for _, r := range v.allowIf {
		if yes, known := holdsNow(e, r); len(d.Rules) == 0 && (yes || !known) {
			d.Rules = []string{r.id}
		}
	}
	if len(d.Rules) == 0 {
		d.Message = "no rule allows this tool any more"
		return d
	}
	d.Effect, d.Limits = Allow, v.limits
	for _, r := range v.limitIf {
		if yes, known := holdsNow(e, r); yes || !known {
			d.Limits = append(slices.Clip(d.Limits), r.ruleLimit())
		}
	}
	return d
}

// holdsNow evaluates the if of a rule without arguments; known is false when the rule reads them. What cannot be judged holds
// in a rule that restricts and does not in one that allows.
func holdsNow(e *condition.Evaluator, r *rule) (yes, known bool) {
	if r.cond.Uses().Args {
		return false, false
	}
	yes, err := e.Holds(r.cond, nil)
	if err != nil {
		return r.restricts(), true
	}
	return yes, true
}
