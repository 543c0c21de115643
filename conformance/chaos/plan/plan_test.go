package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/price"
)

// What the checker reads from the plan is what the gateway reads from the config: amounts, units, windows and prices.
func TestTheGatewayReadsTheSameLimits(t *testing.T) {
	p := New(10 * time.Minute)
	for _, pair := range p.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "tollgate.yaml")
	config := p.Config(Place{Listen: "127.0.0.1:0", Admin: "off", Provider: "127.0.0.1:1", Tools: "127.0.0.1:2", Timezone: "UTC"})
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{file: config, filepath.Join(dir, "policies", "rules.yaml"): p.Rules()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	catalog, err := price.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	setup, err := settings.Load(file, catalog)
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	if len(setup.Keys) != len(p.Keys) || len(setup.Servers) != 2 {
		t.Errorf("%d keys, %d servers", len(setup.Keys), len(setup.Servers))
	}
	for _, l := range p.Limits {
		got, err := ledger.ParseLimit(l.Text())
		if err != nil || got.Amount != l.Amount || string(got.Unit) != string(l.Unit) || got.Hard != l.Hard || got.Window.String() != l.Window {
			t.Errorf("%s is read as %+v: %v", l, got, err)
		}
		if slides := l.Slides() > 0; slides != got.Window.Slides() {
			t.Errorf("%s slides: %t", l, slides)
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
