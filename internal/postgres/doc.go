// Package postgres is the connection to the database that several replicas share. It knows no table of theirs: the index,
// the leases, the keys and the proof each bring their own, under names that begin with their own word.
//
// It is on no call's path. What a call needs of the database it has in memory; the parts that keep it there come here.
//
// # What is assumed of the server
//
// Anything that speaks PostgreSQL's protocol and has its transactions: PostgreSQL 13 and later, and engines such as
// CockroachDB or YugabyteDB. So there are no advisory locks, no LOCK TABLE, no session state and no clock but the
// server's. Transactions that the server asks to repeat are repeated (SERIALIZABLE engines do that often). NOTIFY is used
// where it is: a server or a pooler without it costs its users the time of a poll, nothing else.
//
// Prepared statements are named on the server, which a pooler in transaction mode must support (PgBouncer since 1.21);
// default_query_exec_mode=exec in the URL does without.
//
// # Deadlines
//
// A connection that is cut in silence does not end by itself, so each use needs a context with a deadline. The methods of
// this package set one where their caller has none; those of the pool behind them do not.
package postgres
