// Package conformance drives a built tollgate from outside, as its users do.
//
// Its tests start the real binary on loopback with a config file, real tool servers and real client libraries, and then
// read the ledger with the binary's own commands. They are skipped unless CONFORMANCE=1 is set, because they install
// their peers with npm and pip; `make conformance` sets it. One table of cases, doors_test.go, needs no peers and always
// runs: it takes the same cases through every door. The order of imports and the norms of the source are held by
// conformance/house; the load generator and the mock peers of `make bench` are in conformance/bench.
package conformance
