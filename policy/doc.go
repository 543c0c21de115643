// Package policy answers one question: may this principal make this call?
//
// It is the first step of gate.Do. A [Set] is compiled once from a directory of YAML files and then decides without I/O,
// without a clock and without an error: whatever goes wrong in a rule can only restrict. The package also holds the
// vocabulary everything above it shares: [Principal], [Call], [Action].
//
// # Files
//
//	version: 1
//	sets: {trusted_repos: [acme/web, acme/api]}     # lists of texts or of whole numbers, read as sets.NAME in all files
//	rules:
//	  - id: bot-issues                              # unique over all files; stands on ledger lines
//	    effect: allow                               # allow, deny, approve or limit
//	    tools: [github/create_issue]                # globs over server/tool, server/resource:URI, server/prompt:name
//	    models: []                                  # globs over provider/model; * stands for any text, / included
//	    when: '"ci-bot" in key.tags'                # known before the call: decides what is listed
//	    if: args.repo in sets.trusted_repos         # known when the call is made
//	    message: only in our own repositories       # told to the caller when the rule refuses
//	  - {id: search-rate, effect: limit, tools: [web/search], limit: 30 requests / 1m, per: key}
//
// A rule matches if a glob, its when and its if do. A matching deny refuses. Otherwise an allow must match; then a
// matching approve makes the call wait for an approval, and each matching limit is laid on it. The order of rules and
// files never matters. An error in a condition is no match in an allow and a match in every other effect.
//
// What follows a call that became a task (to see it, to answer it, to cancel it) is judged on the call's tool as of then.
// Rules whose if reads args and approvals have had their say when the task was made.
//
// # Conditions
//
// Conditions are expr expressions that come out true or false. A when reads
//
//	key       name, id, team, customer, tags          customer  name
//	team      name                                    client    name (a claim: allow rules cannot read it)
//	user      name, groups                            sets      NAME
//	tool      server, name, kind, read_only, destructive, idempotent, open_world, trusted   (rules with only tools:)
//	server    name, trusted                                                                 (rules with only tools:)
//	model     provider, name                                                                (rules with only models:)
//
// and an if reads these as well:
//
//	args      the arguments of the tool, or the body of the model request
//	now       hour, minute, weekday (mon to sun), day, month, date, unix, tz
//	call      action, est_cost (USD), stream, attempt
//	run       id, calls, saw_untrusted                (of the script that the call comes from)
//	spend     key_today, key_month, team_today, team_month, customer_today, customer_month (USD)
//
// Since no when can read arguments, whatever may be called is also listed. A member of args that is missing or null is
// an error, unless the rule says that it may be missing: args?.x, args.x ?? "default", has(args.x). Beside the usual
// operators and loops (all, any, none, one, filter, map, count) there are has, glob(pattern, text), hostOf(url),
// domainIn(host, domains), cidrMatch(block, address), pathWithin(base, path), semver(version, ">=1.2 <2"), int, float,
// sum, keys and values. Arguments over 32 levels, 10,000 values or a text of 256 KiB cannot be judged; members that no
// rule reads do not count. A condition ends after 20,000 steps, a decision after 100,000.
package policy
