package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// compile makes a set of rules written one per line, in the form that follows "- ".
func compile(t testing.TB, rules ...string) *Set {
	t.Helper()
	s, err := Compile("rev", map[string][]byte{"rules.yaml": []byte("version: 1\nrules:\n- " + strings.Join(rules, "\n- ") + "\n")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func toolCall(p *Principal, path, args string) *Call {
	server, name, _ := strings.Cut(path, "/")
	return &Call{Principal: p, Action: ToolCall, Upstream: server, Target: name, Tool: &Tool{Server: server, Name: name, Kind: "tool"}, Args: []byte(args)}
}

func TestNobodyAndNothing(t *testing.T) {
	key := &Principal{Key: "k"}
	all := compile(t, `{id: all, effect: allow, tools: ["*"], models: ["*"]}`)
	tool, model := &Tool{Server: "s", Name: "t"}, &Model{Provider: "p", Name: "m"}
	for name, c := range map[string]struct {
		set  *Set
		call *Call
		want Effect
	}{
		"tool":                  {all, &Call{Principal: key, Action: ToolCall, Tool: tool}, Allow},
		"model":                 {all, &Call{Principal: key, Action: Chat, Model: model}, Allow},
		"list":                  {all, &Call{Principal: key, Action: ToolList}, Allow},
		"list of models":        {all, &Call{Principal: key, Action: ModelList}, Allow},
		"no call":               {all, nil, Deny},
		"no principal":          {all, &Call{Action: ToolCall, Tool: tool}, Deny},
		"list without key":      {all, &Call{Action: ToolList}, Deny},
		"no target":             {all, &Call{Principal: key, Action: ToolCall}, Deny},
		"script without a tool": {all, &Call{Principal: key, Action: ScriptRun}, Deny},
		"own action":            {all, &Call{Principal: key, Action: ServerDiscover}, Deny},
		"two targets":           {all, &Call{Principal: key, Action: ToolCall, Tool: tool, Model: model}, Deny},
		"none":                  {None(), &Call{Principal: key, Action: ToolCall, Tool: tool}, Deny},
		"none lists":            {None(), &Call{Principal: key, Action: ToolList}, Deny},
		"zero":                  {&Set{}, &Call{Principal: key, Action: Chat, Model: model}, Deny},
	} {
		d := c.set.Decide(c.call)
		if d.Effect != c.want || d.Effect == Deny && d.Message == "" {
			t.Errorf("%s: %+v", name, d)
		}
		if d.Effect == Deny && c.set.Visible(c.call) {
			t.Errorf("%s is visible", name)
		}
	}
	one := compile(t, `{id: one, effect: allow, tools: ["s/one"]}`)
	if d := one.Decide(&Call{Principal: key, Action: ToolList, Tool: tool}); d.Effect != Deny {
		t.Errorf("an item of a list is not decided by its own name: %+v", d)
	}
	if d := None().Decide(&Call{Principal: key, Action: ToolList}); !strings.Contains(d.Message, "policies:") {
		t.Errorf("the message does not say where to write: %q", d.Message)
	}
}

func TestNeeds(t *testing.T) {
	plain := compile(t, `{id: a, effect: allow, tools: ["*"]}`)
	if plain.NeedsArgs() || plain.NeedsSpend() || None().NeedsArgs() {
		t.Error("needs what no rule reads")
	}
	if s := compile(t, `{id: a, effect: allow, tools: ["*"], if: args.x == 1}`); !s.NeedsArgs() || s.NeedsSpend() {
		t.Error("args")
	}
	if s := compile(t, `{id: a, effect: deny, models: ["*"], if: spend.key_today > 1.0}`); s.NeedsArgs() || !s.NeedsSpend() {
		t.Error("spend")
	}
}

func TestTimeZone(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip(err)
	}
	files := map[string][]byte{"r.yaml": []byte(`{version: 1, rules: [{id: day, effect: allow, tools: ["*"], if: 'now.hour == 20 && now.weekday == "tue" && now.date == "2026-01-27" && now.tz == "America/New_York" && now.day == 27 && now.month == 1 && now.minute == 30 && now.unix == 1769563800'}]}`)}
	s, err := Compile("r", files, Options{Location: zone})
	if err != nil {
		t.Fatal(err)
	}
	c := toolCall(&Principal{Key: "k"}, "s/t", "{}")
	c.Now = time.Date(2026, 1, 28, 1, 30, 0, 0, time.UTC)
	if d := s.Decide(c); d.Effect != Allow {
		t.Error(d.Message)
	}
}

// The cache must not answer one principal or tool with what holds for another, however alike they are.
func TestCacheTellsApart(t *testing.T) {
	s := compile(t,
		`{id: team, effect: allow, tools: ["s/team"], when: key.team == "eng"}`,
		`{id: customer, effect: allow, tools: ["s/customer"], when: key.customer == "acme"}`,
		`{id: tag, effect: allow, tools: ["s/tag"], when: '"ci" in key.tags'}`,
		`{id: group, effect: allow, tools: ["s/group"], when: '"sre" in user.groups'}`,
		`{id: id, effect: allow, tools: ["s/id"], when: key.id == "1"}`,
		`{id: read, effect: allow, tools: ["s/read"], when: tool.read_only}`,
		`{id: model, effect: allow, models: ["s/model"]}`)
	filter, err := CompileFilter(`false`, ``)
	if err != nil {
		t.Fatal(err)
	}
	yes := Principal{Key: "k", KeyID: "1", Team: "eng", Customer: "acme", Tags: []string{"ci"}, Groups: []string{"sre"}}
	change := map[string]func(*Principal, *Tool){
		"team":     func(p *Principal, _ *Tool) { p.Team = "ops" },
		"customer": func(p *Principal, _ *Tool) { p.Customer = "other" },
		"tag":      func(p *Principal, _ *Tool) { p.Tags = []string{"x", "y"} },
		"group":    func(p *Principal, _ *Tool) { p.Groups = nil },
		"id":       func(p *Principal, _ *Tool) { p.KeyID = "2" },
		"read":     func(_ *Principal, t *Tool) { t.ReadOnly = false },
	}
	for range 2 { // the second time from the cache
		for name, f := range change {
			for _, tool := range []string{"team", "customer", "tag", "group", "id", "read"} {
				p, c := yes, toolCall(nil, "s/"+tool, "{}")
				c.Principal, c.Tool.ReadOnly = &p, true
				if d := s.Decide(c); d.Effect != Allow {
					t.Errorf("s/%s: %+v", tool, d)
				}
				q := yes // principals are immutable: another one is another value
				f(&q, c.Tool)
				c.Principal = &q
				if d := s.Decide(c); (d.Effect == Allow) != (tool != name) {
					t.Errorf("s/%s with another %s: %+v", tool, name, d)
				}
			}
		}
		p := yes
		p.Narrow = filter
		if d := s.Decide(toolCall(&p, "s/team", "{}")); d.Effect != Deny || !d.Hidden {
			t.Errorf("past the filter: %+v", d)
		}
		if d := s.Decide(toolCall(&yes, "s/model", "{}")); d.Effect != Deny {
			t.Errorf("a tool with the name of a model: %+v", d)
		}
		if d := s.Decide(&Call{Principal: &yes, Action: Chat, Model: &Model{"s", "model"}}); d.Effect != Allow {
			t.Errorf("a model: %+v", d)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := compile(t, `{id: a, effect: allow, tools: ["*"], when: tool.name != "never"}`)
	p := &Principal{Key: "k"}
	for i := range 3 * cachePlaces {
		if d := s.Decide(toolCall(p, fmt.Sprintf("s/t%d", i), "{}")); d.Effect != Allow {
			t.Fatal(d)
		}
	}
	s.Decide(toolCall(p, "s/resource:"+strings.Repeat("x", 2*cachedNameBytes), "{}"))
	held := 0
	for i := range s.cache.places {
		if e := s.cache.places[i].Load(); e != nil {
			held++
			if len(e.tool.Name) > cachedNameBytes {
				t.Error("a long name is kept")
			}
		}
	}
	if held > cachePlaces || held < cachePlaces/2 {
		t.Errorf("%d entries", held)
	}
}

func TestDecideFromManyGoroutines(t *testing.T) {
	s := compile(t,
		`{id: a, effect: allow, tools: ["s/*"], if: args.n == call.attempt}`,
		`{id: d, effect: deny, tools: ["s/*"], if: 'args?.bad == true'}`)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			p := &Principal{Key: fmt.Sprint(g)}
			for i := range 500 {
				c := toolCall(p, fmt.Sprintf("s/%d", i%7), fmt.Sprintf(`{"n":%d,"bad":%v}`, g+1, i%3 == 0))
				c.Attempt = g + 1
				if d := s.Decide(c); (d.Effect == Allow) != (i%3 != 0) {
					t.Errorf("%d %d: %+v", g, i, d)
				}
			}
		})
	}
	wg.Wait()
}

// What arguments cost is bounded for the whole decision, and past it the answer is no, whatever the rules say.
func TestDecisionStops(t *testing.T) {
	loop := `all(args.list, any(args.list, # == 7) == false)`
	rules := []string{`{id: all, effect: allow, tools: ["*"]}`}
	for i := range 50 {
		rules = append(rules, fmt.Sprintf(`{id: l%d, effect: limit, limit: 1 calls / 1d, tools: ["*"], if: '%s'}`, i, loop))
	}
	s := compile(t, rules...)
	d := s.Decide(toolCall(&Principal{Key: "k"}, "s/t", `{"list":[`+strings.Repeat("1,", 9000)+`1]}`))
	if d.Effect != Deny || d.Hidden || !strings.Contains(d.Message, "steps") || len(d.Limits) > 0 {
		t.Errorf("%+v", d)
	}
	if d := s.Decide(toolCall(&Principal{Key: "k"}, "s/t", `{"list":[1,2]}`)); d.Effect != Allow || len(d.Limits) != 50 {
		t.Errorf("%+v", d)
	}
}

// A large body is no obstacle to a rule on a small member of it, and an unreadable one only restricts.
func TestLargeBodies(t *testing.T) {
	s := compile(t,
		`{id: a, effect: allow, models: ["*"]}`,
		`{id: d, effect: deny, models: ["p/*"], if: args.max_tokens > 4096}`,
		`{id: q, effect: approve, models: ["q/*"], if: 'any(args.messages, .role == "system")'}`)
	p := &Principal{Key: "k"}
	image := `{"messages":[{"role":"user","content":"` + strings.Repeat("A", 3<<20) + `"}],"max_tokens":%d}`
	decide := func(provider string, n int) Effect {
		return s.Decide(&Call{Principal: p, Action: Chat, Model: &Model{provider, "m"}, Args: fmt.Appendf(nil, image, n)}).Effect
	}
	if got := decide("p", 100); got != Allow {
		t.Errorf("small: %v", got)
	}
	if got := decide("p", 5000); got != Deny {
		t.Errorf("large: %v", got)
	}
	if got := decide("q", 1); got != Approve {
		t.Errorf("unreadable: %v", got)
	}
	if got := decide("r", 1); got != Allow {
		t.Errorf("unread: %v", got)
	}
}

func TestCompileFilter(t *testing.T) {
	if f, err := CompileFilter("", ""); err != nil || f == nil {
		t.Errorf("nothing written: %v, %v", f, err)
	}
	_, err := CompileFilter(`tool.nam == "x"`, `args.x == 1`)
	want := "tools: tool has no field nam (did you mean \"name\"?)\nmodels: args is known only when a call is made: test it under if:"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestRules(t *testing.T) {
	s := compile(t,
		`{id: b, effect: limit, tools: ["x/*"], models: ["y/*"], when: key.team == "z", if: 'call.stream', limit: 5 USD / 1d, message: m}`,
		`{id: a, effect: deny, tools: ["x/y"]}`)
	got := s.Rules()
	want := []RuleInfo{
		{ID: "a", Effect: "deny", Tools: []string{"x/y"}, File: "rules.yaml", Line: 4},
		{ID: "b", Effect: "limit", Tools: []string{"x/*"}, Models: []string{"y/*"}, When: `key.team == "z"`, If: "call.stream",
			Limit: "5 USD / 1d", Per: "key", Message: "m", File: "rules.yaml", Line: 3},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestWarnings(t *testing.T) {
	s, err := Compile("r", map[string][]byte{"r.yaml": []byte(`
version: 1
sets: {used: [a], unused: [b]}
rules:
  - {id: ok, effect: allow, tools: ["files/*"], when: tool.name in sets.used}
  - {id: spend, effect: deny, tools: ["files/*"], if: spend.key_today > 1.0}
  - {id: client, effect: deny, tools: ["files/*"], when: 'client.name == "x"'}
  - {id: optional, effect: allow, tools: ["files/*"], if: 'args?.env != "prod"'}
  - {id: dead, effect: allow, tools: ["files/delete_x"]}
  - {id: no-delete, effect: deny, tools: ["*/delete_*"]}
  - {id: idle, effect: limit, tools: ["web/*"], limit: 1 calls / 1d}
  - {id: models, effect: approve, models: ["openai/*"]}
`)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range s.Warnings() {
		got = append(got, w.String())
	}
	want := []string{
		"r.yaml:7: rule client: client is what the caller says of itself: another name gets past this rule",
		"r.yaml:9: rule dead: it allows nothing: rule no-delete denies all that it names",
		"r.yaml:11: rule idle: it restricts nothing: no rule allows what it names, and a rule with effect: limit grants nothing",
		"r.yaml:12: rule models: it restricts nothing: no rule allows what it names, and a rule with effect: approve grants nothing",
		"r.yaml:8: rule optional: != on an argument that may be missing holds when it is missing",
		"r.yaml:6: rule spend: spend is a reading that parallel calls can overtake: what must hold is a limit",
		`r.yaml:3: no rule uses set "unused"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if w := compile(t, `{id: d, effect: deny, tools: ["*"]}`).Warnings(); len(w) != 1 || !strings.Contains(w[0].Text, "nothing is allowed") {
		t.Errorf("got %v", w)
	}
	if w := None().Warnings(); len(w) != 1 || !strings.Contains(w[0].Text, "policies:") {
		t.Errorf("got %v", w)
	}
	if w := compile(t, `{id: d, effect: allow, tools: ["*"], models: ["*"]}`).Warnings(); len(w) != 0 {
		t.Errorf("got %v", w)
	}
}

func TestUnreached(t *testing.T) {
	s := compile(t,
		`{id: a, effect: allow, tools: ["files/*", "fils/x", "*/y", "f*"], models: ["openai/*", "opnai/*"]}`,
		`{id: b, effect: allow, tools: ["openai/*"], models: ["*"]}`)
	var got []string
	for _, w := range s.Unreached([]string{"files", "web"}, []string{"openai"}) {
		got = append(got, w.String())
	}
	want := []string{
		`rules.yaml:3: rule a: "fils/x" matches nothing here: no server of that name is configured`,
		`rules.yaml:3: rule a: "opnai/*" matches nothing here: no provider of that name is configured`,
		`rules.yaml:4: rule b: "openai/*" matches nothing here: no server of that name is configured`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestSizesOfFiles(t *testing.T) {
	many := map[string][]byte{}
	for i := range filesMax + 1 {
		many[fmt.Sprintf("%d.yaml", i)] = []byte("version: 1\n")
	}
	rules := "version: 1\nrules:\n" + strings.Repeat("- {id: a, effect: allow, tools: ['*']}\n", rulesMax+1)
	for want, files := range map[string]map[string][]byte{
		"at most 256 are read":                  many,
		"a policy file has at most":             {"a.yaml": make([]byte, fileBytesMax+1)},
		"more than 2000 rules":                  {"a.yaml": []byte(rules)},
		"a set has at most 10000 members":       {"a.yaml": []byte("version: 1\nsets: {a: [" + strings.Repeat("x, ", setMembersMax+1) + "]}")},
		"at most 256 patterns under tools:":     {"a.yaml": []byte("version: 1\nrules: [{id: a, effect: allow, tools: [" + strings.Repeat("'*', ", patternsMax+1) + "]}]")},
		"a message has at most 500 bytes":       {"a.yaml": []byte("version: 1\nrules: [{id: a, effect: allow, tools: ['*'], message: " + strings.Repeat("x", textBytesMax+1) + "}]")},
		"a pattern of tools: has at most 512 b": {"a.yaml": []byte("version: 1\nrules: [{id: a, effect: allow, tools: ['" + strings.Repeat("x", 600) + "/*']}]")},
		"and at most 64 of them":                {"a.yaml": []byte("version: 1\nrules: [{id: " + strings.Repeat("a", idBytesMax+1) + ", effect: allow, tools: ['*']}]")},
	} {
		if _, err := Compile("r", files, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %.200v", want, err)
		}
	}
}
