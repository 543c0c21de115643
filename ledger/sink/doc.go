// Package sink copies the ledger to where others read it: files, object stores, log collectors, SIEMs, queues. It stands
// beside a request's path, never on it: entries that are on disk are read with a cursor, so a receiver that is down costs a
// call nothing and loses no line.
//
// # Delivery
//
// Each sink has one goroutine, a Reader and a cursor. It gathers a batch, bounded by count, bytes and time, sends it, and
// moves the cursor when the receiver has acknowledged all of it. Whatever ends in between is sent again: at least once, and
// the id of an entry tells a repetition. Failures are repeated after 0.5 s to 1 min, at random within, or as the receiver
// asks (Retry-After).
//
// A receiver whose batches are objects with names of their own (Whole) is sent the same batch again, to the last entry,
// even by the next process: what it is about to send stands beside the cursor. So the object replaces itself, and each
// entry is in exactly one.
//
// # Entries that are refused
//
// A receiver may refuse one entry for what is in it, such as its size. Then the batch is taken apart until the entry is
// found. It is put aside in a file beside the cursor, counted and warned of, and the rest goes on. But a receiver that
// takes nothing at all is set up wrongly: then nothing is put aside and everything waits. So does everything when the
// receiver refuses the sender (401, 403, 404): a wrong token must not empty the ledger into a file.
//
// # Files
//
//	NAME.json           the cursor, replaced whole
//	NAME.refused.jsonl  entries that were put aside, one JSON object each: time, reason, entry
//
// A crash leaves the old cursor or the new one. A sink that is taken out of the config keeps its file, so it goes on where
// it stood when it comes back; it holds the journal's retention only while it is configured.
//
// The receivers are the packages below; the forms an entry is sent in are ledger/sink/shape.
package sink
