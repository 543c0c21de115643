// Package wire reads just enough HTTP/1.1 for the benchmark's own two ends: heads, fixed bodies and chunked bodies, piece
// by piece as they arrive, without allocating. It trusts its peers to be well-formed and to be on this machine; it is not
// for anything that a stranger can reach.
package wire
