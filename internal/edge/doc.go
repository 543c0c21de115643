// Package edge is the first thing an inbound HTTP request meets, on every front.
//
// [Guard.Check] refuses hostile Host and Origin headers, repeated credentials, encoded bodies and whatever else could be
// read in two ways; [Body] reads a body whole within a size and a time. Both answer with a [Problem], which each front
// puts into its own wire format.
package edge
