// Package privacy is the operator's side of who is behind the entries and of what calls carried: the part of the admin API
// that names, holds and erases subjects and shows payloads, and the commands that ask it.
//
//	POST /api/v1/payloads/{id}     {"reason": …}                       a captured payload
//	GET  /api/v1/subjects                                              pseudonyms, names, holds
//	POST /api/v1/subjects/hold     {"subject"|"key", "held", "reason"} keep one from being erased, or let go
//	POST /api/v1/subjects/erase    {"subject"|"key", "reason"}         forget one for good
//	POST /api/v1/subjects/rekey    {"reason"}                          seal all anew with the config's key-encryption key
//
// All of these but the list are entries of kind admin themselves, written before anything is shown or done, with who did it
// and why. A subject stands in them as its pseudonym; a reason that names it is refused, because an entry stays.
package privacy
