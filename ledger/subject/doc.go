// Package subject keeps who stands behind the pseudonyms of the ledger, and can forget it.
//
// The ledger asks it on every call for a user ([Subjects.Pseudonym]): for those it has met it answers from memory. A new
// one costs one transaction: a random pseudonym, u_ and twenty letters and digits, and a random data key, under which the
// subject's captured payloads are encrypted (ledger/payload). Payloads of keys without a user have a subject as well,
// whose pseudonym begins with k_ and stands in no entry.
//
// # What is stored
//
// A table in SQLite, or in the PostgreSQL database that several gateways share: for each subject its pseudonym, a keyed
// digest of the name to find it by, the name and the data key, both sealed (AES-256-GCM). The keys for these come from a
// random root, which is stored sealed with the key-encryption key (KEK) of the config. So the tables alone tell nothing.
//
// # Erasing
//
// Erase deletes the row: nobody can tell any more who the pseudonym was, nor read a payload, while all entries stay as they
// are and every digest, chain and proof over them holds. What remains is the pseudonym and when it was erased. Calls for
// the same name get a new pseudonym from then on, and what was used under the old one counts for nobody: windows of the
// user's limits begin empty. Other gateways hear of it within a second; until then they go on with the old pseudonym.
//
// In SQLite the row's bytes are overwritten. Of a PostgreSQL server's files, write-ahead logs and backups the package
// cannot take them out: VACUUM frees the place of a deleted row, and only what is written there later, or VACUUM FULL,
// takes the bytes away. They are sealed with the KEK: rotate it with Rekey after an erasure and destroy the old one, and
// no copy of before can be opened any more.
package subject
