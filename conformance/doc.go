// Package conformance drives tollgate from outside, as its users do.
//
// Most of its tests start the built binary on loopback with a config file (package launch), real tool servers and real
// client libraries (package peers, conformance/node, conformance/python), and then read the ledger with the binary's own
// commands. They are skipped unless CONFORMANCE=1 is set, because they install their peers with npm and pip;
// `make conformance` sets it.
//
//	tools_test.go     official MCP servers behind one endpoint, the official client in both eras
//	models_test.go    official OpenAI and Anthropic SDKs, in JavaScript and Python
//	together_test.go  a tool and a model under one trace and one budget
//	official_test.go  the official conformance suite, as client and as server, in every combination of eras
//	starter_test.go   what `tollgate serve` without a file prints, pasted
//
// One table of cases, doors_test.go, needs no peers and always runs: it takes the same cases, a ledger that cannot write
// among them, through every door of a gateway wired in process (world_test.go). The order of imports and the norms of the
// source are held by conformance/house, speed is measured by conformance/bench, and conformance/realmodel shows a real
// model behind the gateway.
package conformance
