// Package sse reads server-sent events from an upstream without losing a byte: each event comes with the raw bytes it
// was made of, so that a stream can be forwarded as it came while its data is read. The format is the one of the HTML
// standard, section 9.2.
package sse
