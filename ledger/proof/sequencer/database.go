package sequencer

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/tollgate/tollgate/internal/postgres"
)

// statements is what a transaction of either database can do. Parameters are $1, $2 …, each used once and in order.
type statements interface {
	// exec runs a statement and returns how many rows it changed.
	exec(ctx context.Context, text string, args ...any) (int64, error)
	// each runs a query and calls row for each row.
	each(ctx context.Context, row func(scan func(...any) error) error, text string, args ...any) error
}

// database runs transactions: all of fn or nothing of it. fn may run more than once.
type database interface {
	tx(ctx context.Context, fn func(ctx context.Context, s statements) error) error
	close() error
}

// schemaSteps are the tables, in PostgreSQL's words. at is the index of a batch's first entry once it is in the tree.
// place is a journal.Position before the first frame; frames is NULL where they stand in the journal.
var schemaSteps = []string{`
CREATE TABLE proof_head (
  one BIGINT PRIMARY KEY, origin TEXT NOT NULL, size BIGINT NOT NULL, root BYTEA NOT NULL, edge BYTEA NOT NULL,
  signed BIGINT NOT NULL, verifier TEXT NOT NULL, first BIGINT NOT NULL
);
CREATE TABLE proof_replicas (replica TEXT PRIMARY KEY, shipped BYTEA NOT NULL, sequenced BYTEA NOT NULL);
CREATE TABLE proof_batches (
  batch BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  replica TEXT NOT NULL, writer BYTEA NOT NULL, seq BIGINT NOT NULL, entries BIGINT NOT NULL, place BYTEA NOT NULL,
  since BIGINT NOT NULL, until BIGINT NOT NULL, shipped BIGINT NOT NULL, at BIGINT, frames BYTEA,
  UNIQUE (writer, seq)
);
CREATE INDEX proof_batches_at ON proof_batches (at);
CREATE INDEX proof_batches_pending ON proof_batches (batch) WHERE at IS NULL;
CREATE TABLE proof_nodes (level BIGINT NOT NULL, n BIGINT NOT NULL, hash BYTEA NOT NULL, PRIMARY KEY (level, n));
CREATE TABLE proof_checkpoints (number BIGINT PRIMARY KEY, size BIGINT NOT NULL, time BIGINT NOT NULL, note TEXT NOT NULL);
CREATE TABLE proof_exports (target TEXT PRIMARY KEY, number BIGINT NOT NULL);
`}

// shared is the database that replicas share.
type shared struct{ db *postgres.DB }

func openShared(ctx context.Context, db *postgres.DB) (*shared, error) {
	return &shared{db}, db.Migrate(ctx, "proof", schemaSteps)
}

func (d *shared) tx(ctx context.Context, fn func(context.Context, statements) error) error {
	return d.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error { return fn(ctx, sharedTx{tx}) })
}

// close leaves the database open: it is not this package's.
func (d *shared) close() error { return nil }

type sharedTx struct{ tx pgx.Tx }

func (s sharedTx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	tag, err := s.tx.Exec(ctx, text, args...)
	return tag.RowsAffected(), err
}

func (s sharedTx) each(ctx context.Context, row func(func(...any) error) error, text string, args ...any) error {
	rows, err := s.tx.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// busyWait is how long a transaction waits for one of another process, such as a command beside the gateway.
const busyWait = 5 * time.Second

// file is an SQLite file.
type file struct{ db *sql.DB }

func openFile(ctx context.Context, path string) (*file, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// synchronous(full): what was signed must be known after a power failure, too. immediate: two that begin at once wait
	// for each other instead of failing.
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", busyWait.Milliseconds()), "journal_mode(wal)", "synchronous(full)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	f := &file{db}
	if err := f.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return f, nil
}

func (f *file) migrate(ctx context.Context) error {
	return f.tx(ctx, func(ctx context.Context, s statements) error {
		var version int
		err := s.each(ctx, func(scan func(...any) error) error { return scan(&version) }, "PRAGMA user_version")
		if err != nil {
			return err
		}
		if version > len(schemaSteps) {
			return fmt.Errorf("it has version %d of its tables, and this program knows %d: run the newer program", version, len(schemaSteps))
		}
		for ; version < len(schemaSteps); version++ {
			text := strings.NewReplacer("BYTEA", "BLOB", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT").Replace(schemaSteps[version])
			if _, err := s.exec(ctx, text+fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *file) tx(ctx context.Context, fn func(context.Context, statements) error) error {
	tx, err := f.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(ctx, fileTx{tx}); err != nil {
		return err
	}
	return tx.Commit()
}

func (f *file) close() error { return f.db.Close() }

type fileTx struct{ tx *sql.Tx }

// numbered is a parameter as PostgreSQL names it.
var numbered = regexp.MustCompile(`\$\d+`)

func (s fileTx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	r, err := s.tx.ExecContext(ctx, numbered.ReplaceAllString(text, "?"), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (s fileTx) each(ctx context.Context, row func(func(...any) error) error, text string, args ...any) error {
	rows, err := s.tx.QueryContext(ctx, numbered.ReplaceAllString(text, "?"), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
