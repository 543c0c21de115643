// Package launch starts the programs that the conformance tests, the benchmark and the trial of a real model drive from
// outside: the built tollgate with a config file, and the peers around it. It waits until they are ready and stops them
// by their own process id.
package launch
