package pgsql

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/store"
)

const (
	moveFeed = `UPDATE index_feeds SET position = $3, number = $4, turn = $5, through = GREATEST(through, $6), seen = now()
WHERE feed = $1 AND turn = $2`

	moveWriter = `INSERT INTO index_writers AS w (writer, seq) VALUES ($1, $2)
ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq WHERE w.seq = $3`

	insertCalls = `INSERT INTO index_calls (at, feed, id, kind, lane, trace, parent, outcome, entries)
SELECT at, CAST($1 AS bigint), id, kind, lane, trace, parent, outcome, entries
FROM unnest(CAST($2 AS bigint[]), CAST($3 AS uuid[]), CAST($4 AS smallint[]), CAST($5 AS bigint[]), CAST($6 AS uuid[]),
  CAST($7 AS uuid[]), CAST($8 AS text[]), CAST($9 AS bytea[])) AS r (at, id, kind, lane, trace, parent, outcome, entries)`

	// updateEnds is as SQLite's endCall, for many. The bounds, which are those of the ids' own times, name the partitions.
	updateEnds = `UPDATE index_calls AS c SET kind = e.kind, outcome = CASE e.outcome WHEN '' THEN c.outcome ELSE e.outcome END,
  entries = c.entries || e.entries
FROM unnest(CAST($1 AS uuid[]), CAST($2 AS smallint[]), CAST($3 AS text[]), CAST($4 AS bytea[])) AS e (id, kind, outcome, entries)
WHERE c.id = e.id AND c.kind = 2 AND c.at >= $5 AND c.at < $6 RETURNING c.id, c.at`

	addUsage = `INSERT INTO index_%s AS u (hour, lane, calls, denied, failed, cost, estimated, tokens, input, output)
SELECT hour, lane, calls, denied, failed, cost, estimated, tokens, input, output
FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS bigint[]), CAST($5 AS bigint[]),
  CAST($6 AS bigint[]), CAST($7 AS bigint[]), CAST($8 AS bigint[]), CAST($9 AS bigint[]), CAST($10 AS bigint[]))
  AS r (hour, lane, calls, denied, failed, cost, estimated, tokens, input, output)
ORDER BY hour, lane
ON CONFLICT (hour, lane) DO UPDATE SET calls = u.calls + excluded.calls, denied = u.denied + excluded.denied,
  failed = u.failed + excluded.failed, cost = u.cost + excluded.cost, estimated = u.estimated + excluded.estimated,
  tokens = u.tokens + excluded.tokens, input = u.input + excluded.input, output = u.output + excluded.output`

	insertLanes = `INSERT INTO index_lanes (hash, customer, team, key, key_id, "user", action, upstream, target)
SELECT hash, customer, team, key, key_id, usr, action, upstream, target
FROM unnest(CAST($1 AS bytea[]), CAST($2 AS text[]), CAST($3 AS text[]), CAST($4 AS text[]), CAST($5 AS text[]),
  CAST($6 AS text[]), CAST($7 AS text[]), CAST($8 AS text[]), CAST($9 AS text[]))
  AS r (hash, customer, team, key, key_id, usr, action, upstream, target)
ON CONFLICT (hash) DO NOTHING`
)

// Save locks the rows of this feed first, so that a process that feeds the same journal waits and then finds that it is out
// of date, and use last and in the order of its keys: that is where replicas meet.
func (s *DB) Save(ctx context.Context, b *store.Batch, from, to store.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	if err := s.makeLanes(ctx, b); err != nil {
		return reached(err)
	}
	if err := s.makePartitions(ctx, b.Rows, b.Ends); err != nil {
		return reached(err)
	}
	position, err := json.Marshal(to.Position)
	if err != nil {
		return err
	}
	return reached(s.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		done, err := tx.Exec(ctx, moveFeed, s.feed, from.Turn, string(position), to.Number, to.Turn, b.Last)
		if err != nil {
			return err
		}
		if done.RowsAffected() != 1 {
			return store.ErrMoved
		}
		for _, w := range b.Writers {
			done, err := tx.Exec(ctx, moveWriter, w.Writer, int64(w.To), int64(w.From))
			if err != nil {
				return err
			}
			if done.RowsAffected() != 1 {
				return store.ErrMoved
			}
		}
		if err := s.saveRows(ctx, tx, b.Rows); err != nil {
			return err
		}
		ends, err := s.saveEnds(ctx, tx, b)
		if err != nil {
			return err
		}
		sums, err := b.Roll(ends, s.numbers)
		if err != nil {
			return err
		}
		return s.saveUsage(ctx, tx, sums)
	}))
}

func (s *DB) saveRows(ctx context.Context, tx pgx.Tx, rows []store.Row) error {
	if len(rows) == 0 {
		return nil
	}
	n := len(rows)
	at, ids, kinds, lanes := make([]int64, n), make([][16]byte, n), make([]int16, n), make([]int64, n)
	traces, parents, outcomes, entries := make([]*[16]byte, n), make([]*[16]byte, n), make([]string, n), make([][]byte, n)
	for i := range rows {
		r := &rows[i]
		number, err := s.numbers(&r.Lane)
		if err != nil {
			return err
		}
		at[i], ids[i], kinds[i], lanes[i] = r.At, r.ID, int16(r.Kind), number.Lane
		traces[i], parents[i], outcomes[i], entries[i] = given((*[16]byte)(&r.Trace)), given((*[16]byte)(&r.Parent)), storable(string(r.Outcome)), r.Payloads
	}
	if _, err := tx.Exec(ctx, insertCalls, s.feed, at, ids, kinds, lanes, traces, parents, outcomes, entries); err != nil {
		return fmt.Errorf("store the entries from %s on: %w", rows[0].ID, err)
	}
	return nil
}

// given is id, or nil for none.
func given(id *[16]byte) *[16]byte {
	if *id == [16]byte{} {
		return nil
	}
	return id
}

// idSlack is how far the time in an id may be from that of its entry, before all partitions are looked through.
const idSlack = time.Hour

// saveEnds writes what follows reservations of earlier batches and returns the ends, each with its reservation's hour.
func (s *DB) saveEnds(ctx context.Context, tx pgx.Tx, b *store.Batch) ([]store.Ended, error) {
	if len(b.Ends) == 0 {
		return nil, nil
	}
	hours := make(map[ledger.ID]int64, len(b.Ends)) // of those found
	var low, high int64                             // of the milliseconds in the ids
	all := make([]*store.Following, len(b.Ends))
	for i := range b.Ends {
		all[i] = &b.Ends[i]
		id := all[i].First.ID
		ms := int64(binary.BigEndian.Uint64(id[:8]) >> 16)
		if i == 0 {
			low, high = ms, ms
		}
		low, high = min(low, ms), max(high, ms)
	}
	slack := idSlack.Milliseconds()
	if err := endCalls(ctx, tx, all, (low-slack)<<20, (high+slack)<<20, hours); err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(all, func(f *store.Following) bool { _, ok := hours[f.First.ID]; return ok })
	if len(missing) > 0 {
		if err := endCalls(ctx, tx, missing, -1<<62, 1<<62, hours); err != nil {
			return nil, err
		}
	}
	var orphans []store.Row
	var out []store.Ended
	for i := range b.Ends {
		f := &b.Ends[i]
		hour, ok := hours[f.First.ID]
		if !ok {
			hour = store.HourOf(store.TimeOf(f.First.At))
			orphans = append(orphans, f.Orphan())
		}
		if f.End != nil {
			out = append(out, store.Ended{Hour: hour, Entry: f.End})
		}
	}
	return out, s.saveRows(ctx, tx, orphans)
}

func endCalls(ctx context.Context, tx pgx.Tx, ends []*store.Following, from, to int64, hours map[ledger.ID]int64) error {
	n := len(ends)
	ids, kinds, outcomes, entries := make([][16]byte, n), make([]int16, n), make([]string, n), make([][]byte, n)
	for i, f := range ends {
		ids[i], kinds[i], outcomes[i], entries[i] = f.First.ID, int16(f.Kind), storable(string(f.Outcome)), f.Payloads
	}
	rows, err := tx.Query(ctx, updateEnds, ids, kinds, outcomes, entries, from, to)
	if err != nil {
		return fmt.Errorf("store the ends of calls: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		var at int64
		if err := rows.Scan(&id, &at); err != nil {
			return fmt.Errorf("store the ends of calls: %w", err)
		}
		hours[id] = store.HourOf(store.TimeOf(at))
	}
	return rows.Err()
}

func (s *DB) saveUsage(ctx context.Context, tx pgx.Tx, sums [store.Rollups][]store.Rolled) error {
	all := &pgx.Batch{}
	for i, rows := range sums {
		if len(rows) == 0 {
			continue
		}
		columns := make([][]int64, 10)
		for c := range columns {
			columns[c] = make([]int64, len(rows))
		}
		for r := range rows {
			columns[0][r], columns[1][r] = rows[r].Hour, rows[r].Lane
			for c, v := range rows[r].Values() {
				columns[2+c][r] = v
			}
		}
		args := make([]any, len(columns))
		for c := range columns {
			args[c] = columns[c]
		}
		all.Queue(fmt.Sprintf(addUsage, store.RollupTables[i]), args...)
	}
	if all.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, all).Close(); err != nil {
		return fmt.Errorf("store use: %w", err)
	}
	return nil
}

// numbers returns the numbers of a lane that makeLanes has found.
func (s *DB) numbers(l *store.Lane) (store.LaneNumbers, error) {
	n, ok := s.lanes[*l]
	if !ok {
		return n, errors.New("a lane of the batch was not made")
	}
	return n, nil
}

// makeLanes finds or makes the lanes of a batch that are not known yet, before its transaction: a lane that nothing comes to
// name does no harm, and two replicas that make the same ones do not wait for each other's batches.
func (s *DB) makeLanes(ctx context.Context, b *store.Batch) error {
	missing := map[store.Lane]bool{}
	need := func(l *store.Lane) {
		if _, ok := s.lanes[*l]; !ok {
			missing[*l] = true
		}
	}
	needEnd := func(f *store.Following) {
		need(&f.First.Lane)
		if f.End != nil {
			l := store.LaneOf(f.End)
			need(&l)
		}
	}
	for i := range b.Rows {
		need(&b.Rows[i].Lane)
	}
	for i := range b.Ends {
		needEnd(&b.Ends[i])
	}
	if len(missing) == 0 {
		return nil
	}
	if len(s.lanes)+len(missing) > store.LanesMax {
		clear(s.lanes)
		for i := range b.Rows {
			need(&b.Rows[i].Lane)
		}
		for i := range b.Ends {
			needEnd(&b.Ends[i])
		}
	}
	wanted := map[store.Lane]bool{}
	for l := range missing {
		wanted[l], wanted[l.Who()], wanted[l.What()] = true, true, true
	}
	numbers, err := s.findLanes(ctx, wanted)
	if err != nil {
		return fmt.Errorf("store lanes: %w", err)
	}
	for l := range missing {
		who, what := l.Who(), l.What()
		s.lanes[l] = store.LaneNumbers{Lane: numbers[hashOf(l.Map(storable))], Who: numbers[hashOf(who.Map(storable))], What: numbers[hashOf(what.Map(storable))]}
	}
	return nil
}

// laneHash tells lanes apart.
type laneHash [sha256.Size]byte

func hashOf(l store.Lane) laneHash {
	var b []byte
	for _, text := range l.Fields() {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}

// findLanes returns the numbers of lanes by their hash, and makes those that are missing, in the order of the hash.
func (s *DB) findLanes(ctx context.Context, wanted map[store.Lane]bool) (map[laneHash]int64, error) {
	type hashed struct {
		hash laneHash
		lane store.Lane
	}
	var all []hashed
	for l := range wanted {
		l = l.Map(storable)
		all = append(all, hashed{hashOf(l), l})
	}
	slices.SortFunc(all, func(a, b hashed) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	all = slices.CompactFunc(all, func(a, b hashed) bool { return a.hash == b.hash })
	hashes := make([][]byte, len(all))
	columns := make([][]string, 8)
	for c := range columns {
		columns[c] = make([]string, len(all))
	}
	for i := range all {
		hashes[i] = all[i].hash[:]
		for c, text := range all[i].lane.Fields() {
			columns[c][i] = text
		}
	}
	args := []any{hashes}
	for _, c := range columns {
		args = append(args, c)
	}
	if _, err := s.db.Exec(ctx, insertLanes, args...); err != nil {
		return nil, err
	}
	rows, err := s.db.Query(ctx, "SELECT hash, lane FROM index_lanes WHERE hash = ANY($1)", hashes)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[laneHash]int64{}
	for rows.Next() {
		var hash []byte
		var number int64
		if err := rows.Scan(&hash, &number); err != nil {
			return nil, err
		}
		out[laneHash(hash)] = number
	}
	if err := rows.Err(); err != nil || len(out) != len(all) {
		return nil, errors.Join(err, fmt.Errorf("%d of %d are there", len(out), len(all)))
	}
	return out, nil
}
