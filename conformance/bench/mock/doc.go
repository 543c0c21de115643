// Package mock is what stands behind everything that the benchmark measures: a model provider and an MCP server in one
// process and one thread, cheap enough (a few µs of CPU per request) not to become what is measured.
//
// What a request gets is decided by its path and by the model it names:
//
//	POST /v1/chat/completions   answer          a small canned completion with usage, at once
//	                            answer-20ms     the same after 20 ms
//	                            stream-50-5ms   50 chunks with 5 ms between them, then usage if asked for, then [DONE];
//	                                            each chunk's content is the time it was sent at
//	                            hold            one chunk, and then nothing until the client goes
//	POST /mcp                   MCP 2026-07-28: server/discover, tools/list, tools/call, subscriptions/listen
//	POST /mcp-legacy            MCP 2025-11-25: initialize, tools/list, tools/call
//	POST /mcp-large             as /mcp, with a list of 500 tools
//	POST /v1/traces, /v1/metrics, and GET /readyz: an OTLP sink that says yes, and that the mock is up
package mock
