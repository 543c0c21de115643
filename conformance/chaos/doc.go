// Command chaos shows that the ledger holds while everything around it breaks: no limit is exceeded, no line is lost and
// nothing is written twice, on any number of replicas. It writes CHAOS.md.
//
// It starts the built gateway as several processes with one PostgreSQL between them, a mock provider and mock tool servers
// as processes of their own, and 200 workers that call through all of it under limits of every kind. Meanwhile a schedule
// of faults runs, drawn from a seed: -seed repeats it. Then package checker compares what the upstreams saw with the
// journals and the limits.
//
//	make chaos                      10 minutes
//	make chaos SEED=7 MINUTES=3
//	go run ./conformance/chaos -short      what CI runs
//	go run ./conformance/chaos -broken     three replicas that share nothing, each with the full limits: must be found out
//
// Who does what: package plan says which keys and limits there are, fleet runs and breaks processes, load is the workers,
// upstream the mocks, evidence the logs that they write, checker the judge. When something is found, the directory of the
// run is kept and named, with the seed and the lines that show it.
package main
