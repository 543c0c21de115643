// Package streamable carries exchanges to one MCP server over streamable HTTP, and over HTTP+SSE, its forerunner.
//
// # A request's path
//
// The params are put together from the caller's bytes and a _meta of this hop. One POST under the call's permit brings a
// JSON body or an event stream; messages on it are handed out in order, and the answer ends it. A modern server gets the
// headers that mirror the request. A legacy server gets it in a session, which is a gate.Do of its own for as long as it
// lasts; one that the server has forgotten is opened anew and the request repeated once. A server that turns out to speak
// the other era is asked again which it speaks, and the request, which it has not acted on, is repeated in that.
//
// # Sessions
//
// Sessions with a legacy server are kept by principal, by what the caller can be asked, which is what is declared in
// them, and by the session of a legacy client, with which they end. The gateway's own, in which it lists, declares
// nothing. A server that keeps no sessions gets one for the gateway and one for each principal it may ask something. The
// one unused longest makes room; what is busy, or watches resources, stays.
//
// # What the server says by itself
//
// A session whose caller can be asked something, hears of something or watches a resource keeps a GET stream open, which
// is taken up again when it breaks. A question that comes on a call's own stream is its caller's. One that comes on the
// session's stream is, in a legacy client's session, for its newest call or else for the client; in any other session for
// the one call that is in flight, and refused if there are more or none. Progress goes to the call that its token names,
// on whichever stream it comes. The caller's answer goes back under the permit of the exchange it belongs to.
//
// Resources are watched in the session of a legacy server, counted by watcher and asked for again in a session that takes
// the place of a lost one; on one stream per principal of a modern server. When what is watched changes, the next takes
// its place. The one before is read on for a moment, because what is on its way comes on no other, so that an update may
// be told twice. After a gap every watcher is told that its resource may have changed. The gateway's own session (legacy)
// or subscription (modern) hears of changed lists, and so does every other stream.
//
// HTTP+SSE (2024-11-05) is found by a GET that begins with an endpoint, where a POST is refused: such a session is one
// stream, on which every answer comes, and cannot be taken up again.
//
// Known limits: a caller that does not read what it is told holds up the stream of its session; what is watched is not
// carried over when a server changes its era.
package streamable
