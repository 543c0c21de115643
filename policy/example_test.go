package policy_test

import (
	"fmt"

	"github.com/tollgate/tollgate/policy"
)

func ExampleSet_Decide() {
	set, err := policy.Compile("r1", map[string][]byte{"rules.yaml": []byte(`
version: 1
sets: {trusted_repos: [acme/web, acme/api]}
rules:
  - id: bot-issues
    effect: allow
    tools: [github/create_issue]
    when: '"ci-bot" in key.tags'
    if: args.repo in sets.trusted_repos
    message: only in our own repositories
`)}, policy.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	call := policy.Call{
		Principal: &policy.Principal{Key: "ci", Tags: []string{"ci-bot"}},
		Action:    policy.ToolCall,
		Tool:      &policy.Tool{Server: "github", Name: "create_issue", Kind: "tool"},
	}
	for _, args := range []string{`{"repo":"acme/web"}`, `{"repo":"evil/web"}`, `{}`} {
		call.Args = []byte(args)
		d := set.Decide(&call)
		fmt.Printf("%v by %v; %q\n", d.Effect == policy.Allow, d.Rules, d.Message)
	}
	// Output:
	// true by [bot-issues]; ""
	// false by []; "no rule allows this call with these arguments: only in our own repositories"
	// false by []; "no rule allows this call with these arguments: rule bot-issues: args.repo is missing"
}
