// Package house holds the rules of this source tree that a compiler does not: who may import whom, that nobody but the
// gate opens connections, and the norms of size and documentation.
//
// Each rule is a function from a file tree to findings. The test runs them over the repository, and over small trees in
// testdata that break one rule each, so that a rule which stops finding anything is noticed.
package house
