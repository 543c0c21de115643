package policy

import (
	"strings"
	"time"
)

// Action is the verb of a call. The set is closed: a front refuses a wire method that no Action stands for.
type Action string

// The actions a principal can ask for, and the gateway's own (those of OwnActions).
const (
	ToolList     Action = "tool.list"
	ToolCall     Action = "tool.call"
	ResourceList Action = "resource.list"
	ResourceRead Action = "resource.read"
	PromptList   Action = "prompt.list"
	PromptGet    Action = "prompt.get"
	Complete     Action = "complete"

	ResourceSubscribe Action = "resource.subscribe" // to hear of changes of one resource; judged as its read

	// What follows a tool call that became a task: to see it, to answer what it asks, to have it ended. Judged on the tool, as
	// the arguments of the call were already.
	TaskGet    Action = "task.get"
	TaskUpdate Action = "task.update"
	TaskCancel Action = "task.cancel"

	ScriptRun Action = "script.run"

	Chat        Action = "llm.chat"
	Responses   Action = "llm.responses"
	Messages    Action = "llm.messages"
	Embeddings  Action = "llm.embeddings"
	CountTokens Action = "llm.count_tokens"
	ModelList   Action = "model.list"

	SessionOpen    Action = "session.open"    // a connection that outlives a call: stdio pipe, legacy session, listen
	ServerDiscover Action = "server.discover" // era probe, initialize, upstream lists
	ServerPing     Action = "server.ping"
	ProviderProbe  Action = "provider.probe" // is a local model server there, which models does it have
)

// ownActions is the closed list of what the gateway may do in its own name: no policy, no limits, but an entry each.
var ownActions = map[Action]bool{SessionOpen: true, ServerDiscover: true, ServerPing: true, ProviderProbe: true}

// Own reports whether a is one of the gateway's own actions.
func (a Action) Own() bool { return ownActions[a] }

// Side says which namespace of upstreams an action reaches into.
type Side uint8

// A call goes to a tool server or to a model provider; a local one goes nowhere.
const (
	Local Side = iota
	Tools
	Models
)

// Side returns the namespace that a's upstream name belongs to.
func (a Action) Side() Side {
	switch {
	case strings.HasPrefix(string(a), "llm."), strings.HasPrefix(string(a), "model."), strings.HasPrefix(string(a), "provider."):
		return Models
	case a == ScriptRun:
		return Local
	default:
		return Tools
	}
}

// Counted reports whether a call of this action counts against calls and concurrent limits: tool and model calls do,
// lists, reads, sessions and scripts do not.
func (a Action) Counted() bool {
	switch a {
	case ToolCall, Chat, Responses, Messages, Embeddings:
		return true
	}
	return false
}

// Principal is who a call is made for. It is immutable once made and may be shared by any number of calls.
type Principal struct {
	Customer string
	Team     string
	Key      string // the key's name
	KeyID    string // stable; a re-created name has another one and inherits no balance
	User     string
	Client   string // name/version the client claims; a claim, no allow may rest on it
	Tags     []string
	Groups   []string // the user's groups
	Narrow   *Filter  // the key's own filters; nil narrows nothing
}

// Tool is what a rule can know of a tool, resource or prompt before it is called.
type Tool struct {
	Server      string
	Name        string // as the server names it
	Kind        string // "tool", "resource" or "prompt"
	ReadOnly    bool
	Destructive bool
	Idempotent  bool
	OpenWorld   bool
	Trusted     bool // the server's annotations were believed
}

// Path returns the name that policy globs match: server/tool, server/resource:uri, server/prompt:name.
func (t *Tool) Path() string {
	switch t.Kind {
	case "resource", "prompt":
		return t.Server + "/" + t.Kind + ":" + t.Name
	}
	return t.Server + "/" + t.Name
}

// Model is what a rule can know of a model before it is called.
type Model struct {
	Provider string
	Name     string // as the provider names it
}

// Path returns the name that policy globs match: provider/model.
func (m *Model) Path() string { return m.Provider + "/" + m.Name }

// Spend is a reading of money already spent or held, in USD. It can be raced; what must hold is a limit.
type Spend struct {
	KeyToday, KeyMonth, TeamToday, TeamMonth, CustomerToday, CustomerMonth float64
}

// Run is what a rule can know of the script a call comes from.
type Run struct {
	ID           string
	Calls        int64
	SawUntrusted bool
}

// Call is one thing a principal wants done. It is a value: the gate copies it into the permit, so what was decided is
// what is done. Exactly one of Tool and Model is set, except for lists and the gateway's own actions, which have neither.
type Call struct {
	ID        string // UUIDv7; gate.Do makes one when empty
	Parent    string // the call this one was made under, or the first attempt this one repeats
	Principal *Principal
	Action    Action
	Upstream  string // server or provider, by its name in the config
	Target    string // tool, resource URI, prompt or model as the upstream names it
	Tool      *Tool
	Model     *Model
	Args      []byte // the raw JSON object of arguments (tools) or the request body (models); nil: none
	Attempt   int    // 0 and 1: first; each later one is a retry or fallback and does not count as a call again
	OnBehalf  string // for own actions: the key it is done for
	Stream    bool
	EstCost   int64     // nano-USD expected
	Now       time.Time // filled by gate.Do when zero; decisions read no other clock
	Spend     *Spend    // filled by gate.Do when Set.NeedsSpend
	Run       *Run
	TraceID   string // W3C trace id, 32 hex digits; filled by gate.Do from the span when empty
	Source    string // remote address without port, for entries about callers without a valid key
}

// Effect is what a decision comes to.
type Effect uint8

// Deny is the zero value: nothing means no.
const (
	Deny Effect = iota
	Approve
	Allow
)

// RuleLimit is a limit that a rule of effect limit lays on a matching call.
type RuleLimit struct {
	Rule  string // the rule's id
	Limit string // as written: "30 requests / 1m"
	Per   string // "key" (default), "user", "team", "customer" or "all"
}

// Decision is the answer to one Call. Errors during evaluation only ever restrict it.
type Decision struct {
	Effect   Effect
	Rules    []string // ids of the rules that decided, sorted
	Message  string   // for the caller: the rule's message or what is missing and where to write it
	Hidden   bool     // not visible at list time: answer exactly as for an unknown name
	Limits   []RuleLimit
	Revision string // of the set that decided
}
