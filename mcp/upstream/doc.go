// Package upstream carries one exchange to one MCP server and brings its answer back as the bytes it came in.
//
// A server speaks an era: legacy (2024-11-05 to 2025-11-25: initialize, sessions) or modern (2026-07-28: stateless,
// context in params._meta and in headers). [Server.Discover] finds out which and fetches what the server offers;
// [Server.Call] carries a request of either era's caller, with a live permit, over streamable HTTP or over the pipe of a
// supervised child. What differs between the caller's era and the server's is added here, never re-encoded.
package upstream
