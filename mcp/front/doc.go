// Package front is the side of MCP to agents: streamable HTTP of both eras on one path, and two older doors.
//
// A request passes the edge checks and the authenticator, is read whole and parsed once. Its era decides the rest. Legacy
// requests belong to a session: a random id bound to the principal that opened it and to the path, worth nothing to
// anybody else. Modern requests stand alone; what they say of themselves in params._meta and in headers is validated.
// The method table says which methods exist in which era and what each asks of policy; all others do not exist.
//
// Lists, initialize, ping and the like are answered here, from the catalog and the caller's view of it. What goes to a
// server becomes a [Call] for the [Backend]. Notifications of a call are written to the call's own response, which turns
// into an event stream with the first of them; a call without any is answered with plain JSON. Event streams of sessions
// since 2025-03-26 can be resumed by Last-Event-ID: what was sent is kept for a while, by package replay, and goes on.
//
// What a server asks in the middle of a legacy call (elicitation, sampling, roots) is put to the session's client on that
// same stream, else on the GET stream it opened last, within what the client has declared and its revision knows; the
// response it posts is the answer. Resources that a session subscribes to, or a listen stream names, are watched by the
// backend; what changes waits, bounded and once, for the stream to tell it. Whatever a session's client says or is told
// stays in that session.
//
// What a legacy server asks in the middle of a modern call ends the request: it is answered that input is required, and the
// call waits in package park for the request that brings the answers. Such a call runs on a goroutine of its own; a call
// whose server does not ask, or whose caller cannot be asked, stays on its request's.
//
// HTTP+SSE of 2024-11-05 and stdio have one stream for everything: a link takes a client's messages one by one, serves
// them by the same table, and all replies are parts of that stream. A client of stdio is one POST to the handler of
// [Front.Stdio], made by the process it has spawned; both eras come over it, and nothing in it is repeated in headers.
//
// Where there are several replicas, what is in the memory of one (sessions, links, parked calls, tasks of a child process)
// is named by ids that say where, sealed: a request for it that comes to another is passed on by package peer, whole and
// once, and recorded where it is served.
//
// Refusals that JSON-RPC and MCP have no code for carry their HTTP status as code.
package front
