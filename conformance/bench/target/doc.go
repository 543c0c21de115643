// Package target starts what the benchmark compares, each in front of the same mock: nothing at all (a direct call), a
// proxy of net/http that governs nothing, nginx, a relay of MCP that governs nothing, and tollgate with everything on. It
// also reads what their processes cost from /proc.
package target
