// Package upstream carries one exchange to one MCP server and brings its answer back as the bytes it came in.
//
// A server speaks an era: legacy (2024-11-05 to 2025-11-25: initialize, sessions) or modern (2026-07-28: stateless,
// context in params._meta and in headers). [Server.Discover] finds out which and fetches what the server offers;
// [Server.Call] carries a request of either era's caller, with a live permit, over streamable HTTP or over the pipe of a
// supervised child. What differs between the caller's era and the server's is added here, never re-encoded.
//
// # A request's path
//
// The params are put together from the caller's bytes and a _meta of this hop: the caller's own members, the protocol's
// keys in the gateway's name, a progress token of this hop's, the trace. Over HTTP one POST under the call's permit
// brings a JSON body or an event stream; messages on it are handed out in order, and the answer ends it. A legacy server
// gets it in the session of its principal; a session is a gate.Do of its own, and so is a child with its pipe, where each
// message is written by gate.Conn under the permit of its call and the answer is held until that call's entry is on disk.
//
// # Why not the SDK's client
//
// The exchange is our own, because the SDK's transport loses what a gateway must pass: the JSON-RPC error in a 404, large
// integers in error data, the order of notifications, bounds on what a server may send. Of the SDK we take the header
// rules (Mcp-Name, Mcp-Param) and, in tests, its servers.
//
// # What a server cannot do
//
// Answer more than 32 MiB, an event of more than 8 MiB or a list without end; print more than some junk on its pipe; ask
// its client for anything; make a call run twice; outlive the gateway; start again and again without pause. Its words
// never reach the text of a [Fault].
//
// Known limits: the HTTP+SSE transport of 2024-11-05 is not spoken; one child serves all principals; log messages of a
// child are dropped, because nothing says whose they are.
package upstream
