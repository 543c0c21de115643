// Command bench measures what a call through tollgate costs, and writes BENCHMARKS.md.
//
// It starts a mock provider and MCP server (package mock) and, in front of it, what is to be compared (package target): a
// direct call, a proxy of net/http that governs nothing, nginx when it is installed, a relay of MCP that governs nothing, and
// bin/tollgate with everything on.
// It then sends each of them the same requests (package load) in short slices, all targets in a random order within each
// round, and reports the medians over the rounds, of the differences to the direct call in the same round where it says
// 'added'. Everything is on one machine, so ratios tell more than times. At the end it runs the packages' own benchmarks.
//
//	go run ./conformance/bench            # all of it, less than ten minutes
//	go run ./conformance/bench -short     # about a minute, for a first look; writes nothing
//	go run ./conformance/bench -only chat -rounds 9
//	go run ./conformance/bench -only chat-max -before /tmp/tollgate   # two binaries in turn: what a change is worth
//	go run ./conformance/bench -streams 100000   # that many streams through tollgate: none may be cut or hang
//
// It needs Linux: epoll, timerfd and /proc.
package main
