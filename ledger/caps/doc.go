// Package caps is what one replica may take of limits that it shares with others, in memory and under the ledger's lock.
// It does no I/O and reads no table: package lease carries what it plans to the database and brings the answer back.
//
// # Caps
//
// A limit at its place is a pool; with a window of the calendar, each period is a pool of its own. A replica holds a cap
// of a pool: what its own calls may have taken of it, ended and under way, at any time. The database sees to it that the
// caps of all replicas together never exceed the lowest amount that any of them has for the limit; so what their calls
// take together cannot either, whatever a replica knows of the others.
//
// A cap is raised here only after the database has raised it, and lowered here before the database hears of it. So while
// a transaction is under way, or its answer was lost, the replica obeys the lower of the two.
//
// # Sliding windows
//
// A cap that slides is tied to no period. It may be lowered as far as what the replica's own window holds, no further.
// The sum over the replicas of what their windows hold at a moment is then never more than the sum of their caps at that
// moment, and any window is one that ends at some moment.
//
// # Who waits
//
// A call that fits its caps waits for nothing: two comparisons for each limit. When room runs low more is asked for in the
// background, by the rate of late. A call that does not fit enlists as a waiter, wakes the exchange and tries again after
// each answer, until the database says that nobody has room left, or until WaitMax is over.
package caps
