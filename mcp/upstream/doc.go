// Package upstream is the contract between the gateway and whatever carries an exchange to one MCP server: [Server] and
// the values it takes and gives.
//
// A server speaks an era: legacy (2024-11-05 to 2025-11-25: initialize, sessions) or modern (2026-07-28: stateless,
// context in params._meta and in headers). [Server.Discover] finds out which and fetches what the server offers;
// [Server.Call] carries a request of either era's caller, with a live permit, and brings its answer back as the bytes it
// came in. What differs between the caller's era and the server's is added on the way, never re-encoded.
//
// # Who carries
//
// Package streamable speaks streamable HTTP and the HTTP+SSE of 2024-11-05, package stdio talks through the pipe of a
// supervised child. What both share, the messages, the _meta of a hop, the probe for the era and the lists, is in package
// wire.
//
// # Why not the SDK's client
//
// The exchanges are our own, because the SDK's transports lose what a gateway must pass: the JSON-RPC error in a 404,
// large integers in error data, the order of notifications, bounds on what a server may send. Of the SDK we take the
// header rules (Mcp-Name, Mcp-Param) and, in tests, its servers.
//
// # What a server cannot do
//
// Answer more than 32 MiB, an event of more than 8 MiB or a list without end; print more than some junk on its pipe; ask a
// caller what it did not declare, or somebody else's caller; make a call run twice; outlive the gateway; start again and
// again without pause. Its words never reach the text of a [Fault].
package upstream
