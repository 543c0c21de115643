package oauth

import (
	"context"
	"crypto/subtle"
	"errors"

	"github.com/tollgate/tollgate/ledger/tables"
)

// file is a SQLite database: the keys of one gateway, which the command line may change while the gateway runs. The database
// has one connection, so that data_version, which is of a connection, tells of other processes only.
type file struct{ db *tables.DB }

// fileSteps lead to each version of the file's tables. Those of the first had names of their own.
var fileSteps = []string{
	`CREATE TABLE pepper (digest BLOB NOT NULL);
CREATE TABLE keys (
	id TEXT PRIMARY KEY, name TEXT NOT NULL, customer TEXT NOT NULL, team TEXT NOT NULL, user TEXT NOT NULL,
	tags TEXT NOT NULL, limits TEXT NOT NULL, tools TEXT NOT NULL, models TEXT NOT NULL,
	created INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_in_force ON keys (name) WHERE revoked = 0;
CREATE TABLE secrets (
	digest BLOB PRIMARY KEY, key_id TEXT NOT NULL REFERENCES keys (id), shown TEXT NOT NULL,
	created INTEGER NOT NULL, until INTEGER NOT NULL
) STRICT;
CREATE INDEX secrets_of_key ON secrets (key_id);`,
	`ALTER TABLE keys RENAME TO keys_minted;
ALTER TABLE secrets RENAME TO keys_secrets;`,
}

// openFile opens the file at path, and makes it if need be. It refuses one whose digests were made with another pepper:
// its keys would all be unknown.
func openFile(ctx context.Context, path string, h *hasher) (*file, error) {
	db, err := tables.File(path)
	if err != nil {
		return nil, err
	}
	d, pepper := &file{db}, h.check()
	err = db.Migrate(ctx, "keys", fileSteps)
	var stored []byte
	if err == nil {
		err = db.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO pepper (digest) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM pepper)", pepper[:]); err != nil {
				return err
			}
			return tx.Row(ctx, "SELECT digest FROM pepper").Scan(&stored)
		})
	}
	if err == nil && subtle.ConstantTimeCompare(stored, pepper[:]) != 1 {
		err = errors.New("its keys were made with another pepper: restore data/pepper")
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

func (d *file) tables() *tables.DB { return d.db }

func (d *file) change(ctx context.Context, fn func(context.Context, *tables.Tx) error) (int64, error) {
	return 0, d.db.Tx(ctx, fn)
}

func (d *file) version(ctx context.Context) (v int64, err error) {
	_, err = d.db.One(ctx, []any{&v}, "PRAGMA data_version")
	return v, err
}

// listen has nothing to tell: a file does not say that it has changed.
func (d *file) listen(context.Context, func()) {}

// applied is told to nobody: one gateway has the file.
func (d *file) applied(context.Context, int64) error { return nil }

func (d *file) confirmed(context.Context, int64) (bool, error) { return true, nil }

func (d *file) close() error { return d.db.Close() }
