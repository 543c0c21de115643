// Package era knows what surrounds a message in each era of MCP.
//
// [Read] takes what a caller says beside its call out of params._meta; [Meta.Era] says which era the request is in, and
// [Meta.Legacy] or [Meta.Modern] makes a [Context] of it, which goes with the call as far as the server. Modern refuses
// what the revision refuses: headers that disagree with the body, missing capabilities. [Result] reads a server's result
// once and adapts it to the caller's era by splicing. [Question] is what a server may ask a legacy client, by what the
// client has [Declared] and its revision knows, and [ReadAnswer] what that one says.
package era
