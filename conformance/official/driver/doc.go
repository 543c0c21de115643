// Command driver is what the official suite starts as the client under test: it puts a gateway between an agent and the suite's
// server. The suite appends the server's URL to its arguments and names the scenario in the environment; DRIVER_TOLLGATE
// is the gateway's binary and DRIVER_AGENT a program that knows, by the same environment, what to do with a server.
package main
