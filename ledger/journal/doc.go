// Package journal is the file under the ledger: an append-only sequence of payloads, hash-chained, written by one process
// at a time, read by any number of cursors. It knows nothing of what a payload says.
//
// # Writing
//
// Stage fixes a payload's place in the order and costs no I/O. Flush hands all that is staged to the kernel in one
// write: after it, killing the process loses nothing. Synced waits until the payload is on the disk; one background
// goroutine forces whole groups. So 64 callers share one write and one sync.
//
// A payload that was staged is never dropped. When a write or a sync fails, Flush or Synced say so, Ready refuses new
// work, and the same bytes are written to the same place again until it succeeds: a write that failed but was kept is
// overwritten by itself. What a caller could not bring to the disk it takes back by a further payload, never by erasing.
//
// The room for a segment is taken ahead of what is written, by four MiB and more. When the disk is full Ready says so, and
// those four MiB are left for what must still be written, such as the ends of calls under way; what does not fit there
// either waits in memory. As soon as there is room, Ready finds it. A file system that does not take room ahead has no such
// spare.
//
// # Files
//
// Segments are named 000000000001.journal and so on, in the order of the whole journal. Each start is a new writer with
// a new segment, so no pair of writer and sequence is ever used twice. All integers are little endian.
//
//	segment = header frame* zero*
//
//	header = magic      8 bytes   "TGJRNL02"
//	         writer    16 bytes   UUID, one for each start of the process
//	         first      8 bytes   sequence of the first frame; 1 for a writer's first segment
//	         before    32 bytes   chain value before the first frame
//	         checksum   4 bytes   CRC32C of the 64 bytes above
//
//	frame  = length     4 bytes   of the payload; 0 means the end: preallocated space follows
//	         checksum   4 bytes   CRC32C of all the rest
//	         synced     8 bytes   sequence of the writer's last frame that was on the disk when this one was made; 0: none
//	         sequence   8 bytes   counts the writer's frames from 1
//	         chain     32 bytes   SHA-256(chain before ‖ sequence ‖ payload)
//	         payload
//
// In a writer's first segment, before is SHA-256(magic ‖ writer ‖ last chain value of the journal so far; zeros at its
// very start), so the chain runs through all writers and no start can be left out unseen. In each later segment it is
// the chain value of the frame before.
//
// A segment ends past a size or when it is a day old. Its file is cut after its last frame before the next is begun.
//
// Segments may be removed from the beginning on (Trim). A file named trimmed says then where the journal begins; a cursor
// at the start of the journal begins there, and a segment that is missing anywhere else is damage:
//
//	trimmed = magic      8 bytes   "TGTRIM01"
//	          segment    8 bytes   number of the last segment that was removed
//	          offset     8 bytes   where its last frame ended
//	          writer    16 bytes   that wrote it
//	          sequence   8 bytes   of its last frame
//	          chain     32 bytes   of its last frame: what the next segment's header must continue
//	          state                what its owner keeps of what was removed
//	          checksum   4 bytes   CRC32C of all before it
//
// # What a crash leaves
//
// A killed process leaves whole frames, of which the kernel may have more than the disk: Open writes again, and forces, what
// is not known to be on the disk before anything is put behind it. A dead machine may leave a torn tail in the last segment,
// of frames that were not yet synced: Open cuts it there, keeps the cut bytes in a file beside (.torn) and reports it, again
// at each start until one has written something.
//
// Everything else is damage, which Open and Cursor refuse to pass over and name by file and byte: a frame that does not hold
// anywhere before the end, a frame that does not hold at the end but was on the disk, as a later one says (synced), a
// segment that is missing, a header that does not continue the chain. Damage in what the power could have taken cannot be
// told from a torn tail: the frames of the last sync. Nor can the removal of whole frames at the very end, which shows
// against what others remember: stored balances, cursors, signed checkpoints.
//
// Salvage ends a damaged journal where it still holds. The segments behind are kept as 000000000007.journal.damaged and so
// on, empty where there was none, and a cursor steps over their numbers.
package journal
