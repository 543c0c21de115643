// Package ledger is the one place for money and evidence: what was asked, what was allowed, what it cost.
//
// gate.Do reserves here before a call leaves and posts or voids here once after it. An entry is never edited; a
// resolution is a further entry that names its reservation. Balances derive from entries alone.
package ledger
