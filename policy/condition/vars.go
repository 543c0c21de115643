package condition

import "slices"

// Vars is what conditions read, one field per variable; an [Evaluator] owns one and its user fills it. The types below
// have no methods, since conditions could call them, and hold copies, so that a rule reaches nothing but what is named.
type Vars struct {
	Meter    *meter         `expr:"(meter)"` // a name that no condition can spell
	Key      Key            `expr:"key"`
	Team     Team           `expr:"team"`
	Customer Customer       `expr:"customer"`
	User     User           `expr:"user"`
	Client   Client         `expr:"client"`
	Server   Server         `expr:"server"`
	Tool     Tool           `expr:"tool"`
	Model    Model          `expr:"model"`
	Args     map[string]any `expr:"args"` // decoded by the evaluator when a condition reads it
	Now      Now            `expr:"now"`
	Spend    Spend          `expr:"spend"`
	Call     Call           `expr:"call"`
	Run      Run            `expr:"run"`
}

// Key is the virtual key that the call comes with.
type Key struct {
	Name     string   `expr:"name"`
	ID       string   `expr:"id"`
	Team     string   `expr:"team"`
	Customer string   `expr:"customer"`
	Tags     []string `expr:"tags"`
}

// Team is the key's team.
type Team struct {
	Name string `expr:"name"`
}

// Customer is the team's customer.
type Customer struct {
	Name string `expr:"name"`
}

// User is the person the call is made for, if one is known.
type User struct {
	Name   string   `expr:"name"`
	Groups []string `expr:"groups"`
}

// Client is what the calling program says of itself.
type Client struct {
	Name string `expr:"name"`
}

// Server is the tool server that is called.
type Server struct {
	Name    string `expr:"name"`
	Trusted bool   `expr:"trusted"`
}

// Tool is the tool, resource or prompt that is called.
type Tool struct {
	Server      string `expr:"server"`
	Name        string `expr:"name"`
	Kind        string `expr:"kind"`
	ReadOnly    bool   `expr:"read_only"`
	Destructive bool   `expr:"destructive"`
	Idempotent  bool   `expr:"idempotent"`
	OpenWorld   bool   `expr:"open_world"`
	Trusted     bool   `expr:"trusted"`
}

// Model is the model that is called.
type Model struct {
	Provider string `expr:"provider"`
	Name     string `expr:"name"`
}

// Now is the time of the call in the configured zone.
type Now struct {
	Hour    int    `expr:"hour"`
	Minute  int    `expr:"minute"`
	Weekday string `expr:"weekday"` // mon, tue, wed, thu, fri, sat, sun
	Day     int    `expr:"day"`
	Month   int    `expr:"month"`
	Date    string `expr:"date"` // 2026-01-31
	Unix    int    `expr:"unix"`
	TZ      string `expr:"tz"`
}

// Spend is a reading of what was spent, in USD.
type Spend struct {
	KeyToday      float64 `expr:"key_today"`
	KeyMonth      float64 `expr:"key_month"`
	TeamToday     float64 `expr:"team_today"`
	TeamMonth     float64 `expr:"team_month"`
	CustomerToday float64 `expr:"customer_today"`
	CustomerMonth float64 `expr:"customer_month"`
}

// Call is the call itself.
type Call struct {
	Action  string  `expr:"action"`
	EstCost float64 `expr:"est_cost"` // USD
	Stream  bool    `expr:"stream"`
	Attempt int     `expr:"attempt"` // from 1
}

// Run is the script that the call comes from; all zero outside scripts.
type Run struct {
	ID           string `expr:"id"`
	Calls        int    `expr:"calls"`
	SawUntrusted bool   `expr:"saw_untrusted"`
}

// Scope is what one condition may read: its typed environment.
type Scope struct {
	Tools, Models bool // which sides the rule names; a rule that names both knows only what both have
	CallTime      bool // an if, which knows the call, and not a when, which knows only who calls what
	Grants        bool // of an allow rule
}

// Variables by when they are known, and the side they are known on.
var (
	whoVars   = [...]string{"key", "team", "customer", "user", "client"}
	toolOnly  = [...]string{"tool", "server"}
	modelOnly = [...]string{"model"}
	callOnly  = [...]string{"args", "now", "spend", "call", "run"}
)

// names lists the variables of the scope.
func (s Scope) names() []string {
	out := append([]string{"sets"}, whoVars[:]...)
	if s.Tools && !s.Models {
		out = append(out, toolOnly[:]...)
	}
	if s.Models && !s.Tools {
		out = append(out, modelOnly[:]...)
	}
	if s.CallTime {
		out = append(out, callOnly[:]...)
	}
	return out
}

// refuses says why the scope does not know a variable that others know, or nothing.
func (s Scope) refuses(name string) string {
	switch {
	case name == "client" && s.Grants:
		return "client is what the caller says of itself, so no allow rests on it: use it to deny, or test key or user"
	case slices.Contains(s.names(), name):
		return ""
	case slices.Contains(callOnly[:], name):
		return name + " is known only when a call is made: test it under if:"
	case slices.Contains(toolOnly[:], name) || slices.Contains(modelOnly[:], name):
		switch {
		case s.Tools && s.Models:
			return name + " is not known here: the rule names tools: and models:, and knows only what both have; write two rules"
		case s.Tools:
			return name + " is not known here: the rule names only tools:"
		}
		return name + " is not known here: the rule names only models:"
	}
	return ""
}
