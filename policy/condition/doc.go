// Package condition compiles and evaluates the conditions of policy rules, which are expr expressions.
//
// expr alone is not safe to face arguments that a caller chose: a missing argument reads as nil and makes x != "prod"
// hold, an int overflows in silence, and nothing stops a loop within a loop. So a condition is read twice. First an
// inspector refuses what its [Scope] does not know and what policies may not use; then a hardener rewrites every place
// where a caller's value enters: members must be there, numbers stay in range, and each turn of a loop and each pass over
// a text is paid for from a budget of steps. What cannot be answered is an error, and the policy package lets an error
// only restrict.
package condition
