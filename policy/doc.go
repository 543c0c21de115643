// Package policy answers one question: may this principal make this call?
//
// It is the first step of gate.Do. A [Set] is compiled once from a directory of YAML files and then decides without I/O,
// without a clock and without an error: whatever goes wrong in a rule can only restrict. The package also holds the
// vocabulary everything above it shares: [Principal], [Call], [Action].
package policy
