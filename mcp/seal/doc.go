// Package seal makes texts that only this installation can make and read.
//
// What the gateway must remember of a caller between two of its requests (a parked call, a task of a server) is handed to
// the caller itself, sealed: the caller can neither read nor change it, and the next request is served from it alone, by
// any replica with the same key and after any restart. The seal says that the text is ours; whose it is and until when it
// holds must stand inside, and is for the opener to check.
package seal
