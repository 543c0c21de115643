// Package proof is what shows that the ledger's entries are those that were written, all of them and in their order: a
// Merkle tree over the entries, signed checkpoints of it, and the verifier, which needs nothing but an export and a key.
//
// It stands behind a request's path: ledger/proof/sequencer follows the journals and grows the tree some seconds after
// the calls, ledger/proof/publish carries the checkpoints out. This package does no I/O but reading exports.
//
// # The tree
//
// It is that of RFC 6962, with SHA-256, as golang.org/x/mod/sumdb/tlog has it. An entry's leaf is
//
//	leaf = writer ‖ frame
//
// where writer is the 16 bytes that name one start of one process and frame is the entry's frame in its journal, as the
// package comment of ledger/journal specifies it: length, checksum, sequence, chain value, payload. The frame's own chain
// value does not tell whose it is to one who has a single frame, so the writer stands before it: a frame cannot be shown
// as another's. An entry's index is its leaf's place in the tree, from 0. With one process the order is the journal's;
// with several, whole batches of theirs take turns.
//
// # Checkpoints
//
// A checkpoint is a signed note (golang.org/x/mod/sumdb/note, Ed25519), of the form of C2SP tlog-checkpoint:
//
//	tollgate/0f8fad5b-d9cb-469f-a165-70867728950e       origin: which log
//	10423                                               how many entries
//	qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=         root hash of the tree over them
//	time 2026-11-24T12:00:00Z
//	next tollgate/0f8fad5b-…+2b1a3c4d+AZ…               only where the key changes: the verifier of the new one
//
//	— tollgate/0f8fad5b-… Ke0A1…                        the signature; two where the key changes
//
// # Exports
//
// An export is lines of JSON, in one file or cut at line ends into files export-NNNNNN.jsonl of a directory. Export and
// Lines write and read them:
//
//	{"export":{…}}       first: origin, the range of indexes, the hashes that stand for what is before and after it
//	{"writer":{…}}       before the first entry of a writer: whose journal, and what it continues
//	{"index":17,"writer":"…","hash":"…","frame":"…","entry":{…}}
//	{"checkpoint":"…"}   right after the entries that it covers
//
// The journals of a replica's starts are one line: each goes on where the one before ended. Only a salvage of a damaged
// journal (ledger.Salvage) begins behind an earlier frame: its writer is announced right behind that frame, its first entry
// says that it is a salvage, and what was given up stays in the tree and in exports. An entry whose frame a disk has lost has
// an empty frame and null for an entry; a verifier takes it only when told to.
//
// frame and hash (of the leaf) are base64. entry is the frame's content spelled out for people; the verifier makes it
// again from the frame and compares; an export in a form it does not know it takes only when told to go by the frames alone.
// The name of a replica and when the export was made are said by whoever exports, and by no signature.
//
// # What it proves, and what not
//
// Whoever has an export, a key that they trust and the newest checkpoint from a place that the operator cannot write to
// finds every entry that was changed, left out, put in or moved before that checkpoint. What the checkpoints have not
// left the house with yet is only as safe as the database and the key: whoever holds both can write it anew, checkpoints
// included. A cut tail shows only against a newer checkpoint. So how often checkpoints are exported, and to where, is the
// guarantee.
package proof
