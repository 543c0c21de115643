// Package lease shares limits among replicas through PostgreSQL, so that together they never exceed one, whatever number
// of them runs and whatever happens to them, their network, their clocks and the database.
//
//	c, err := lease.Open(ctx, lease.Config{DB: db, Dir: data, Offline: 5 * time.Second, Log: log})
//	l, err := ledger.Open(ledger.Config{…, Pools: c})   // Close of the ledger gives everything back
//	err = c.Alive()                                     // may this replica serve? Keys ask it, too
//	err = c.Close()
//
// # The protocol
//
// A limit at its place (and in its calendar period) is a pool of the lowest amount A that any live replica has for it. A
// replica r holds a cap G(r) of the pool, a row of lease_caps; its own ledger lets its own calls take G(r) and no more
// (package caps). The database keeps
//
//	sum of G(r) over all rows  ≤  A                                                                       (1)
//
// by granting only what is left, under a lock on the pool's row in lease_pools. Only two things raise a cap: a grant, and
// a debt, which is what calls have taken already (a cost beyond its hold, use from before the limit was there). Debts are
// always accepted, because they are true; while they stand nothing is granted.
//
// Everything that one replica says is one transaction at a time, the exchange: it locks the replica's own row of
// lease_replicas, which holds the token that the last exchange left, and leaves a new one. Then it locks the pools it has
// something to say of, in order. The exchange is also the heartbeat, about five times in the time of Offline.
//
// # Why it holds
//
// Local obeys remote. A cap is raised in memory after the commit was answered, and lowered in memory before the exchange
// that says so begins. When an answer is lost, the replica goes on with the lower of the two and reads its rows again in
// its next exchange. An exchange that is still under way somewhere then finds its token gone and changes nothing.
//
// Identity. Rows belong to an identity, the file replica.id in the data directory, and are taken over by the next start
// in that directory, whose journal says what of them is used. Each start is an incarnation of its own, and an identity
// has one: the other finds that its token is not the last one and serves no more until it is started anew. A start takes
// an identity over at once when it can be sure that its predecessor is dead, because it holds the lock of the same file of
// the same running kernel; else when the predecessor has been silent for longer than it may serve. A data directory whose
// journal is shorter than the replica said it was is a copy or a restored backup: it gets a new identity, and what the old
// one held stays spent.
//
// Silence. A replica refuses all calls once Offline has passed since it sent the last exchange that was answered. The time
// is the longest of what the monotonic clock, the clock on the wall and, where there is one, the clock that counts a
// suspended machine's sleep say has passed. In the database it is declared gone when Offline and a margin have passed
// since, by the database's clock and by that of the replica that watches for it (a database's clock may jump), under the
// lock of the silent replica's row: so an exchange that is under way is either seen, or finds itself declared gone. Of
// what a replica that is gone held,
//
//	of the calendar      it stays spent until the period ends
//	what slides          returns when the window has passed as well: no use of it can be in any window then
//	slots                return at once
//
// When it comes back it is told so and begins from what is left of its rows.
//
// Windows. Calendar periods are pools of their own, so replicas that disagree on the time for a moment count a call in one
// period or the other, and each holds. A cap that slides is tied to no period: it is lowered as far as its holder's own
// window allows and no further, so at each moment the windows of all replicas come to no more than their caps, which is
// (1). For that, only the speed of a replica's clock matters: windows look back a sixtieth further than their length, and
// the shared time runs at most a hundredth faster than time does.
//
// # Who gets what
//
// A call that lacks room asks for it in the next exchange, together with all others of its replica. What is granted beyond
// that grows with the rate of late and is at most a half of what is left divided by the live replicas, so that it comes
// down to call by call at the edge. A replica that is refused leaves a mark on the pool: it starves. The others hear of it
// by NOTIFY, or by a query ten times a second where there is none, answer at once with all that no call has taken, and keep
// nothing for two seconds. The call waits for that for a quarter of a second at most, and no longer than until all others
// have answered. The first that starves has its turn first, so that two cannot keep from each other what one would need.
//
// # Time
//
// The ledger's time is that of the database: the difference is measured by every exchange to half its round trip and
// carried on by the monotonic clock. A machine's clock that is wrong, or set, moves no window. When the database's clock
// moves (a failover), replicas follow by a hundredth of the time that passes.
//
// # Engines
//
// The statements are SELECT … FOR UPDATE, INSERT … ON CONFLICT, UPDATE and DELETE by arrays of keys, and
// clock_timestamp(). Nothing depends on a session: no LISTEN is needed (see above), no advisory lock, no prepared state.
// Under READ COMMITTED (PostgreSQL) each statement after the lock on a pool sees what was committed under it. Under
// SERIALIZABLE (CockroachDB) the whole exchange is repeated when it has to be; it has no effect but through the
// transaction.
//
// # Known imprecision
//
//   - A call may cost more than it held: what a limit is exceeded by then is the difference, as on one node. A hard limit
//     holds the worst case.
//   - Calls under way on a replica that is cut off go on. Their slots of a limit on concurrency return after Offline and
//     the margin, so that such a limit may be exceeded by as many as are still running then.
//   - A call that was let through and stopped there (a paused machine) leaves when it goes on. It counts when it was
//     reserved.
//   - A limit that is added counts what each replica used before from the moment that replica has it. One that is lowered
//     or removed on some replicas only is in force on the others within about a second.
//   - A limit whose amount is lower on one replica is that low for all while that replica used it in the last day.
//   - When the database's clock is set forward by more than a minute, replicas follow at once, and windows that slide are
//     short by as much, once. What a replica that is gone held of them returns early by as much.
//   - A failover that loses transactions that had been committed (asynchronous replication) loses grants. Each replica
//     claims what it had been granted in its first exchange after that; until then the others may be granted it again.
package lease
