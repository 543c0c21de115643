// Package streamable carries exchanges to one MCP server over streamable HTTP.
//
// # A request's path
//
// The params are put together from the caller's bytes and a _meta of this hop. One POST under the call's permit brings a
// JSON body or an event stream; messages on it are handed out in order, and the answer ends it. A modern server gets the
// headers that mirror the request. A legacy server gets it in the session of its principal; a session is a gate.Do of its
// own for as long as it lasts, and one that the server has forgotten is opened anew and the request repeated once.
//
// The gateway's own session (legacy) or subscription (modern) hears of changed lists.
//
// Known limit: the HTTP+SSE transport of 2024-11-05 is not spoken.
package streamable
