// Package syslog is the sink that speaks syslog: RFC 5424 messages, counted in octets as RFC 6587 has it, over TCP or over TLS
// (RFC 5425).
//
// Syslog knows no acknowledgement. What can be known is used: before a batch counts as delivered the peer's kernel must
// have confirmed every byte (on Linux), and the connection must stand a moment longer. One that turns out to have ended may
// have swallowed what was sent last, so the batch before is sent again over the next one. What a receiver loses after its
// kernel took it, and the process of this sink ends before that shows, is lost to that receiver; it is in the ledger, and
// the sink can be rewound.
package syslog
