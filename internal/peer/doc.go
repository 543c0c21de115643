// Package peer carries requests from one replica of the gateway to another: what a replica has in memory (a session of an
// older client, a call that waits for its caller) is served by it alone, whichever replica the request came to.
//
// # The way of a request
//
// [Net.Forward] puts the request with everything that belongs to it (method, address, headers, body, where it came from)
// into one message, authenticates the message with a key that only replicas have, and posts it to [Path] of the other one.
// There [Net.Handler] checks it, makes the request anew and hands it to the handler that serves such requests, which
// authenticates the caller by the caller's own credential once more. The answer is passed on as it comes, event by event; a
// client that leaves is gone for both, and a replica that dies ends the answer as its own clients would see it.
//
// Who is there, and where, is on the [Roster] in the database. Whoever has ended is on it no more, or not for long.
//
// # What a message is worth
//
// It is good for one replica, once, for half a minute. The key authenticates replicas and hides nothing: the network between
// them is to be private, as the one in front of them is that carries the same requests. A request that was forwarded is not
// forwarded again.
package peer
