// Package era knows what surrounds a message in each era of MCP.
//
// [Of] says which era a request is in; [Modern] and [Legacy] take from it what its caller said beside the call itself (a
// [Context]), and refuse what the revision refuses: headers that disagree with the body, missing capabilities. [Result]
// reads a server's result once and adapts it to the caller's era by splicing.
package era
