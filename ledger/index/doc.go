// Package index makes the ledger's entries searchable: a database that follows the journal by a cursor. It is an SQLite
// file beside the journal, or, where several replicas work together, a PostgreSQL database that all of them feed.
//
// It is derived and never asked on a call's path. Entries that are on disk are read in batches and stored together with
// the cursor in one transaction. The transaction also checks where the cursor stands and what the last sequence of each
// writer is, so each entry is indexed exactly once whatever crashes, whoever feeds beside, and wherever a reader begins
// again. A removed database is made again from the journal, as far as the journal goes back.
//
// A call is one row: its reservation and, once it has ended, its end. Use is summed up beside: by hour, and by day for
// whole lanes (whose, and where to), for principals alone and for targets alone, so that a year of it is read at once.
// What is older than Retain allows is removed: in SQLite little by little from the end where nothing else is written, in
// PostgreSQL by whole months; use by day stays for years.
//
// While a process serves, Run follows its ledger. When none does, Read takes the directory, brings the database up to
// the journal's end and answers from it. A database that does not answer delays nobody but those who ask it: Run tries
// again, and entries wait in the journal.
package index
