// Package park keeps the calls of modern callers that wait for an answer of their caller's.
//
// A legacy server asks its client in the middle of a call and waits (elicitation, sampling, roots). A modern caller has
// no place to be asked: its request is answered that input is required, and it sends the request again with the
// answers. Between the two requests the call goes on here. [Lot.Run] makes a call in a goroutine of its own, which its
// request listens to; a question ends that request, the call is parked, and the [State] that the caller is given, sealed,
// is what [Lot.Open] finds it by. [Call.Answer] hands the answers on and listens again.
//
// # What a state is worth
//
// It opens one call, once, for the principal, the method, the name and the arguments (in the canonical form of RFC 8785)
// that it was given for, until it expires. Whoever changes it, repeats it or uses it on another request is refused, and
// what it stands for is untouched. A call that is gone (the process ended, the time is over, the server gave up) is said to
// be gone: nothing is ever run a second time.
//
// # Several processes
//
// A call waits in the process that it was made in, whose name stands in the state, where nobody can read it. One that shares
// the key finds out by [Lot.Elsewhere] and has the other serve the request.
//
// # What ends a call
//
// The caller that leaves while it listens, as everywhere in its era. While a call is parked: the end of its time, a
// credential that is good no more (looked at every few seconds), a newer call of the same principal that finds no place
// beside it, the gateway's end. The context of the call ends with it, so its server is told and its entry is settled.
package park
