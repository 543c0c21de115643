// Package official runs the protocol's own conformance suite (npm @modelcontextprotocol/conformance) and judges what it
// reports: by scenario, against the list of those that a revision requires and a commented list of expected failures.
//
// The suite plays one side and tests the other. As the client it is aimed at the gateway's endpoint of one server (a cell:
// client era × server era); as the server it starts conformance/official/driver for each scenario, which puts a gateway
// between an agent and the scenario. The lists lie beside this file, one per cell, in the suite's own format, so that each
// can be given to it by hand. An expected failure that passes is as unexpected as a failure that is not expected.
package official
