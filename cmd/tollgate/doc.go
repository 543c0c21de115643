// Command tollgate is an agent gateway: one MCP endpoint for tools and one OpenAI- and Anthropic-compatible endpoint for
// models, behind one virtual key, one policy and one ledger.
//
// This package wires the parts in order by hand
// (serve.go), and has the subcommands. Without a config file `tollgate serve` starts the starter (starter.go).
package main
