// Package kafka is the sink that produces entries to a topic: one record an entry, its key the id of the virtual key, so
// that a key's entries keep their order, its headers the entry's id and kind.
//
// A batch is acknowledged when all replicas in sync have every record (acks=all). The producer is idempotent: what it
// repeats by itself within a batch is stored once. The topic must exist.
package kafka
