package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// readersMax bounds queries at the same time.
	readersMax = 4
	// busyWait is how long a query waits for a lock of the database: a flush takes a few milliseconds.
	busyWait = 5 * time.Second
	// checkpointPages is how long the database's log grows, 16 MB, before its pages are put in their places: most are
	// changed by several batches and are then put there once.
	checkpointPages = 4000
)

// sqlite is an index in a file beside the journal. One process has it open, so one feed writes.
type sqlite struct {
	write *sql.DB // one connection, used by whoever holds Index.feeding
	read  *sql.DB
	stmts statements
	lanes map[lane]laneNumbers // those met of late
}

func openSQLite(path string) (_ *sqlite, err error) {
	s := &sqlite{lanes: map[lane]laneNumbers{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open index %s: %w", path, err), s.close())
		}
	}()
	if s.write, err = connectSQLite(path, 1, false); err != nil {
		return nil, err
	}
	if err := migrateSQLite(s.write); err != nil {
		return nil, err
	}
	if err := s.stmts.prepare(s.write); err != nil {
		return nil, err
	}
	s.read, err = connectSQLite(path, readersMax, true)
	return s, err
}

func connectSQLite(path string, connections int, readOnly bool) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyWait.Milliseconds()), "journal_mode(wal)", "synchronous(normal)",
		"temp_store(memory)", // else a statement of several rows notes in a file what it changes, page by page
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
	}}
	if readOnly {
		q.Add("_pragma", "query_only(true)")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func (s *sqlite) close() error {
	errs := []error{s.stmts.close()}
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *sqlite) load(context.Context) (progress, error) {
	var p progress
	var position string
	if err := s.write.QueryRow("SELECT position, number, turn FROM cursor").Scan(&position, &p.number, &p.turn); err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(position), &p.position); err != nil {
		return p, fmt.Errorf("stored position: %w", err)
	}
	return p, nil
}

func (s *sqlite) stored(_ context.Context, writer string) (seq uint64, err error) {
	err = s.write.QueryRow("SELECT seq FROM writers WHERE writer = ?", writer).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return seq, err
}

// beat does nothing: nobody else reads this database.
func (s *sqlite) beat(context.Context, time.Time) error { return nil }

func (s *sqlite) feeds(context.Context) ([]Feed, error) { return nil, nil }

// sqliteRows is the answer of a query of database/sql.
type sqliteRows struct{ *sql.Rows }

func (r sqliteRows) Close() { _ = r.Rows.Close() } // what it would tell, Err has told

func (s *sqlite) query(ctx context.Context, text string, args ...any) (rows, error) {
	r, err := s.read.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return sqliteRows{r}, nil
}

func (s *sqlite) dialect() *dialect { return &sqliteDialect }

// sqliteDialect is how SQLite says it.
var sqliteDialect = dialect{
	feed:  "0",
	month: `CAST(strftime('%Y', hour * 3600, 'unixepoch') AS INTEGER) * 12 + CAST(strftime('%m', hour * 3600, 'unixepoch') AS INTEGER) - 1`,
	glob: func(expression, pattern string) (string, string) {
		return expression + " GLOB ?", strings.NewReplacer("[", "[[]", "?", "[?]").Replace(pattern)
	},
	text: func(t string) string { return t },
	id:   func(id [16]byte) any { return id[:] },
	ofTrace: func(trace [16]byte) (string, []any) {
		return sqliteTrace, []any{blockBits, trace[:]}
	},
	ofLanes:      "SELECT at, 0 FROM calls INDEXED BY calls_lane WHERE lane = ?%s ORDER BY %s LIMIT %d",
	lanesAtOnce:  1,
	laneArgument: func(lanes []int64) any { return lanes[0] },
	ofPlaces: func(n int) string {
		return "SELECT at, 0, entries FROM calls WHERE at IN (" + marks(n) + ")"
	},
	placeArguments: func(places []place) []any {
		out := make([]any, len(places))
		for i, p := range places {
			out[i] = p.at
		}
		return out
	},
}

// sqliteTrace looks a trace up in each block there is.
const sqliteTrace = `at IN (
WITH RECURSIVE blocks(n) AS (SELECT block FROM calls WHERE at = (SELECT min(at) FROM calls)
  UNION ALL SELECT n + 1 FROM blocks WHERE n < (SELECT number >> ? FROM cursor))
SELECT traced.at FROM blocks CROSS JOIN calls AS traced ON traced.block = blocks.n AND traced.trace = ?)`

// marks is n places for arguments.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// trimRows is how many rows one transaction removes: some milliseconds, in which entries wait.
const trimRows = 500

// trim takes turns with the feed: the connection is one. Pages that become free are used again, in the file.
func (s *sqlite) trim(_ context.Context, c cut) (more bool, err error) {
	tx, err := s.write.Begin()
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	for _, d := range []struct {
		text  string
		limit int64
	}{
		{"DELETE FROM calls WHERE at IN (SELECT at FROM calls WHERE at < ? ORDER BY at LIMIT ?)", c.at},
		{"DELETE FROM usage WHERE (hour, lane) IN (SELECT hour, lane FROM usage WHERE hour < ? LIMIT ?)", c.hour},
		{"DELETE FROM usage_days WHERE (hour, lane) IN (SELECT hour, lane FROM usage_days WHERE hour < ? LIMIT ?)", c.day},
		{"DELETE FROM usage_who WHERE (hour, lane) IN (SELECT hour, lane FROM usage_who WHERE hour < ? LIMIT ?)", c.day},
		{"DELETE FROM usage_what WHERE (hour, lane) IN (SELECT hour, lane FROM usage_what WHERE hour < ? LIMIT ?)", c.day},
	} {
		if d.limit <= 0 {
			continue
		}
		done, err := tx.Exec(d.text, d.limit, trimRows)
		if err != nil {
			return false, err
		}
		n, err := done.RowsAffected()
		if err != nil {
			return false, err
		}
		more = more || n == trimRows
	}
	return more, tx.Commit()
}

func writerName(w journal.Writer) string { return ledger.ID(w).String() }
