// Package durable writes files so that they survive what can happen to a machine: files whose data is forced to the
// disk, small files that are replaced whole or not at all, and a directory that only one process may write.
//
// The ledger stands on the interfaces File and Dir. Disk is the real thing; internal/durabletest breaks it on purpose.
package durable
