package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/secret"
)

const (
	// connectionsDefault is small: the database does what few connections ask in large pieces.
	connectionsDefault = 8
	// connectTime bounds making a connection, TLS and sign-in included.
	connectTime = 5 * time.Second
	// TxTime bounds a transaction whose caller set no deadline, its repetitions included.
	TxTime = 10 * time.Second
	// idleTime is how long an unused connection is kept.
	idleTime = 5 * time.Minute
	// lifetime ends every connection in the end, so that after a failover none stays with the old server for good.
	lifetime = 30 * time.Minute
	// repeatGap is the first pause before a transaction is repeated; it doubles up to repeatGapMax, with jitter.
	repeatGap    = 2 * time.Millisecond
	repeatGapMax = 100 * time.Millisecond
)

// Config says where the database is.
type Config struct {
	URL         secret.String // postgres://user:password@host[,host]/database?sslmode=…; several hosts for failover
	Connections int           // at once; 0: 8
	Log         *slog.Logger  // nil: slog.Default
}

// DB is the database. All methods are safe for concurrent use.
type DB struct {
	*pgxpool.Pool

	log     *slog.Logger
	engine  string
	notices bool // the server has NOTIFY
}

// Parse checks a URL without connecting. The error names no part of it that may be secret.
func Parse(url secret.String) (*pgxpool.Config, error) {
	text := url.Reveal()
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return nil, errors.New("the database is not a URL: write postgres://user@host/database, with the password in a reference or in PGPASSWORD")
	}
	cfg, err := pgxpool.ParseConfig(text)
	if err != nil {
		// The library hides the password it finds, but in a URL it cannot read it finds none.
		return nil, errors.New("the URL of the database cannot be read: write postgres://user:password@host:port/database, with special characters in percent form")
	}
	return cfg, nil
}

// Open connects. It fails when no server answers within ctx's deadline, or within 5 seconds.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	pool, err := Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	db := &DB{log: cfg.Log}
	if db.log == nil {
		db.log = slog.Default()
	}
	pool.MaxConns = int32(cfg.Connections)
	if cfg.Connections <= 0 {
		pool.MaxConns = connectionsDefault
	}
	pool.MaxConnIdleTime, pool.MaxConnLifetime, pool.MaxConnLifetimeJitter = idleTime, lifetime, lifetime/10
	pool.ConnConfig.ConnectTimeout = connectTime
	pool.ConnConfig.DialFunc = dialer
	if _, ok := pool.ConnConfig.RuntimeParams["application_name"]; !ok {
		pool.ConnConfig.RuntimeParams["application_name"] = "tollgate"
	}
	if db.Pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, fmt.Errorf("open the database: %w", reason(err))
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := db.QueryRow(ctx, "SELECT version()").Scan(&db.engine); err != nil {
		db.Pool.Close()
		return nil, fmt.Errorf("open the database: %w", reason(err))
	}
	db.notices = !db.Cockroach()
	return db, nil
}

// dialer connects to a host or a socket file that the operator named.
func dialer(ctx context.Context, network, address string) (net.Conn, error) {
	d := dial.Database.Dialer()
	if network == "unix" {
		d.Instead = "unix:" + address
	}
	return d.DialContext(ctx, network, address)
}

// reason is err without what the library adds of the connection: user, host, database.
func reason(err error) error {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return server
	}
	if d, ok := errors.AsType[*dial.Error](err); ok {
		return d
	}
	return err
}

// Cockroach reports whether the server is CockroachDB.
func (db *DB) Cockroach() bool { return strings.Contains(db.engine, "CockroachDB") }

// WithoutNotices makes Notify and Listen do nothing, as on a server without them. For tests of what must then be polled;
// call it before any of the two.
func (db *DB) WithoutNotices() { db.notices = false }

// Tx runs fn in a transaction and commits. When the server asks for it (serialization failure, deadlock) the transaction is
// rolled back and fn runs again: fn must have no effect but through tx. Without a deadline in ctx it has 10 seconds.
//
// An error from the commit itself may leave the transaction done or not: Unsure tells.
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for gap := repeatGap; ; gap = min(2*gap, repeatGapMax) {
		err := db.once(ctx, fn)
		if err == nil || !Repeatable(err) {
			return err
		}
		pause := time.NewTimer(gap/2 + rand.N(gap))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

// bounded gives ctx a deadline if it has none: a connection that is cut in silence does not end by itself.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, TxTime)
}

func (db *DB) once(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin(ctx)})
	if err != nil {
		return reason(err)
	}
	if err := fn(ctx, tx); err != nil {
		// Undone even when ctx has ended: a connection in mid-transaction would be thrown away.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTime)
		defer cancel()
		_ = tx.Rollback(undo)
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		if _, ok := errors.AsType[*pgconn.PgError](err); ok || errors.Is(err, pgx.ErrTxCommitRollback) {
			return reason(err) // the server answered: it is not done
		}
		return &unsure{reason(err)}
	}
	return nil
}

// begin has the server end the transaction when nothing has been heard for as long as it has time: a machine that is cut off
// or stopped in the midst of it would keep its locks from all others for hours.
func begin(ctx context.Context) string {
	left := TxTime
	if deadline, ok := ctx.Deadline(); ok {
		left = max(time.Until(deadline), 0)
	}
	return fmt.Sprintf("begin; set local idle_in_transaction_session_timeout = %d", left.Milliseconds()+1)
}

// unsure is a commit that was not answered.
type unsure struct{ err error }

func (u *unsure) Error() string {
	return "commit, of which it is not known whether it was done: " + u.err.Error()
}

func (u *unsure) Unwrap() error { return u.err }

// Unsure reports whether err came from a commit that may have been done.
func Unsure(err error) bool { _, ok := errors.AsType[*unsure](err); return ok }

// Codes of SQLSTATE that are told apart.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	duplicateObject      = "42710"
	duplicateTable       = "42P07"
)

// Repeatable reports whether the server asks to run the transaction again.
func Repeatable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == serializationFailure || e.Code == deadlockDetected)
}

// Taken reports whether err says that a unique key is there already, or a table, or the type of a table's rows: two that
// make the same in one moment are told so, IF NOT EXISTS or not.
func Taken(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == uniqueViolation || e.Code == duplicateObject || e.Code == duplicateTable)
}
