package policy

import (
	"slices"
	"testing"
)

func TestDecideSmoke(t *testing.T) {
	s, err := Compile("r1", map[string][]byte{"a.yaml": []byte(`
version: 1
sets: { trusted_repos: ["acme/web", "acme/api"] }
rules:
  - id: bot-issues
    effect: allow
    tools: ["github/create_issue"]
    when: '"ci-bot" in key.tags'
    if: args.repo in sets.trusted_repos && len(args.title) <= 200
`)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &Principal{Key: "k", Team: "eng", Tags: []string{"ci-bot"}}
	call := func(args string) Decision {
		return s.Decide(&Call{Principal: p, Action: ToolCall, Tool: &Tool{Server: "github", Name: "create_issue"}, Args: []byte(args)})
	}
	if d := call(`{"repo":"acme/web","title":"x"}`); d.Effect != Allow || !slices.Equal(d.Rules, []string{"bot-issues"}) {
		t.Errorf("%+v", d)
	}
	for _, args := range []string{`{"repo":"acme/web"}`, `{"repo":1,"title":"x"}`, `{`, ``} {
		if d := call(args); d.Effect != Deny || d.Hidden {
			t.Errorf("%s: %+v", args, d)
		}
	}
}
