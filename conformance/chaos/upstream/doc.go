// Package upstream is what stands behind the gateway in a chaos run, as one process for models and one for tools: an
// OpenAI-compatible provider (Provider) and two MCP servers, mail of revision 2026-07-28 and crm of 2025-11-25 with
// sessions (Tools).
//
// Each request that means a call is noted before anything is answered and again when it has ended, with what it is billed
// (package evidence). A call is known by its nonce, 32 hex digits that its worker put into the prompt or the arguments,
// and an answer repeats it. The name of a model or tool says how it behaves:
//
//	steady, drained, solid, echo   answers
//	verbose                        bills more input than its requests lead to expect
//	flaky                          of ten answers one is an error, one breaks off, one never begins
//	search                         of ten results one is an error of the tool, one an error of the protocol
//	slow                           takes up to some seconds
//	dying                          of ten connections three are closed without an answer, one in the middle of it
package upstream
