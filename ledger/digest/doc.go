// Package digest keys the digests that stand in entries for what calls carry: arguments on their way in, answers on their way
// out. The ledger takes one on every call's path.
package digest
