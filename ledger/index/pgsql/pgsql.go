package pgsql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger/index/store"
)

const (
	// queryTime bounds a query, saveTime a batch: a connection that was cut in silence ends with it.
	queryTime = 30 * time.Second
	saveTime  = 30 * time.Second
)

// DB is an index in PostgreSQL, or in an engine that speaks like it, which several replicas feed.
type DB struct {
	db          *postgres.DB
	replica     string
	partitioned bool

	// For whoever feeds:
	feed       int64                            // the number of this replica
	lanes      map[store.Lane]store.LaneNumbers // those met of late
	partitions map[partition]bool               // those known to be there
}

// Open makes the tables where they are missing. replica names this process's journal for good. partitioned says whether the
// server has tables partitioned by range.
func Open(ctx context.Context, db *postgres.DB, replica string, partitioned bool) (*DB, error) {
	if replica == "" {
		return nil, errors.New("open the index: the replica has no name")
	}
	if err := db.Migrate(ctx, "index", steps(partitioned)); err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	return &DB{db: db, replica: replica, partitioned: partitioned}, nil
}

// Close leaves the database to its owner.
func (s *DB) Close() error { return nil }

// Load reads where the feed of this replica stands.
func (s *DB) Load(ctx context.Context) (p store.Progress, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	s.lanes, s.partitions = map[store.Lane]store.LaneNumbers{}, map[partition]bool{}
	if _, err := s.db.Exec(ctx, "INSERT INTO index_feeds (replica) VALUES ($1) ON CONFLICT (replica) DO NOTHING", s.replica); err != nil {
		return p, reached(err)
	}
	var position string
	err = s.db.QueryRow(ctx, "SELECT feed, position, number, turn FROM index_feeds WHERE replica = $1", s.replica).Scan(&s.feed, &position, &p.Number, &p.Turn)
	if err != nil {
		return p, reached(err)
	}
	if err := json.Unmarshal([]byte(position), &p.Position); err != nil {
		return p, fmt.Errorf("stored position: %w", err)
	}
	return p, nil
}

// Stored looks a writer up.
func (s *DB) Stored(ctx context.Context, writer string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var seq int64
	err := s.db.QueryRow(ctx, "SELECT seq FROM index_writers WHERE writer = $1", writer).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return uint64(seq), reached(err)
}

// Beat tells other replicas.
func (s *DB) Beat(ctx context.Context, through time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	_, err := s.db.Exec(ctx, "UPDATE index_feeds SET through = $2, seen = now() WHERE feed = $1", s.feed, through)
	return reached(err)
}

// Feeds lists all replicas that ever fed.
func (s *DB) Feeds(ctx context.Context) ([]store.Feed, error) {
	rows, err := s.Query(ctx, `SELECT replica, through, seen, CAST(extract(epoch FROM now() - through) AS DOUBLE PRECISION)
FROM index_feeds ORDER BY replica <> ?, replica`, s.replica)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Feed
	for rows.Next() {
		var f store.Feed
		if err := rows.Scan(&f.Replica, &f.Through, &f.Seen, &f.Lag); err != nil {
			return nil, err
		}
		f.Lag = max(0, f.Lag)
		out = append(out, f)
	}
	return out, rows.Err()
}

// reached marks an error that does not come from a statement but from a server that cannot be asked.
func reached(err error) error {
	if err == nil {
		return nil
	}
	e, answered := errors.AsType[*pgconn.PgError](err)
	down := answered && (strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "08"))
	if (answered && !down) || errors.Is(err, pgx.ErrNoRows) || errors.Is(err, context.Canceled) || errors.Is(err, store.ErrMoved) {
		return err
	}
	return &store.UnreachableError{Err: err}
}

// answer is the answer of a query. Its context ends with it.
type answer struct {
	pgx.Rows
	cancel context.CancelFunc
}

func (r answer) Close() {
	r.Rows.Close()
	r.cancel()
}

func (r answer) Err() error { return reached(r.Rows.Err()) }

// Query asks the server, for queryTime at most.
func (s *DB) Query(ctx context.Context, text string, args ...any) (store.Rows, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	r, err := s.db.Query(ctx, numbered(text), args...)
	if err != nil {
		cancel()
		return nil, reached(err)
	}
	return answer{r, cancel}, nil
}

// numbered writes $1, $2 and so on for each ?.
func numbered(text string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		text = after
	}
}

// Dialect is how PostgreSQL says it.
func (s *DB) Dialect() *store.Dialect { return &dialect }

const hourTime = "to_timestamp(CAST(hour * 3600 AS DOUBLE PRECISION)) AT TIME ZONE 'UTC'"

// dialect is how PostgreSQL says it.
var dialect = store.Dialect{
	Prefix: "index_",
	Feed:   "feed",
	Month:  "CAST(extract(year FROM " + hourTime + ") AS BIGINT) * 12 + CAST(extract(month FROM " + hourTime + ") AS BIGINT) - 1",
	Glob: func(expression, pattern string) (string, string) {
		return expression + " LIKE ?", strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(pattern)
	},
	Text:    storable,
	ID:      func(id [16]byte) any { return id },
	OfTrace: func(trace [16]byte) (string, []any) { return "trace = ?", []any{trace} },
	OfLanes: "SELECT found.at, found.feed FROM unnest(CAST(? AS bigint[])) AS asked (number) CROSS JOIN LATERAL " +
		"(SELECT at, feed FROM index_calls%s WHERE lane = asked.number%s ORDER BY %s LIMIT %d) AS found",
	LanesAtOnce:  16,
	LaneArgument: func(lanes []int64) any { return lanes },
	OfPlaces: func(int) string {
		return "SELECT c.at, c.feed, c.entries FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS asked (at, feed) " +
			"JOIN index_calls AS c ON c.at = asked.at AND c.feed = asked.feed"
	},
	PlaceArguments: func(places []store.Place) []any {
		at, feed := make([]int64, len(places)), make([]int64, len(places))
		for i, p := range places {
			at[i], feed[i] = p.At, p.Feed
		}
		return []any{at, feed}
	},
}

// storable is t as PostgreSQL can have it in a column: callers choose some texts, and it takes only UTF-8 without zeros.
// The entry itself keeps t as it is.
func storable(t string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(t, "\uFFFD"), "\x00", "\uFFFD")
}

// trimRows is how many rows one transaction removes.
const trimRows = 5000

// Trim may be run by several replicas at once: what one has removed the others do not find.
func (s *DB) Trim(ctx context.Context, c store.Cut) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	if err := s.dropPartitions(ctx, c.At); err != nil {
		return false, reached(err)
	}
	tables := []struct {
		name, key, by string
		limit         int64
	}{{"index_calls", "at, feed", "at", c.At}, {"index_usage", "hour, lane", "hour", c.Hour}}
	for _, table := range store.RollupTables[store.ByDay:] {
		tables = append(tables, struct {
			name, key, by string
			limit         int64
		}{"index_" + table, "hour, lane", "hour", c.Day})
	}
	for _, t := range tables {
		if t.limit <= 0 {
			continue
		}
		var n int64
		err := s.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			done, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (SELECT %s FROM %s WHERE %s < $1 ORDER BY %s LIMIT %d)",
				t.name, t.key, t.key, t.name, t.by, t.key, trimRows), t.limit)
			n = done.RowsAffected()
			return err
		})
		if err != nil {
			return false, reached(err)
		}
		more = more || n == trimRows
	}
	return more, nil
}
