// Package refusals adds up the refusals of callers without a key, so that whoever knocks in vain, as often as he likes,
// writes a line a minute and not one for each knock.
//
// Ledger.Deny asks here before it writes: the first refusal of a source is written at once, those of the minute after it as
// one further entry with their count.
package refusals
