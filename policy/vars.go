package policy

import (
	"slices"
	"strings"
	"time"
)

// vars is what expressions read. The types below have no methods, since expressions could call them, and hold copies,
// so that a rule reaches nothing but what is named here.
type vars struct {
	Meter    *meter         `expr:"(meter)"` // a name that no expression can spell
	Key      keyVars        `expr:"key"`
	Team     namedVars      `expr:"team"`
	Customer namedVars      `expr:"customer"`
	User     userVars       `expr:"user"`
	Client   namedVars      `expr:"client"`
	Server   serverVars     `expr:"server"`
	Tool     toolVars       `expr:"tool"`
	Model    modelVars      `expr:"model"`
	Args     map[string]any `expr:"args"`
	Now      nowVars        `expr:"now"`
	Spend    spendVars      `expr:"spend"`
	Call     callVars       `expr:"call"`
	Run      runVars        `expr:"run"`
}

type keyVars struct {
	Name     string   `expr:"name"`
	ID       string   `expr:"id"`
	Team     string   `expr:"team"`
	Customer string   `expr:"customer"`
	Tags     []string `expr:"tags"`
}

type namedVars struct {
	Name string `expr:"name"`
}

type userVars struct {
	Name   string   `expr:"name"`
	Groups []string `expr:"groups"`
}

type serverVars struct {
	Name    string `expr:"name"`
	Trusted bool   `expr:"trusted"`
}

type toolVars struct {
	Server      string `expr:"server"`
	Name        string `expr:"name"`
	Kind        string `expr:"kind"`
	ReadOnly    bool   `expr:"read_only"`
	Destructive bool   `expr:"destructive"`
	Idempotent  bool   `expr:"idempotent"`
	OpenWorld   bool   `expr:"open_world"`
	Trusted     bool   `expr:"trusted"`
}

type modelVars struct {
	Provider string `expr:"provider"`
	Name     string `expr:"name"`
}

type nowVars struct {
	Hour    int    `expr:"hour"`
	Minute  int    `expr:"minute"`
	Weekday string `expr:"weekday"` // mon, tue, wed, thu, fri, sat, sun
	Day     int    `expr:"day"`
	Month   int    `expr:"month"`
	Date    string `expr:"date"` // 2026-01-31
	Unix    int    `expr:"unix"`
	TZ      string `expr:"tz"`
}

type spendVars struct {
	KeyToday      float64 `expr:"key_today"`
	KeyMonth      float64 `expr:"key_month"`
	TeamToday     float64 `expr:"team_today"`
	TeamMonth     float64 `expr:"team_month"`
	CustomerToday float64 `expr:"customer_today"`
	CustomerMonth float64 `expr:"customer_month"`
}

type callVars struct {
	Action  string  `expr:"action"`
	EstCost float64 `expr:"est_cost"` // USD
	Stream  bool    `expr:"stream"`
	Attempt int     `expr:"attempt"`
}

type runVars struct {
	ID           string `expr:"id"` // empty outside scripts
	Calls        int    `expr:"calls"`
	SawUntrusted bool   `expr:"saw_untrusted"`
}

const nanoPerUSD = 1e9

// principal fills what is known of who calls.
func (v *vars) principal(p *Principal) {
	v.Key = keyVars{p.Key, p.KeyID, p.Team, p.Customer, p.Tags}
	v.Team.Name, v.Customer.Name, v.Client.Name = p.Team, p.Customer, p.Client
	v.User = userVars{p.User, p.Groups}
}

// target fills what is known of what is called; the side a rule does not name stays empty and cannot be read.
func (v *vars) target(t *Tool, m *Model) {
	if t != nil {
		kind := t.Kind
		if kind == "" {
			kind = "tool"
		}
		v.Tool = toolVars{t.Server, t.Name, kind, t.ReadOnly, t.Destructive, t.Idempotent, t.OpenWorld, t.Trusted}
		v.Server = serverVars{t.Server, t.Trusted}
	}
	if m != nil {
		v.Model = modelVars{m.Provider, m.Name}
	}
}

// call fills what is known once the call is made, but for its arguments.
func (v *vars) call(c *Call, zone *time.Location) {
	now := c.Now.In(zone)
	v.Now = nowVars{
		Hour: now.Hour(), Minute: now.Minute(), Weekday: strings.ToLower(now.Weekday().String()[:3]),
		Day: now.Day(), Month: int(now.Month()), Date: now.Format(time.DateOnly), Unix: int(now.Unix()), TZ: zone.String(),
	}
	v.Call = callVars{string(c.Action), float64(c.EstCost) / nanoPerUSD, c.Stream, max(c.Attempt, 1)}
	if c.Spend != nil {
		s := c.Spend
		v.Spend = spendVars{s.KeyToday, s.KeyMonth, s.TeamToday, s.TeamMonth, s.CustomerToday, s.CustomerMonth}
	}
	if c.Run != nil {
		v.Run = runVars{c.Run.ID, int(c.Run.Calls), c.Run.SawUntrusted}
	}
}

// scope is what one expression may read: it stands for the typed environment of the expression.
type scope struct {
	tools, models bool // which sides the rule names
	callTime      bool // an if, not a when
	grants        bool // an allow rule
}

// Variables by when they are known, and the side they are known on.
var (
	whoVars   = [...]string{"key", "team", "customer", "user", "client"}
	toolOnly  = [...]string{"tool", "server"}
	modelOnly = [...]string{"model"}
	callOnly  = [...]string{"args", "now", "spend", "call", "run"}
)

// names lists the variables of the scope.
func (s scope) names() []string {
	out := append([]string{"sets"}, whoVars[:]...)
	if s.tools && !s.models {
		out = append(out, toolOnly[:]...)
	}
	if s.models && !s.tools {
		out = append(out, modelOnly[:]...)
	}
	if s.callTime {
		out = append(out, callOnly[:]...)
	}
	return out
}

// refuses says why the scope does not know a variable that others know, or nothing.
func (s scope) refuses(name string) string {
	switch {
	case name == "client" && s.grants:
		return "client is what the caller says of itself, so no allow rests on it: use it to deny, or test key or user"
	case slices.Contains(s.names(), name):
		return ""
	case slices.Contains(callOnly[:], name):
		return name + " is known only when a call is made: test it under if:"
	case slices.Contains(toolOnly[:], name) || slices.Contains(modelOnly[:], name):
		switch {
		case s.tools && s.models:
			return name + " is not known here: the rule names tools: and models:, and knows only what both have; write two rules"
		case s.tools:
			return name + " is not known here: the rule names only tools:"
		}
		return name + " is not known here: the rule names only models:"
	}
	return ""
}
