package sqlite

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

	"github.com/tollgate/tollgate/ledger/index/store"
)

const (
	// readersMax bounds queries at the same time.
	readersMax = 4
	// writeCache and readCache are what a connection remembers of the file, in KiB: a batch changes pages of each index, a
	// query looks into many blocks.
	writeCache = 16 << 10
	readCache  = 8 << 10
	// busyWait is how long a query waits for a lock of the database: a flush takes a few milliseconds.
	busyWait = 5 * time.Second
	// checkpointPages is how long the database's log grows, 16 MB, before its pages are put in their places: most are
	// changed by several batches and are then put there once.
	checkpointPages = 4000
)

// DB is an index in a file beside the journal. One process has it open, so one feed writes.
type DB struct {
	write *sql.DB // one connection, used by whoever feeds
	read  *sql.DB
	stmts statements
	lanes map[store.Lane]store.LaneNumbers // those met of late
}

// Open opens or makes the database at path. One of an older form is brought up to date, one of a newer is refused.
func Open(path string) (*DB, error) { return OpenBy("sqlite", path) }

// OpenBy is Open by another driver of database/sql than the usual one, such as one that fails.
func OpenBy(driver, path string) (_ *DB, err error) {
	s := &DB{lanes: map[store.Lane]store.LaneNumbers{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open index %s: %w", path, err), s.Close())
		}
	}()
	if s.write, err = connect(driver, path, 1, false); err != nil {
		return nil, err
	}
	if err := migrate(s.write); err != nil {
		return nil, err
	}
	if err := s.stmts.prepare(s.write); err != nil {
		return nil, err
	}
	s.read, err = connect(driver, path, readersMax, true)
	return s, err
}

func connect(driver, path string, connections int, readOnly bool) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyWait.Milliseconds()), "journal_mode(wal)", "synchronous(normal)",
		"temp_store(memory)", // else a statement of several rows notes in a file what it changes, page by page
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
	}}
	cache := writeCache
	if readOnly {
		q.Add("_pragma", "query_only(true)")
		cache = readCache
	}
	q.Add("_pragma", fmt.Sprintf("cache_size(-%d)", cache))
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open(driver, (&url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close closes the file.
func (s *DB) Close() error {
	errs := []error{s.stmts.close()}
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Load reads where the feed stands.
func (s *DB) Load(context.Context) (store.Progress, error) {
	var p store.Progress
	var position string
	if err := s.write.QueryRow("SELECT position, number, turn FROM cursor").Scan(&position, &p.Number, &p.Turn); err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(position), &p.Position); err != nil {
		return p, fmt.Errorf("stored position: %w", err)
	}
	return p, nil
}

// Stored looks a writer up.
func (s *DB) Stored(_ context.Context, writer string) (seq uint64, err error) {
	err = s.write.QueryRow("SELECT seq FROM writers WHERE writer = ?", writer).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return seq, err
}

// Beat does nothing: nobody else reads this database.
func (s *DB) Beat(context.Context, time.Time) error { return nil }

// Feeds has the one feed there is.
func (s *DB) Feeds(context.Context) ([]store.Feed, error) { return []store.Feed{{}}, nil }

// answer is the answer of a query of database/sql.
type answer struct{ *sql.Rows }

func (r answer) Close() { _ = r.Rows.Close() } // what it would tell, Err has told

// Query reads beside the one that writes.
func (s *DB) Query(ctx context.Context, text string, args ...any) (store.Rows, error) {
	r, err := s.read.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return answer{r}, nil
}

// Dialect is how SQLite says it.
func (s *DB) Dialect() *store.Dialect { return &dialect }

// dialect is how SQLite says it.
var dialect = store.Dialect{
	Feed:  "0",
	Month: `CAST(strftime('%Y', hour * 3600, 'unixepoch') AS INTEGER) * 12 + CAST(strftime('%m', hour * 3600, 'unixepoch') AS INTEGER) - 1`,
	Glob: func(expression, pattern string) (string, string) {
		return expression + " GLOB ?", strings.NewReplacer("[", "[[]", "?", "[?]").Replace(pattern)
	},
	Text: func(t string) string { return t },
	ID:   func(id [16]byte) any { return id[:] },
	OfTrace: func(trace [16]byte) (string, []any) {
		return ofTrace, []any{store.BlockBits, trace[:]}
	},
	Indexes: store.Indexes{
		Lane: " INDEXED BY calls_lane", Unlike: " INDEXED BY calls_unlike", UnlikeLane: " INDEXED BY calls_unlike_lane", Open: " INDEXED BY calls_open",
	},
	OfLanes:      "SELECT at, 0 FROM calls%s WHERE lane = ?%s ORDER BY %s LIMIT %d",
	LanesAtOnce:  1,
	LaneArgument: func(lanes []int64) any { return lanes[0] },
	OfPlaces: func(n int) string {
		return "SELECT at, 0, entries FROM calls WHERE at IN (" + store.Marks(n) + ")"
	},
	PlaceArguments: func(places []store.Place) []any {
		out := make([]any, len(places))
		for i, p := range places {
			out[i] = p.At
		}
		return out
	},
}

// ofTrace looks a trace up in each block there is.
const ofTrace = `at IN (
WITH RECURSIVE blocks(n) AS (SELECT block FROM calls WHERE at = (SELECT min(at) FROM calls)
  UNION ALL SELECT n + 1 FROM blocks WHERE n < (SELECT number >> ? FROM cursor))
SELECT traced.at FROM blocks CROSS JOIN calls AS traced ON traced.block = blocks.n AND traced.trace = ?)`

// trimRows is how many rows one transaction removes: some milliseconds, in which entries wait.
const trimRows = 500

// Trim takes turns with the feed: the connection is one. Pages that become free are used again, in the file.
func (s *DB) Trim(_ context.Context, c store.Cut) (more bool, err error) {
	tx, err := s.write.Begin()
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	type part struct {
		table, key, by string
		limit          int64
	}
	parts := []part{{"calls", "at", "at", c.At}, {"usage", "hour, lane", "hour", c.Hour}}
	for _, table := range store.RollupTables[store.ByDay:] {
		parts = append(parts, part{table, "hour, lane", "hour", c.Day})
	}
	for _, p := range parts {
		if p.limit <= 0 {
			continue
		}
		done, err := tx.Exec(fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (SELECT %s FROM %s WHERE %s < ? ORDER BY %s LIMIT ?)",
			p.table, p.key, p.key, p.table, p.by, p.key), p.limit, trimRows)
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
