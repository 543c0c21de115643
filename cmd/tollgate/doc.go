// Command tollgate is an agent gateway: one MCP endpoint for tools and one OpenAI- and Anthropic-compatible endpoint for
// models, behind one virtual key, one policy and one ledger.
//
// This package wires the parts in order by hand (process.go, doors.go), and has the subcommands. Without a config file
// `tollgate serve` starts the starter (starter.go).
//
// `tollgate stdio` (stdio.go) is the end of a pipe for MCP clients that spawn a process. It understands no MCP: it hands its
// standard input to the gateway that runs on the same data directory as the body of one POST, and what it is answered to
// its standard output, over mcp.sock, which only the owner of the directory can open; the key still says who is calling.
// Where no gateway runs it is one, because such clients start with the machine and nobody starts a server for them: the
// same config or the same starter, but no listener beside the socket files, so that further clients and the command line
// join it. It ends with its client, and those that have joined end with it; their clients spawn them again. One process
// at a time has the data directory, so `tollgate serve` starts when the clients of such a gateway have gone.
package main
