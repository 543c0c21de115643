// Package demo is the tool server that the starter runs: a clock, a calculator, notes kept on disk and a search over a
// folder. [Serve] speaks MCP over a pair of streams; `tollgate demo-server` is that on standard input and output, so the
// gateway reaches it as it reaches any stdio server: a supervised child.
//
// The tools are real. What goes wrong in one of them is a result with isError and a text that says how to mend it.
package demo
