// Package evidence is what the peers of a chaos run write down while it runs, each about itself: the upstreams every
// request that reached them (Request), the workers every call that they made (Call), the run every fault that it caused
// (Fault). The checker knows nothing but these and the journals.
//
// A record is one JSON line, handed to the kernel in one write before its author goes on: an upstream has noted a request
// before it begins to answer. What was noted survives the death of any process; it is synced each SyncEvery, and at the
// end. All times are those of the machine's own clock, in Unix nanoseconds, which no fault moves.
package evidence
