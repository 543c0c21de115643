// Package queries answers questions about the ledger's past: which calls there were, what their entries say, what was used.
//
// It has both sides of it: the part of the admin API (GET /api/v1/calls, /entries, /usage, /index), which reads the index,
// and the commands `audit query` and `usage`, which ask that API, of the running gateway over its socket or of one that the
// command line makes on the files. No call passes here.
//
// # Pages and exports
//
// Without format= an answer is one page of JSON; its next, given as after=, begins the following one. With format=jsonl or
// format=csv the answer is a stream of all there is, or of limit= calls, read page by page, so its length does not matter.
// Each line has the cursor that goes on behind it: when a stream breaks off, the last whole line's cursor, given as after=,
// continues it, and nothing is missing. An entry whose call was not complete may then come again.
package queries
