package oauth

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the driver by the name of sqlite
)

// file is a SQLite database: the keys of one gateway, which the command line may change while the gateway runs.
type file struct{ db *sql.DB }

// schemas are the steps to each version of the file's schema.
var schemas = [...]string{
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
	// The names that the tables have in a database which is not theirs alone.
	`ALTER TABLE keys RENAME TO keys_minted;
ALTER TABLE secrets RENAME TO keys_secrets;`,
}

// openFile opens the file at path, and makes it if need be. It refuses one whose digests were made with another pepper:
// its keys would all be unknown.
func openFile(ctx context.Context, path string, h *hasher) (*file, error) {
	// The file is made here because SQLite would make it readable for all; its journals take its mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	query := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // so that data_version, which is of a connection, tells of other processes only
	d := &file{db}
	if err := d.prepare(ctx, h.check()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

func (d *file) prepare(ctx context.Context, pepper digest) error {
	_, err := d.change(ctx, func(ctx context.Context, tx transaction) error {
		var version int
		if err := one(ctx, tx, "PRAGMA user_version", &version); err != nil {
			return err
		}
		if version > len(schemas) {
			return fmt.Errorf("its schema has version %d, this program knows %d: it was written by a newer one", version, len(schemas))
		}
		for _, step := range schemas[version:] {
			if _, err := tx.exec(ctx, step); err != nil {
				return err
			}
		}
		if version == 0 {
			if _, err := tx.exec(ctx, "INSERT INTO pepper (digest) VALUES (?)", pepper[:]); err != nil {
				return err
			}
		}
		if _, err := tx.exec(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(schemas))); err != nil {
			return err
		}
		var stored []byte
		if err := one(ctx, tx, "SELECT digest FROM pepper", &stored); err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(stored, pepper[:]) != 1 {
			return errors.New("its keys were made with another pepper: restore data/pepper")
		}
		return nil
	})
	return err
}

// one reads the one value that a query returns.
func one(ctx context.Context, tx transaction, query string, into any) error {
	return tx.each(ctx, query, nil, func(scan func(...any) error) error { return scan(into) })
}

func (d *file) change(ctx context.Context, fn func(context.Context, transaction) error) (int64, error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	if err := fn(ctx, fileTx{tx}); err != nil {
		return 0, errors.Join(err, tx.Rollback())
	}
	return 0, tx.Commit()
}

func (d *file) read(ctx context.Context, fn func(context.Context, transaction) error) error {
	return fn(ctx, fileTx{d.db})
}

func (d *file) version(ctx context.Context) (v int64, err error) {
	err = d.db.QueryRowContext(ctx, "PRAGMA data_version").Scan(&v)
	return v, err
}

// listen has nothing to tell: a file does not say that it has changed.
func (d *file) listen(context.Context, func()) {}

// applied is told to nobody: one gateway has the file.
func (d *file) applied(context.Context, int64) error { return nil }

func (d *file) confirmed(context.Context, int64) (bool, error) { return true, nil }

func (d *file) close() error { return d.db.Close() }

// fileTx is a transaction of a file, or the file itself.
type fileTx struct {
	of interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
}

func (t fileTx) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := t.of.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t fileTx) each(ctx context.Context, query string, args []any, take func(scan func(...any) error) error) error {
	found, err := t.of.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := take(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}
