package plan

import (
	"fmt"
	"strings"
	"time"
)

// Key is a virtual key and the workers that use it.
type Key struct {
	Name, Customer, Team, User string
	Models                     []string // that its workers ask for, each as often as it stands here
	Tools                      []string
}

// Secret is what the key's workers present.
func (k *Key) Secret() string { return "tg_chaos_" + k.Name + "_of_twenty_or_more_characters" }

// Unit is what a limit counts.
type Unit string

// The units of limits.
const (
	USD        Unit = "USD" // amounts are nano-USD
	Tokens     Unit = "tokens"
	Calls      Unit = "calls"
	Concurrent Unit = "concurrent"
)

// Limit is one limit that must hold.
type Limit struct {
	Level  string // customer, team, user, key or rule
	Name   string // of the customer, team, user, key or rule
	Per    string // of a rule's: whose calls are counted together: key, team, customer or all
	On     []string
	Amount int64
	Unit   Unit
	Window string // 1m slides; 1d and 1M are of the calendar; empty for concurrent
	Hard   bool
}

// Text is the limit as the config file says it.
func (l *Limit) Text() string {
	var b strings.Builder
	if l.Unit == USD {
		fmt.Fprintf(&b, "%d.%09d USD", l.Amount/Dollar, l.Amount%Dollar)
	} else {
		fmt.Fprintf(&b, "%d %s", l.Amount, l.Unit)
	}
	if l.Window != "" {
		b.WriteString(" / " + l.Window)
	}
	if l.Hard {
		b.WriteString(" hard")
	}
	return b.String()
}

func (l *Limit) String() string {
	s := fmt.Sprintf("%s %s: %s", l.Level, l.Name, l.Text())
	if l.Per != "" {
		s += " per " + l.Per
	}
	return s
}

// Slides is the span of a sliding window, 0 for one of the calendar.
func (l *Limit) Slides() time.Duration {
	if l.Window == "1m" {
		return time.Minute
	}
	return 0
}

// Counts reports whether the limit counts calls to path, SERVER/TOOL or PROVIDER/MODEL.
func (l *Limit) Counts(path string) bool {
	if len(l.On) == 0 {
		return true
	}
	for _, on := range l.On {
		if prefix, all := strings.CutSuffix(on, "*"); on == path || all && strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// Group says with whose calls those of k are counted together; false: the limit is not on their way.
func (l *Limit) Group(k *Key) (string, bool) {
	if l.Level == "rule" {
		switch l.Per {
		case "all":
			return "all", true
		case "key":
			return k.Name, true
		case "team":
			return k.Team, k.Team != ""
		}
		return k.Customer, k.Customer != ""
	}
	of := map[string]string{"customer": k.Customer, "team": k.Team, "user": k.User, "key": k.Name}[l.Level]
	return of, of == l.Name
}

// Dollar is one dollar in nano-USD.
const Dollar = 1_000_000_000

// Price is what an upstream charges, in nano-USD.
type Price struct{ Input, Output, Call int64 }

// Of is the price of what is reached at path.
func Of(path string) Price {
	if upstream, _, _ := strings.Cut(path, "/"); upstream == "alpha" || upstream == "beta" {
		return Price{Input: inputPrice, Output: outputPrice}
	}
	return Price{Call: toolPrices[path]}
}

// The price of a token of any model, and of calls of each tool.
const (
	inputPrice  = 1000
	outputPrice = 4000
)

var toolPrices = map[string]int64{
	"mail/echo": 200_000, "mail/search": 1_000_000, "mail/slow": 500_000, "mail/dying": 300_000,
	"crm/echo": 200_000, "crm/slow": 500_000, "crm/dying": 300_000,
}

// Plan is the whole of it.
type Plan struct {
	Keys   []*Key
	Limits []*Limit
}

// WorkersPerKey workers share each key.
const WorkersPerKey = 20

// New makes the plan of a run of that length. Amounts that are not counted by the minute grow with it, so that they are
// reached in its course and not at its start.
func New(length time.Duration) *Plan {
	seconds := int64(length / time.Second)
	usd := func(each int64) int64 { return each * seconds } // each nano-USD a second
	models := []string{"alpha/steady", "alpha/steady", "alpha/flaky", "alpha/verbose", "beta/drained", "either"}
	tools := []string{"mail__echo", "mail__search", "mail__dying", "crm__echo", "crm__dying"}
	key := func(name, customer, team, user string) *Key {
		return &Key{Name: name, Customer: customer, Team: team, User: user, Models: models, Tools: tools}
	}
	p := &Plan{
		Keys: []*Key{
			key("month", "acme", "red", ""), key("day", "acme", "red", ""), key("rate", "acme", "blue", "ann"), key("tokens", "acme", "blue", ""),
			key("slots", "zen", "white", "ann"), key("calls", "zen", "white", ""), key("soft", "zen", "black", ""),
			key("plain-1", "zen", "black", "bob"), key("plain-2", "zen", "black", "bob"), key("alone", "", "", ""),
		},
		Limits: []*Limit{
			{Level: "customer", Name: "acme", Amount: usd(4_500_000), Unit: USD, Window: "1M"},
			{Level: "customer", Name: "zen", Amount: usd(2_200_000), Unit: USD, Window: "1d"},
			{Level: "team", Name: "red", Amount: usd(1_500_000), Unit: USD, Window: "1d", Hard: true},
			{Level: "team", Name: "black", Amount: 5 * seconds, Unit: Calls, Window: "1d"},
			{Level: "team", Name: "white", Amount: 9, Unit: Concurrent},
			{Level: "user", Name: "ann", Amount: 400, Unit: Calls, Window: "1m"},
			{Level: "user", Name: "bob", Amount: 50_000, Unit: Tokens, Window: "1m"},
			{Level: "key", Name: "month", Amount: usd(900_000), Unit: USD, Window: "1M"},
			{Level: "key", Name: "day", Amount: usd(700_000), Unit: USD, Window: "1d", Hard: true},
			{Level: "key", Name: "rate", Amount: 240, Unit: Calls, Window: "1m"},
			{Level: "key", Name: "tokens", Amount: 30_000, Unit: Tokens, Window: "1m"},
			{Level: "key", Name: "tokens", Amount: 5_000, Unit: Tokens, Window: "1m", Hard: true, On: []string{"beta/*"}},
			{Level: "key", Name: "slots", Amount: 4, Unit: Concurrent},
			{Level: "key", Name: "calls", Amount: 2 * seconds, Unit: Calls, Window: "1d"},
			{Level: "key", Name: "soft", Amount: 150_000_000, Unit: USD, Window: "1m"},
			{Level: "rule", Name: "search-rate", Per: "key", On: []string{"mail/search"}, Amount: 30, Unit: Calls, Window: "1m"},
			{Level: "rule", Name: "crm-slots", Per: "all", On: []string{"crm/*"}, Amount: 10, Unit: Concurrent},
			{Level: "rule", Name: "verbose-money", Per: "customer", On: []string{"alpha/verbose"}, Amount: usd(350_000), Unit: USD, Window: "1d"},
		},
	}
	p.Key("slots").Tools = append(p.Key("slots").Tools, "mail__slow", "crm__slow")
	p.Key("slots").Models = append(p.Key("slots").Models, "alpha/slow")
	return p
}

// Key is the key of that name, nil if there is none.
func (p *Plan) Key(name string) *Key {
	for _, k := range p.Keys {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// Lower is the plan with some limits lowered, and those as they are then. Only limits of sliding windows and slots are: what
// a calendar period has spent under a higher limit stays spent.
func (p *Plan) Lower() (*Plan, []*Limit) {
	lower := &Plan{Keys: p.Keys}
	var changed []*Limit
	for _, l := range p.Limits {
		if l.Level == "key" && (l.Name == "rate" || l.Name == "slots") {
			less := *l
			less.Amount = l.Amount / 2
			l = &less
			changed = append(changed, l)
		}
		lower.Limits = append(lower.Limits, l)
	}
	return lower, changed
}
