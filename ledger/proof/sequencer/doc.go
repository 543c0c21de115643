// Package sequencer makes one order of what all processes wrote, grows the tree of package proof over it and signs
// checkpoints of it. It follows the journals some moments behind the calls and is on no call's path.
//
// Each process, a replica, ships batches: frames of its journal that are on its disk, one after the other. Whoever has
// the duty sequences them: it takes whole batches in the order they came in, holds each against where its replica's
// journal had come to, and puts them into the tree.
//
//	ship      the replica's place moves, if nobody moved it, and the batch is there: one transaction
//	sequence  the head moves, if nobody moved it; batches get their indexes, subtrees are kept: one transaction
//	sign      the tree is held against the checkpoint signed last; then the count of checkpoints moves, if nobody moved
//	          it, and the new one is there: one transaction. Only then may anybody see it
//
// So the duty spares work and is no lock: two that do the same at once, or a crash anywhere, leave the tree as one of them
// made it. What was shipped and is not in the tree yet is taken later. What continues nothing waits; what continues a
// place that something else has already continued is a fork: a data directory that was copied or set back, or a journal
// that was changed. It raises an alarm and is never sequenced. One break is taken, with an alarm: a new writer whose first
// entry says that the journal was salvaged, behind a frame that its replica has shipped. What was given up stays in the tree.
//
// A Store is an SQLite file beside the journal, or tables of the database that replicas share. With a file the frames stay
// in the journal and a batch is a place in it, with the hashes of its leaves for what a disk may lose; in the database a
// batch has its frames, because the machine that wrote them may be gone.
//
// Every process also keeps the newest checkpoint that it has signed or seen in a file of its own, and refuses to sign what
// does not go on from it: a database that was set back shows.
package sequencer
