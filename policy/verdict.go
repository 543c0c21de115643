package policy

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/tollgate/tollgate/policy/condition"
)

const noRules = "no policy rule is loaded, so nothing is allowed: write an allow rule into the directory that policies: names in the config, " +
	`for instance {version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`

// verdict returns what the set says of the call's principal and target, from the cache if it is there.
func (s *Set) verdict(c *Call) *verdict {
	if len(s.rules) == 0 {
		return s.hide(noRules)
	}
	hash, ok := s.cache.hash(c)
	if !ok {
		return s.judge(c)
	}
	if v := s.cache.get(hash, c); v != nil {
		return v
	}
	v := s.judge(c)
	s.cache.put(hash, c, v)
	return v
}

func (s *Set) hide(message string, rules ...string) *verdict {
	return &verdict{final: &Decision{Hidden: true, Rules: rules, Message: message, Revision: s.revision}}
}

// judge evaluates patterns and when of the rules that may match, and the key's own filter.
func (s *Set) judge(c *Call) *verdict {
	name, found := "", []int(nil)
	switch {
	case c.Tool != nil && c.Model == nil:
		name = c.Tool.Path()
		found = s.tools.Find(name)
	case c.Model != nil && c.Tool == nil:
		name = c.Model.Path()
		found = s.models.Find(name)
	default:
		return s.hide("the call names neither a tool nor a model")
	}
	e := s.evaluator()
	defer s.release(e)
	setPrincipal(&e.Vars, c.Principal)
	setTarget(&e.Vars, c.Tool, c.Model)
	if narrow := c.Principal.Narrow; narrow != nil && !narrow.admits(e, c) {
		return s.hide(fmt.Sprintf("the filter of key %s leaves %s out", c.Principal.Key, name))
	}
	v := &verdict{}
	var denied []*rule
	message := ""
	for _, i := range found {
		r := s.rules[i]
		yes, err := e.Holds(r.when, nil)
		switch {
		case err != nil && !r.restricts(), err == nil && !yes:
		case r.effect == deny && (err != nil || r.cond == nil):
			denied = append(denied, r)
			message = say(message, denial(r, err))
		default:
			v.add(r, err != nil)
		}
	}
	switch {
	case e.Exhausted():
		return s.hide(fmt.Sprintf("rules for %s need more than %d steps", name, condition.DecisionStepsMax))
	case len(denied) > 0:
		return s.hide(message, ids(denied)...)
	case len(v.granted)+len(v.allowIf) == 0:
		return s.hide(fmt.Sprintf("no rule allows %s for key %s: write an allow rule that names it into the policies", name, c.Principal.Key))
	}
	v.visible = true
	v.close(s.revision)
	return v
}

// add sorts a rule whose patterns and when hold by what is still open of it. A rule that could not be judged is not open.
func (v *verdict) add(r *rule, failed bool) {
	open := r.cond != nil && !failed
	switch {
	case r.effect == allow && open:
		v.allowIf = append(v.allowIf, r)
	case r.effect == allow:
		v.granted = append(v.granted, r.id)
	case r.effect == deny:
		v.denyIf = append(v.denyIf, r)
	case r.effect == approve && open:
		v.approveIf = append(v.approveIf, r)
	case r.effect == approve:
		v.approved = append(v.approved, r)
	case open:
		v.limitIf = append(v.limitIf, r)
	default:
		v.limits = append(v.limits, r.ruleLimit())
	}
}

// close notes what the open rules read, or the answer when none is open. What answers share gets no room to grow.
func (v *verdict) close(revision string) {
	v.granted, v.limits = slices.Clip(v.granted), slices.Clip(v.limits)
	v.members = []string{}
	for _, open := range [...][]*rule{v.allowIf, v.denyIf, v.approveIf, v.limitIf} {
		for _, r := range open {
			u := r.cond.Uses()
			v.now = v.now || u.Now
			switch {
			case !u.Args || v.members == nil:
			case u.Members == nil:
				v.members = nil
			default:
				v.members = append(v.members, u.Members...)
			}
		}
	}
	if len(v.granted) > 0 && len(v.denyIf)+len(v.approveIf)+len(v.limitIf) == 0 {
		d := Decision{Effect: Allow, Rules: v.granted, Limits: v.limits, Revision: revision}
		if len(v.approved) > 0 {
			demandApproval(&d, v.approved)
		}
		v.final = &d
	}
}

func ids(rules []*rule) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = r.id
	}
	return out
}

// The cache of verdicts. A place is overwritten by whoever needs it next, so it is bounded without bookkeeping.
const (
	cachePlaces       = 4096 // 32 KB of pointers; an entry has some 400 bytes
	cachedNameBytes   = 512  // longer names (resource URIs) are judged anew
	cachePlacesPerKey = 2    // a verdict may stand in either of two neighbours
)

type cache struct {
	seed   maphash.Seed
	places []atomic.Pointer[cached]
}

// cached is a verdict with all it depends on.
type cached struct {
	principal *Principal
	isModel   bool
	tool      Tool
	model     Model
	verdict   *verdict
}

func newCache() cache {
	return cache{seed: maphash.MakeSeed(), places: make([]atomic.Pointer[cached], cachePlaces)}
}

// hash is over what usually differs between calls; get compares the rest.
func (k *cache) hash(c *Call) (uint64, bool) {
	first, second := "", ""
	switch {
	case k.places == nil, (c.Tool == nil) == (c.Model == nil):
		return 0, false
	case c.Tool != nil:
		first, second = c.Tool.Server, c.Tool.Name
	default:
		first, second = c.Model.Provider, c.Model.Name
	}
	if len(first)+len(second) > cachedNameBytes {
		return 0, false
	}
	h := uint64(0)
	for _, s := range [...]string{first, second, c.Principal.KeyID, c.Principal.User, c.Principal.Client} {
		h = h*0x9e3779b97f4a7c15 + maphash.String(k.seed, s)
	}
	return h, true
}

func (k *cache) get(hash uint64, c *Call) *verdict {
	for i := range uint64(cachePlacesPerKey) {
		if e := k.places[(hash+i)%cachePlaces].Load(); e != nil && e.fits(c) {
			return e.verdict
		}
	}
	return nil
}

func (k *cache) put(hash uint64, c *Call, v *verdict) {
	e := &cached{principal: c.Principal, verdict: v}
	if c.Tool != nil {
		e.tool = *c.Tool
	} else {
		e.isModel, e.model = true, *c.Model
	}
	at := hash % cachePlaces
	if old := k.places[at].Load(); old != nil {
		k.places[(at+1)%cachePlaces].Store(old)
	}
	k.places[at].Store(e)
}

func (e *cached) fits(c *Call) bool {
	if c.Tool != nil {
		if e.isModel || e.tool != *c.Tool {
			return false
		}
	} else if !e.isModel || e.model != *c.Model {
		return false
	}
	return e.principal == c.Principal || e.principal.same(c.Principal)
}

// same reports whether rules cannot tell p from q.
func (p *Principal) same(q *Principal) bool {
	return p.Key == q.Key && p.KeyID == q.KeyID && p.User == q.User && p.Client == q.Client && p.Team == q.Team &&
		p.Customer == q.Customer && p.Narrow == q.Narrow && slices.Equal(p.Tags, q.Tags) && slices.Equal(p.Groups, q.Groups)
}
