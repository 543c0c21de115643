// Package dialogue speaks MCP as a client of either era over streamable HTTP, byte by byte, and keeps every message that
// comes back, so that a conversation with a server can be compared with the same one through a gateway. It knows what the
// protocol demands of a client and nothing of a gateway: ids, tokens and names are the same in both conversations because
// the same client chose them.
package dialogue
