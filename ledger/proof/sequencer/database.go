package sequencer

import (
	"context"
	"fmt"

	"github.com/tollgate/tollgate/ledger/tables"
)

// statements is what a transaction can do; *tables.Tx does it.
type statements interface {
	Exec(ctx context.Context, statement string, args ...any) (int64, error)
	Each(ctx context.Context, take func(scan func(...any) error) error, statement string, args ...any) error
}

// database runs transactions: all of fn or nothing of it. fn may run more than once. Tests break it.
type database interface {
	tx(ctx context.Context, fn func(ctx context.Context, s statements) error) error
	Close() error
}

// stored is the database as it is.
type stored struct{ *tables.DB }

func (d stored) tx(ctx context.Context, fn func(context.Context, statements) error) error {
	return d.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error { return fn(ctx, tx) })
}

// steps make the tables. turn counts a replica's batches; place is where one begins in its replica's journal, and what is before it; at is the index of
// its first entry once it is in the tree; frames is NULL where they stand in the journal; leaves are then the hashes of their leaves in the tree, for what a disk may lose of them.
var steps = []string{`
CREATE TABLE proof_head (
  one INTEGER PRIMARY KEY, origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, edge BLOB NOT NULL,
  signed INTEGER NOT NULL, verifier TEXT NOT NULL, first INTEGER NOT NULL
) STRICT`,
	"CREATE TABLE proof_replicas (replica TEXT PRIMARY KEY, batches INTEGER NOT NULL, shipped BLOB NOT NULL, sequenced BLOB NOT NULL) STRICT", `
CREATE TABLE proof_batches (
  writer BLOB NOT NULL, seq INTEGER NOT NULL, replica TEXT NOT NULL, turn INTEGER NOT NULL, entries INTEGER NOT NULL, place BLOB NOT NULL,
  since INTEGER NOT NULL, until INTEGER NOT NULL, shipped INTEGER NOT NULL, at INTEGER, frames BLOB,
  PRIMARY KEY (writer, seq)
) STRICT`,
	"CREATE INDEX proof_batches_at ON proof_batches (at)",
	"CREATE INDEX proof_batches_pending ON proof_batches (replica, turn) WHERE at IS NULL",
	"CREATE TABLE proof_nodes (level INTEGER NOT NULL, n INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, n)) STRICT",
	"CREATE TABLE proof_checkpoints (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, time INTEGER NOT NULL, verifier TEXT NOT NULL, note TEXT NOT NULL) STRICT",
	"CREATE TABLE proof_exports (target TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT",
	"ALTER TABLE proof_batches ADD COLUMN leaves BLOB",
}

func migrated(ctx context.Context, db *tables.DB) (database, error) {
	if err := db.Migrate(ctx, "proof", steps); err != nil {
		return nil, fmt.Errorf("make the tables: %w", err)
	}
	return stored{db}, nil
}
