// Package post is the HTTP of sinks: a client for one URL that dials by internal/dial, and how an answer is to be taken: as
// done, as a refusal of what was sent, or as a reason to come back later.
package post
