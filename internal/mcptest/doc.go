// Package mcptest has MCP servers for tests, on loopback or behind the pipe of a child.
//
// [SDK] serves what the SDK's own server package makes of a few tools, in one era. [Raw] is a script: it answers what a
// test tells it to, down to garbage and endless streams. Both record every request, so that a test can look for what must
// not have arrived. [Main] makes a test binary its own stdio server: see [Command].
package mcptest
