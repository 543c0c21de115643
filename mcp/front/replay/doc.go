// Package replay keeps what was sent on the event streams of a session, for a client that has lost its connection and
// comes back with the id of the last event it has seen (Last-Event-ID).
//
// Each session has a [Log] of its streams, bounded in events, bytes and age; all logs draw on one [Store], which bounds
// what they hold together. What does not fit is not kept, oldest first: a client that comes back too late is told so by
// whoever serves the stream. The first event of a stream is never kept: nobody can come back to a stream who has not seen it.
//
// An id names the kind of its stream, the stream and the event ("c7-3"). It means something in its own session only.
package replay
