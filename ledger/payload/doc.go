// Package payload keeps what calls carried, for operators who want it: arguments and results of tools, prompts and
// completions of models. It is off unless the config says otherwise.
//
// The gate asks [Recorder.Begin] for each call that is admitted. What is to be captured is gathered while the call runs,
// within bounds, and handed to a queue when it ends, so that the entry that ends the call says what was kept; the rest, to
// redact, encrypt and store, is done behind the queue and holds up nobody. A queue that is full drops the payload and the
// entry says so. A crash loses what is in the queue: the entry then names a payload that is not there.
//
// # Modes
//
//	off       nothing
//	digest    the entry has a keyed digest of the answer, beside that of the arguments which every entry has
//	redacted  and both are kept with tokens in the place of credentials and personal data, see internal/redact
//	full      and both are kept as they came
//
// Long runs of base64, which is how pictures, sounds and files come, are left out in every mode, and what is larger than
// two megabytes is cut; the payload says so. Refused calls carry nothing anywhere and are not captured.
//
// # Where it is kept
//
// Apart from the journal: a table in SQLite, or in the PostgreSQL database that several gateways share. Each part is
// encrypted (AES-256-GCM) with the data key of its subject, the call's user or, without one, its key (ledger/subject), and
// bound to its call, part and mode. When the subject is erased its rows are deleted, and whatever copy of them is left
// somewhere cannot be read by anybody. Rows older than the retention are deleted by the hour.
package payload
