// Package relay is the least that stands between an MCP client and an MCP server: an HTTP front that reads the envelope of
// each message and keeps its params as bytes, and mcp-go's client transport behind it, one object per request over shared
// connections. It governs, records, filters and streams nothing. Benchmarks compare the gateway with it.
package relay
