package policy

import "errors"

// Filter narrows what rules allow for one key. It never widens. Safe for concurrent use.
type Filter struct{}

// CompileFilter compiles a key's own filters, each one a when expression over the tool or the model; empty narrows nothing.
func CompileFilter(tools, models string) (*Filter, error) {
	return nil, errors.New("policy: not built yet")
}

// Options tune Load and Compile.
type Options struct {
	// CheckLimit parses the limit string of a limit rule, so that a bad one is an error of the file. Nil accepts any.
	CheckLimit func(string) error
}

// Set is an immutable, compiled set of rules. Safe for concurrent use. The zero value and None deny everything.
type Set struct{}

// None returns the set that denies everything: what runs when no policy is written.
func None() *Set { return &Set{} }

// Load compiles all *.yaml and *.yml files of dir (not *_test.yaml), all or nothing. The revision is the git commit of a
// clean checkout, else the content hash.
func Load(dir string, o Options) (*Set, error) { return nil, errors.New("policy: not built yet") }

// Compile is Load for file contents by name.
func Compile(revision string, files map[string][]byte, o Options) (*Set, error) {
	return nil, errors.New("policy: not built yet")
}

// Decide answers a call. It does no I/O, reads no clock and never fails.
func (s *Set) Decide(c *Call) Decision { return Decision{} }

// Visible reports whether the call's tool or model may be listed: some allow rule may match it and no unconditional deny
// does. Not visible means denied for all arguments.
func (s *Set) Visible(c *Call) bool { return false }

// Revision names the set: git commit or content hash.
func (s *Set) Revision() string { return "" }

// NeedsSpend reports whether a rule reads spend, so that the gate fills Call.Spend only then.
func (s *Set) NeedsSpend() bool { return false }

// NeedsArgs reports whether any rule reads args.
func (s *Set) NeedsArgs() bool { return false }
