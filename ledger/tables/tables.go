package tables

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver by the name of sqlite

	"github.com/tollgate/tollgate/internal/postgres"
)

const (
	// statementTime bounds a statement or transaction whose caller set no deadline, its repetitions included.
	statementTime = 10 * time.Second
	// busyWait is how long a statement waits for another process that writes the file.
	busyWait = 5 * time.Second
	// repeatGap is the pause before a transaction is repeated that the server asks for anew.
	repeatGap = 5 * time.Millisecond
)

// DB is the place of the tables. All methods are safe for concurrent use.
type DB struct {
	sql    *sql.DB
	shared *postgres.DB // nil: a file
}

// File opens the SQLite file at path, and makes it, readable for its owner only, if need be.
func File(path string) (*DB, error) {
	// Made here because SQLite would make it readable for all; its journals take its mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	query := url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyWait.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)"},
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one writer; the stores are asked seldom
	return &DB{sql: db}, nil
}

// Shared stands on the database that several gateways share. Closing does not close that.
func Shared(db *postgres.DB) *DB { return &DB{sql: stdlib.OpenDBFromPool(db.Pool), shared: db} }

// Close releases the file.
func (db *DB) Close() error { return db.sql.Close() }

// SharedBySeveral reports whether other gateways may change the tables.
func (db *DB) SharedBySeveral() bool { return db.shared != nil }

// Migrate brings a component's tables to the version of the last step; a step is applied once and whole. The types are
// written as SQLite has them: INTEGER, TEXT and BLOB stand for bigint, text and bytea in PostgreSQL, STRICT for nothing.
func (db *DB) Migrate(ctx context.Context, component string, steps []string) error {
	if db.shared != nil {
		types := strings.NewReplacer("INTEGER", "bigint", "BLOB", "bytea", "TEXT", "text", " STRICT", "")
		var theirs []string
		for _, s := range steps {
			theirs = append(theirs, types.Replace(s))
		}
		return db.shared.Migrate(ctx, component, theirs)
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		var version int
		if err := tx.Row(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		if version > len(steps) {
			return fmt.Errorf("the file has version %d of the tables of %s, and this program knows %d: run the newer program", version, component, len(steps))
		}
		for _, s := range steps[version:] {
			if _, err := tx.tx.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		_, err := tx.tx.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(len(steps)))
		return err
	})
}

// Scrub sees to it that what was deleted before leaves the files as far as the engine lets us: SQLite's log is put in its
// place and emptied. In PostgreSQL it does nothing, see the package comment.
func (db *DB) Scrub(ctx context.Context) error {
	if db.shared != nil {
		return nil
	}
	var busy, logged, done int
	if err := db.sql.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &logged, &done); err != nil {
		return fmt.Errorf("empty the log of deleted rows: %w", err)
	}
	if busy != 0 {
		return errors.New("empty the log of deleted rows: another process reads the file; try again")
	}
	return nil
}

// Tx is a transaction.
type Tx struct {
	tx *sql.Tx
	db *DB
}

// Tx runs fn in a transaction. When PostgreSQL asks for it, it is rolled back and fn runs again: fn must have no effect but
// through tx.
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		err := db.once(ctx, fn)
		if err == nil || !postgres.Repeatable(err) {
			return err
		}
		select {
		case <-time.After(repeatGap):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

func (db *DB) once(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	tx, err := db.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(ctx, &Tx{tx, db}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// bounded gives ctx a deadline if it has none: a connection that is cut in silence does not end by itself.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, statementTime)
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	r, err := tx.tx.ExecContext(ctx, tx.db.spelt(statement), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Row asks for one row.
func (tx *Tx) Row(ctx context.Context, statement string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, tx.db.spelt(statement), args...)
}

// Each asks for rows and hands over each.
func (tx *Tx) Each(ctx context.Context, take func(scan func(...any) error) error, statement string, args ...any) error {
	found, err := tx.tx.QueryContext(ctx, tx.db.spelt(statement), args...)
	return each(found, err, take)
}

// Exec runs a statement of its own and returns how many rows it changed.
func (db *DB) Exec(ctx context.Context, statement string, args ...any) (n int64, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		n, err = tx.Exec(ctx, statement, args...)
		return err
	})
	return n, err
}

// Each asks for rows and hands over each. take must not ask the same DB: a file has one connection.
func (db *DB) Each(ctx context.Context, take func(scan func(...any) error) error, statement string, args ...any) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	found, err := db.sql.QueryContext(ctx, db.spelt(statement), args...)
	return each(found, err, take)
}

// One asks for one row and reports whether there is one.
func (db *DB) One(ctx context.Context, into []any, statement string, args ...any) (bool, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := db.sql.QueryRowContext(ctx, db.spelt(statement), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func each(found *sql.Rows, err error, take func(scan func(...any) error) error) error {
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

// spelt is a statement with its arguments as the engine names them.
func (db *DB) spelt(statement string) string {
	if db.shared == nil || !strings.Contains(statement, "?") {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, part := range strings.SplitAfter(statement, "?") {
		if text, ok := strings.CutSuffix(part, "?"); ok {
			n++
			b.WriteString(text)
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteString(part)
	}
	return b.String()
}

// List is as many question marks as there are arguments in a list: (?, ?, ?).
func List(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?, ", n), ", ") + ")" }
