// Package retention removes the oldest part of the ledger's journal when it is old enough and nobody needs it any more.
//
// No call passes here. A segment goes when three things hold: all its entries are older than the retention; everybody
// registered in Keeps (the index, the proof, every sink, open readers) has passed it; and a walk
// over it has found every frame whole, so damage is found before it is removed and not hidden by it.
//
// What goes is evidence, so its end is evidence, too: an entry of the ledger itself says up to which frame, with which
// chain value, the journal was removed, and is on the disk before anything is; then the journal's file `trimmed` takes the
// same place, with the balances they come to, from which every later start and check counts on; then the files go. Check
// refuses a beginning that no entry tells of.
//
// # Known limits
//
// A segment is written for a day at most, and removed as a whole: entries live up to a day longer than asked. The last
// segment stays until something is written to the one after it.
package retention
