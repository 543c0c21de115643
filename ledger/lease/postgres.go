package lease

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
)

// channel is where replicas tell each other that one starves ("starved ID") or was given something ("freed ID").
const channel = "tollgate_lease"

// steps make the tables. Times are the server's; spans are nanoseconds, and so are the bounds of calendar periods.
var steps = []string{`
CREATE TABLE lease_replicas (
	id text PRIMARY KEY,
	incarnation text NOT NULL, -- one start of it
	token text NOT NULL,       -- which the last exchange left
	place text NOT NULL,       -- its data directory as its kernel knows it
	zone text NOT NULL,        -- of its calendar
	silence bigint NOT NULL,   -- after which it is gone
	seen timestamptz NOT NULL,
	gone timestamptz,          -- since when it is; NULL: live
	segment bigint NOT NULL,   -- how far its journal was on disk
	place_in_segment bigint NOT NULL
);
CREATE TABLE lease_pools (
	name text NOT NULL,
	start bigint NOT NULL,     -- of the calendar period; 0: none
	ends bigint NOT NULL,
	starver text NOT NULL DEFAULT '',
	need bigint NOT NULL DEFAULT 0,
	since timestamptz NOT NULL DEFAULT 'epoch',
	till timestamptz NOT NULL DEFAULT 'epoch',
	PRIMARY KEY (name, start)
);
CREATE TABLE lease_caps (
	name text NOT NULL,
	start bigint NOT NULL,
	replica text NOT NULL,
	kind text NOT NULL,
	ends bigint NOT NULL,
	slides bigint NOT NULL,    -- length of a window that slides
	amount bigint NOT NULL,    -- of the limit, as the replica has it
	cap bigint NOT NULL,
	used bigint NOT NULL,
	held bigint NOT NULL,
	seen timestamptz NOT NULL,
	PRIMARY KEY (name, start, replica)
);
CREATE INDEX lease_caps_by_replica ON lease_caps (replica);
CREATE INDEX lease_pools_starved ON lease_pools (till) WHERE starver <> ''`}

func migrate(ctx context.Context, db *postgres.DB) error {
	if err := db.Migrate(ctx, "lease", steps); err != nil {
		return err
	}
	return db.PrepareDuties(ctx)
}

// database is the store in PostgreSQL.
type database struct {
	db      *postgres.DB
	cleaned time.Time // by the database's clock; for the goroutine that reaps
}

func (d *database) now(ctx context.Context) (t time.Time, err error) {
	err = d.db.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&t)
	return t, err
}

func (d *database) exchange(ctx context.Context, r *request) (*reply, error) {
	var out reply
	committing := false
	err := d.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		s, err := load(ctx, tx, r)
		if err != nil {
			return err
		}
		var w writes
		if out, w = settle(s, r); out.verdict == done {
			err = d.save(ctx, tx, r, &w)
		}
		committing = err == nil
		return err
	})
	if err != nil && !committing {
		err = undone{err}
	}
	if err != nil {
		return nil, fmt.Errorf("exchange of leases: %w", err)
	}
	return &out, nil
}

const (
	replicaColumns = "id, incarnation, token, place, zone, silence, seen, COALESCE(gone, 'epoch'), segment, place_in_segment"
	capColumns     = "c.name, c.start, c.replica, c.kind, c.ends, c.slides, c.amount, c.cap, c.used, c.held, c.seen"
	// keyed joins rows to the pools that are named by two arrays.
	keyed = "JOIN unnest($1::text[], $2::bigint[]) AS k (name, start) ON k.name = %s.name AND k.start = %s.start "
)

// keysOf are the pools that r must lock, in the order they are locked in.
func keysOf(r *request) (names []string, starts, ends []int64) {
	changes := slices.Clone(r.changes)
	slices.SortFunc(changes, func(a, b caps.Change) int { return compareKeys(a.Key, b.Key) })
	for _, c := range changes {
		if c.Kind != caps.Reading {
			names, starts, ends = append(names, c.Limit), append(starts, c.Start), append(ends, c.End)
		}
	}
	return names, starts, ends
}

func compareKeys(a, b caps.Key) int {
	if n := strings.Compare(a.Limit, b.Limit); n != 0 {
		return n
	}
	return int(min(max(a.Start-b.Start, -1), 1))
}

// load reads what settle needs, in one batch. The replica's row and the pools are locked by it; each statement after that
// sees what others committed under those locks.
func load(ctx context.Context, tx pgx.Tx, r *request) (*state, error) {
	s := &state{pools: map[caps.Key]*poolRow{}, caps: map[caps.Key][]capRow{}}
	names, starts, ends := keysOf(r)
	var b pgx.Batch
	b.Queue("SELECT "+replicaColumns+" FROM lease_replicas WHERE id = $1 FOR UPDATE", r.id).Query(func(rows pgx.Rows) error {
		all, err := collect(rows, scanReplica)
		if len(all) > 0 {
			s.me = &all[0]
		}
		return err
	})
	if len(names) > 0 {
		b.Queue("INSERT INTO lease_pools (name, start, ends) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) ON CONFLICT DO NOTHING", names, starts, ends)
		b.Queue("SELECT p.name, p.start, p.ends, p.starver, p.need, p.since, p.till FROM lease_pools p "+fmt.Sprintf(keyed, "p", "p")+
			"ORDER BY p.name, p.start FOR UPDATE OF p", names, starts).Query(func(rows pgx.Rows) error {
			all, err := collect(rows, scanPool)
			for i := range all {
				s.pools[all[i].key] = &all[i]
			}
			return err
		})
		b.Queue("SELECT "+capColumns+", r.gone IS NOT NULL FROM lease_caps c "+fmt.Sprintf(keyed, "c", "c")+
			"JOIN lease_replicas r ON r.id = c.replica", names, starts).Query(func(rows pgx.Rows) error {
			all, err := collect(rows, scanCap)
			for _, c := range all {
				s.caps[c.key] = append(s.caps[c.key], c)
			}
			return err
		})
	}
	loadOthers(&b, s, r)
	b.Queue("SELECT count(*), clock_timestamp() FROM lease_replicas WHERE gone IS NULL").QueryRow(func(row pgx.Row) error {
		return row.Scan(&s.live, &s.now)
	})
	return s, tx.SendBatch(ctx, &b).Close()
}

// loadOthers adds to b what only some requests need.
func loadOthers(b *pgx.Batch, s *state, r *request) {
	if r.join {
		b.Queue("SELECT COALESCE(max(zone), '') FROM lease_replicas WHERE gone IS NULL AND id <> $1 AND zone <> $2", r.id, r.zone).QueryRow(func(row pgx.Row) error {
			return row.Scan(&s.zone)
		})
	}
	if r.join || r.restore || r.leave {
		b.Queue("SELECT "+capColumns+", false FROM lease_caps c WHERE c.replica = $1", r.id).Query(func(rows pgx.Rows) (err error) {
			s.mine, err = collect(rows, scanCap)
			return err
		})
	}
	if len(r.readings) == 0 {
		return
	}
	var names []string
	var starts []int64
	for _, k := range r.readings {
		names, starts = append(names, k.Limit), append(starts, k.Start)
	}
	b.Queue("SELECT c.name, c.start, sum(c.used)::bigint, sum(c.held)::bigint FROM lease_caps c "+fmt.Sprintf(keyed, "c", "c")+
		"WHERE c.replica <> $3 GROUP BY c.name, c.start", names, starts, r.id).Query(func(rows pgx.Rows) (err error) {
		s.others, err = usesOf(rows)
		return err
	})
}

// save writes what settle decided, in one batch.
func (d *database) save(ctx context.Context, tx pgx.Tx, r *request, w *writes) error {
	var b pgx.Batch
	me := &w.me
	var gone *time.Time
	if !me.gone.IsZero() {
		gone = &me.gone
	}
	b.Queue(`INSERT INTO lease_replicas (id, incarnation, token, place, zone, silence, seen, gone, segment, place_in_segment)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation, token = excluded.token,
  place = excluded.place, zone = excluded.zone, silence = excluded.silence, seen = excluded.seen, gone = excluded.gone,
  segment = excluded.segment, place_in_segment = excluded.place_in_segment`,
		me.id, me.incarnation, me.token, me.place, me.zone, int64(me.silence), me.seen, gone, int64(me.end.Segment), me.end.Offset)
	if len(w.caps) > 0 {
		saveCaps(&b, r.id, w.caps)
	}
	for _, p := range w.pools {
		b.Queue("UPDATE lease_pools SET starver = $3, need = $4, since = $5, till = $6 WHERE name = $1 AND start = $2",
			p.key.Limit, p.key.Start, p.starver, p.need, p.since, p.till)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if w.starved {
		if err := d.db.Notify(ctx, tx, channel, "starved "+r.id); err != nil {
			return err
		}
	}
	for _, id := range w.freed {
		if err := d.db.Notify(ctx, tx, channel, "freed "+id); err != nil {
			return err
		}
	}
	return nil
}

func saveCaps(b *pgx.Batch, id string, rows []capRow) {
	n := len(rows)
	names, kinds := make([]string, n), make([]string, n)
	var numbers [7][]int64
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	for i := range rows {
		c := &rows[i]
		names[i], kinds[i] = c.key.Limit, string(c.kind)
		for j, v := range [7]int64{c.key.Start, c.ends, int64(c.window), c.amount, c.cap, c.used, c.held} {
			numbers[j][i] = v
		}
	}
	b.Queue(`INSERT INTO lease_caps (name, start, replica, kind, ends, slides, amount, cap, used, held, seen)
SELECT k.name, k.start, $1, k.kind, k.ends, k.slides, k.amount, k.cap, k.used, k.held, $2
FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
  AS k (name, kind, start, ends, slides, amount, cap, used, held)
ON CONFLICT (name, start, replica) DO UPDATE SET kind = excluded.kind, ends = excluded.ends, slides = excluded.slides, amount = excluded.amount,
  cap = excluded.cap, used = excluded.used, held = excluded.held, seen = excluded.seen`,
		id, rows[0].seen, names, kinds, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6])
}

func collect[T any](rows pgx.Rows, scan func(pgx.Rows) (T, error)) ([]T, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) { return scan(rows) })
}

func scanReplica(rows pgx.Rows) (r replicaRow, err error) {
	var silence, segment int64
	err = rows.Scan(&r.id, &r.incarnation, &r.token, &r.place, &r.zone, &silence, &r.seen, &r.gone, &segment, &r.end.Offset)
	r.silence, r.end = time.Duration(silence), journal.Position{Segment: uint64(segment), Offset: r.end.Offset}
	if r.gone.Unix() == 0 {
		r.gone = time.Time{}
	}
	return r, err
}

func scanPool(rows pgx.Rows) (p poolRow, err error) {
	err = rows.Scan(&p.key.Limit, &p.key.Start, &p.ends, &p.starver, &p.need, &p.since, &p.till)
	return p, err
}

func scanCap(rows pgx.Rows) (c capRow, err error) {
	var kind string
	var slides int64
	err = rows.Scan(&c.key.Limit, &c.key.Start, &c.replica, &kind, &c.ends, &slides, &c.amount, &c.cap, &c.used, &c.held, &c.seen, &c.gone)
	c.kind, c.window = caps.Kind(kind), time.Duration(slides)
	return c, err
}

func usesOf(rows pgx.Rows) (map[caps.Key]caps.Use, error) {
	out := map[caps.Key]caps.Use{}
	var k caps.Key
	var u caps.Use
	_, err := pgx.ForEachRow(rows, []any{&k.Limit, &k.Start, &u.Used, &u.Held}, func() error {
		out[k] = u
		return nil
	})
	return out, err
}

func (d *database) uses(ctx context.Context, but string) (map[caps.Key]caps.Use, error) {
	rows, err := d.db.Query(ctx, "SELECT name, start, sum(used)::bigint, sum(held)::bigint FROM lease_caps WHERE replica <> $1 GROUP BY name, start", but)
	if err != nil {
		return nil, fmt.Errorf("reading what other replicas used of limits: %w", err)
	}
	return usesOf(rows)
}

func (d *database) starved(ctx context.Context, id string) ([]caps.Key, error) {
	rows, err := d.db.Query(ctx, `SELECT p.name, p.start FROM lease_pools p JOIN lease_caps c ON c.name = p.name AND c.start = p.start
WHERE p.till > now() AND p.starver <> '' AND p.starver <> $1 AND c.replica = $1 AND c.kind <> 'reading'`, id)
	if err != nil {
		return nil, fmt.Errorf("asking who starves: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (k caps.Key, err error) {
		err = row.Scan(&k.Limit, &k.Start)
		return k, err
	})
}

func (d *database) watch(ctx context.Context, id string, heard func(starved bool)) {
	d.db.Listen(ctx, channel, func(payload string) {
		what, who, _ := strings.Cut(payload, " ")
		switch {
		case what == "freed" && who == id:
			heard(false)
		case what != "freed" && who != id:
			heard(true)
		}
	})
}
