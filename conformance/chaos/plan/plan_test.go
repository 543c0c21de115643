package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate/tollgate/ledger"
)

// What the checker reads from the plan is what the gateway reads: amounts, units and windows of the limits, each written
// where it belongs.
func TestTheGatewayReadsTheSameLimits(t *testing.T) {
	p := New(10 * time.Minute)
	type section map[string]struct {
		Secret, Team, User, Customer string
		Limits                       []any
	}
	var file struct{ Customers, Teams, Users, Keys section }
	config := p.Config(Place{Listen: "127.0.0.1:0", Admin: "off", Provider: "127.0.0.1:1", Tools: "127.0.0.1:2", Timezone: "UTC", Shared: true})
	if err := yaml.Unmarshal([]byte(config), &file); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Rules []struct{ ID, Effect, Limit, Per string }
	}
	if err := yaml.Unmarshal([]byte(p.Rules()), &rules); err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for level, s := range map[string]section{"customer": file.Customers, "team": file.Teams, "user": file.Users, "key": file.Keys} {
		for name, of := range s {
			for _, l := range of.Limits {
				if long, ok := l.(map[string]any); ok {
					l = fmt.Sprint(long["limit"], " on ", long["on"])
				}
				written[fmt.Sprint(level, " ", name, ": ", l)] = true
			}
		}
	}
	for _, r := range rules.Rules {
		if r.Effect == "limit" {
			written[fmt.Sprintf("rule %s: %s per %s", r.ID, r.Limit, r.Per)] = true
		}
	}
	for _, l := range p.Limits {
		got, err := ledger.ParseLimit(l.Text())
		if err != nil || got.Amount != l.Amount || string(got.Unit) != string(l.Unit) || got.Hard != l.Hard || got.Window.String() != l.Window {
			t.Errorf("%s is read as %+v: %v", l, got, err)
		}
		if slides := l.Slides() > 0; slides != got.Window.Slides() {
			t.Errorf("%s slides: %t", l, slides)
		}
		text := l.String()
		if l.Level != "rule" && len(l.On) > 0 {
			text += fmt.Sprint(" on ", l.On)
		}
		if !written[text] {
			t.Errorf("%s is not written; there is %v", text, written)
		}
	}
	if len(written) != len(p.Limits) {
		t.Errorf("%d limits are written of %d", len(written), len(p.Limits))
	}
	for _, k := range p.Keys {
		got := file.Keys[k.Name]
		if got.Team != k.Team || got.User != k.User || !slices.Contains(p.Env(), strings.TrimPrefix(got.Secret, "env:")+"="+k.Secret()) || file.Teams[k.Team].Customer != k.Customer {
			t.Errorf("key %s is written as %+v", k.Name, got)
		}
	}
}

func TestWhoseCallsALimitCounts(t *testing.T) {
	p := New(time.Minute)
	month, alone := p.Key("month"), p.Key("alone")
	for _, tt := range []struct {
		limit Limit
		key   *Key
		want  string
		on    bool
	}{
		{Limit{Level: "key", Name: "month"}, month, "month", true},
		{Limit{Level: "key", Name: "day"}, month, "", false},
		{Limit{Level: "team", Name: "red"}, month, "red", true},
		{Limit{Level: "customer", Name: "acme"}, month, "acme", true},
		{Limit{Level: "customer", Name: "acme"}, alone, "", false},
		{Limit{Level: "user", Name: "ann"}, p.Key("rate"), "ann", true},
		{Limit{Level: "rule", Name: "r", Per: "key"}, alone, "alone", true},
		{Limit{Level: "rule", Name: "r", Per: "all"}, alone, "all", true},
		{Limit{Level: "rule", Name: "r", Per: "team"}, alone, "", false},
		{Limit{Level: "rule", Name: "r", Per: "customer"}, month, "acme", true},
	} {
		if got, on := tt.limit.Group(tt.key); on != tt.on || on && got != tt.want {
			t.Errorf("%s, key %s: %q, %t", &tt.limit, tt.key.Name, got, on)
		}
	}
	l := Limit{On: []string{"beta/*", "mail/search"}}
	for path, want := range map[string]bool{"beta/solid": true, "mail/search": true, "mail/searches": false, "alpha/beta/": false} {
		if l.Counts(path) != want {
			t.Errorf("%s counts: %t", path, !want)
		}
	}
}

func TestALowerPlanHasLowerLimitsAndNothingElse(t *testing.T) {
	p := New(time.Minute)
	lower, changed := p.Lower()
	if len(changed) != 2 || len(lower.Limits) != len(p.Limits) {
		t.Fatalf("%d changed of %d", len(changed), len(lower.Limits))
	}
	for i, l := range lower.Limits {
		was := *p.Limits[i]
		if l.Amount == was.Amount {
			continue
		}
		if was.Amount /= 2; l.Text() != was.Text() || l.Unit != Calls && l.Unit != Concurrent {
			t.Errorf("%s became %s", p.Limits[i], l)
		}
	}
}
