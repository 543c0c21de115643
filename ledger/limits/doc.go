// Package limits is the arithmetic of limits: what "50 USD / 1M" means, which calls it counts, and how much of it is
// taken in the window of a moment. It is pure: it reads no clock, keeps no entries and knows nothing of who is limited.
// Package ledger says who and derives every balance from its entries.
package limits
