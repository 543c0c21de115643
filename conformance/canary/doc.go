// Package canary holds that nothing leaks. Its test starts the real binary at debug level, plants a unique text in every
// place where a secret or personal data can come from, has them pass through every path there is, echoes of upstreams
// included, and then looks for each of them, in all common encodings, in everything that the gateway has written, answered
// or sent: logs, traces, metrics, every file of the data directory, the admin API, exports.
//
// A new place to leak from is a line in canaries, a new place to leak to one in places.
package canary
