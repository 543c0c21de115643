// Package wire holds what the transports to MCP servers share: how a message is read and put together, what surrounds a
// request in the era of its server, how the era is found out and how lists are fetched.
//
// A request is the caller's own bytes with a _meta of this hop ([Peer.Meta], [Request.Body]); what comes back is scanned
// once ([Parse]) and handed on as it came ([Message.Answer], [Deliver]). [Probe] settles the era, [Hello] reads what a
// legacy server says of itself and [Peer.Offer] fetches its lists through an [Asker], which the transport gives.
//
// Of the SDK the header rules (Mcp-Name, Mcp-Param) are taken. Nothing in here reaches the network.
package wire
