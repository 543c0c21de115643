// Package tables is a few tables in a SQLite file of this gateway, or in the PostgreSQL database that several share, behind
// one set of SQL statements. The stores that are small and not on a call's path stand on it: subjects and captured payloads.
//
// Statements are written once, with ? for their arguments, in the SQL that both engines have. A table's columns are text,
// integers (bigint) and bytes; the two schemas differ in the names of these types alone, see [DB.Migrate].
//
// What is deleted is to be gone. In SQLite deleted bytes are overwritten and [DB.Scrub] empties the write-ahead log. In
// PostgreSQL a deleted row is invisible at once, while its bytes stay in the server's files until vacuum and later writes
// have reused their place, and in its write-ahead log and backups for as long as those are kept: what must be unreadable
// there as well must be stored encrypted, and its key destroyed.
package tables
