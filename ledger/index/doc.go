// Package index makes the ledger's entries searchable: an SQLite database that follows the journal by a cursor.
//
// It is derived and never asked on a call's path. Entries that are on disk are read in batches and stored together with
// the cursor in one transaction, so each is indexed exactly once whatever crashes, and a removed database is made again
// from the journal. A call is one row: its reservation and, once it has ended, its end. Use by hour is summed up
// beside, so that a month of it is read at once.
//
// While a process serves, Run follows its ledger. When none does, Read takes the directory, brings the database up to
// the journal's end and answers from it.
package index
