// Package entry is what one line of the ledger says, and its form in the journal.
//
// gate.Do fills an Entry when a call is refused, reserved or ended; package ledger writes it as a journal payload, and
// whoever reads the journal (the index, proofs, sinks) decodes it again. The form stands in wire.go.
package entry
