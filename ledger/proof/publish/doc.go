// Package publish carries signed checkpoints out of reach of whoever holds the database and the key: into a directory, an
// object store, to a webhook. How often and where to is what the proof is worth, see package proof.
//
// Nothing waits for it. Each target has its own place in the list of checkpoints, kept in the store, gets every checkpoint
// in order and at least once, and is tried again for as long as it fails. When it has missed very many the oldest are left
// out: a newer checkpoint covers what an older one did.
//
// A directory is each process's own, so each writes it; the other targets are served by the one that has the duty.
package publish
