// Package mcp is the tool side of the gateway: an MCP server to agents and an MCP client to the servers behind it.
//
// # A request's path
//
// [Gateway.Handler] serves /mcp (every server the key may see) and /mcp/{name} (one server, its names unprefixed, or one
// profile), /sse in front of either is for clients of 2024-11-05, and [Gateway.Stdio] for those that spawn a process. A POST
// passes the edge checks and the authenticator, is read whole and scanned strictly, and its envelope is
// read once; everything the gateway need not change is forwarded as the bytes it came in. The era of the request decides
// what surrounds it: legacy (2024-11-05 to 2025-11-25) has initialize and sessions, modern (2026-07-28) is stateless and
// carries version and capabilities in params._meta and in headers. The method table turns the method into a
// policy.Action; a method that is not in it is refused.
//
// A call becomes one gate.Do. Inside it the exchange (method, raw params, era, request context, where notifications go)
// travels as one value to package streamable or stdio, which speaks whichever era the server speaks, over streamable HTTP
// or over the pipe of a supervised child. The answer is adapted to the caller's era by splicing, never by re-encoding.
//
// Lists, initialize, ping and the like never leave the gateway: they are answered from the catalog, which holds what every
// server said of itself when it was last asked. A server is asked in the background, again and again while it is down;
// its last good lists stay, marked stale, and only lists asked for within the first seconds after a start wait for it.
//
// The parts: package rpc reads and writes messages as bytes, era knows what surrounds them, catalog names and filters, park
// keeps calls that wait for their caller, front is the HTTP side to agents, upstream the contract of an exchange with a server, which streamable and stdio carry.
// This package looks after the servers and makes the calls.
//
// # Questions
//
// A server may ask in the middle of a call (elicitation, sampling, roots), what its caller has declared and nothing else. The
// eras do it in different ways, and the one is made of the other. A legacy server waits with its request: a legacy client
// is asked on the call's stream; for a modern one, which is asked by the result of its request, the call is parked (package
// park) until the request comes again with the answers. A modern server answers that input is required and forgets: the
// caller's request is made again, by the modern client itself, and for a legacy one here, round after round, with what it
// answered. Either way it is one call: one permit, one hold, one entry, and a time limit that stands still while somebody
// thinks. A server of 2025-11-25 that refuses a call until a page has been visited (-32042) is the exception: the retry is
// a call of its own. What a client cannot be asked, the server is told it cannot, and the client what was missing.
//
// # Names
//
// A tool or prompt of server files is exposed as files__name; the route table knows both names, so nothing is split.
// Resources keep their URIs. When two servers list one URI the first by server name answers it on /mcp; the other one's
// is reached on /mcp/{name}. Definitions that break the rules (bad name, oversized description or schema, a name that
// differs from another only by case, hidden characters) are withheld, and Health says which and why.
//
// A tool's page (MCP Apps) is a resource, listed or not, that the tool names; it is read from the tool's own server. Where
// two servers have pages of one URI, the first by name keeps it and the other's is exposed as ui://server__..., in its
// tools, in its list and in what is read.
//
// # Extensions
//
// Extensions are negotiated as the intersection: a server is told of those that the caller declares and the server offers
// (io.modelcontextprotocol/ui as the caller declares it, since servers need not offer it), a caller of those that servers
// it sees offer. One the gateway does not know is offered to callers that declare it too; it passes as far as it lives in
// capabilities, _meta and results. Methods of its own are refused as unknown, and so are result types.
//
// # Tasks
//
// A tool call of a modern server may become a task (io.modelcontextprotocol/tasks, SEP-2663). A modern caller that declared
// the extension gets the task under an id of the gateway's, a seal on server, tool, caller and the server's id, which
// tasks/get, tasks/update, tasks/cancel and the taskIds of subscriptions/listen take: to anybody else, on any other path
// and once the tool may not be called any more it is no id. A legacy caller is never given a task: the gateway polls for
// it within the call and its time, tells its status as progress, puts its questions to the client, and cancels it when
// nobody waits any more. A task costs what its call does; what follows is an entry in the ledger and free. The
// experimental tasks of 2025-11-25 are not bridged: params.task goes no further, and a legacy server's tool that insists
// on it answers with the error that it has for that.
//
// # What a policy sees
//
// Tools are judged as server/tool, prompts as server/prompt:name, resources as server/resource:uri, the latter two as
// read-only. A server's annotations count only when it is trusted or the config overrides them; else the pessimistic
// default holds: not read-only, destructive, not idempotent, open world. Lists are filtered by gate.Visible; what is
// hidden answers byte for byte like what does not exist.
//
// # Without a client
//
// A single modern request needs no session, so this is a whole conversation:
//
//	curl -s http://127.0.0.1:8787/mcp -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
//	  -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/list' \
//	  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{
//	    "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
package mcp
