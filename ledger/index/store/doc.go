// Package store is what the index and its engines share: what a batch of entries comes to in rows and sums, the interface
// that an engine fills, and where the SQL of engines differs. The index gathers entries into a Batch and hands it to an
// Engine, which stores it whole or not at all.
package store
