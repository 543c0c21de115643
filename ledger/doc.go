// Package ledger is the one place for money and evidence: what was asked, what was allowed, what it cost.
//
// gate.Do reserves here before a call leaves and posts or voids here once after it. An entry is never edited; a
// resolution is a further entry that names its reservation. Balances derive from entries alone: they are kept in memory
// as entries are written, and come back from the journal when a process starts.
//
//	l, err := ledger.Open(ledger.Config{Dir: dir})       // recovers what a crash left
//	l.SetLimits(limits)                                  // whenever the config changes
//	r, err := l.Reserve(ctx, &call, &decision, hold)     // a *LimitError, or an error with ErrUnwritable: no call
//	err = r.Synced(ctx)                                  // before anybody sees the answer
//	err = r.Post(outcome)                                // or r.Void: exactly one, once
//
// # Order and crashes
//
// Reserve checks all limits, takes from them and stages the entry under one lock, which is never held over I/O; then
// the entry is written to the kernel, then the call leaves. A process that is killed in between leaves an open
// reservation, which the next start posts with what was held, marked estimated. Nothing that left is ever without a
// line. When the journal cannot be written, calls are refused; what was taken for a refused one is taken back by a
// voided entry, written when the disk can be written again. On a full disk the ends of calls under way are written all the
// same, and calls go on by themselves once there is room.
//
// What a start mends it writes into the ledger itself, as an admin entry: a torn tail that was cut (journal.recover), a
// damaged end that an operator gave up (journal.salvage). Old entries go by retention (journal.trim): see Retain.
//
// # What a limit may be exceeded by
//
// The only overshoot is the difference between a call's hold and its true cost, summed over the calls under way; a hard
// limit holds the worst case. Sliding windows are counted in sixtieths and look back up to one too far, never too short.
//
// # Several replicas
//
// With Config.Pools, replicas share their limits: each may take a part of each, which the pools hand out and take back, and
// checks its calls against that under the same lock, in memory. A call that finds its replica's part used up waits for
// more, a quarter of a second at most. A replica that may serve no more, because it has lost the others, refuses with
// ErrOffline. Packages ledger/caps and ledger/lease say how that holds; the time of windows is then the one they share.
//
// # Reading
//
// Everything else reads entries that are on disk by a Reader: the index for queries (ledger/index), checks, sinks. The
// arithmetic of limits is ledger/limits, the files are ledger/journal, what an entry says and its form in them is ledger/entry.
//
// # People
//
// A user's name stands nowhere in a journal, a checkpoint or the index: Subjects gives a pseudonym for it, which is
// resolved when entries are shown. What calls carry stands there as a keyed digest only.
//
// # Known limits
//
// Use is kept in memory by principal and target: rows of seconds to months, a few kilobytes for each pair in daily use,
// kept for thirteen months. A retry of a call that ended more than 32,768 calls ago, or before the last start, counts
// as a call of its own.
package ledger
