package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/store"
)

// rowsPerInsert is how many rows one statement inserts: what a statement costs beside its rows is then shared by them.
const rowsPerInsert = 16

const (
	insertCalls = `INSERT INTO calls (at, id, kind, lane, block, trace, parent, outcome, entries) VALUES `
	callValues  = `(?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// endCall puts what follows into the row of its reservation: an id that was refused before it was reserved has two rows.
	endCall = `UPDATE calls SET kind = ?, outcome = CASE ? WHEN '' THEN outcome ELSE ? END, entries = entries || ?
WHERE id = ? AND kind = ? RETURNING at`

	findLane = `INSERT INTO lanes (customer, team, key, key_id, user, action, upstream, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET lane = lane RETURNING lane`

	addUsage = `INSERT INTO %s VALUES %s
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, denied = denied + excluded.denied, failed = failed + excluded.failed,
  cost = cost + excluded.cost, estimated = estimated + excluded.estimated, tokens = tokens + excluded.tokens,
  input = input + excluded.input, output = output + excluded.output`
	usageValues = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	moveCursor = `UPDATE cursor SET position = ?, number = ?, turn = ? WHERE turn = ?`

	moveWriter = `INSERT INTO writers VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE seq = ?`
)

// statements are parsed once: parsing costs more than running them.
type statements struct {
	insert, insertMany, end, lane, cursor, writer *sql.Stmt
	usage, usageMany                              [store.Rollups]*sql.Stmt

	args []any // of those of many rows, used again and again
}

func (s *statements) prepare(db *sql.DB) error {
	type one struct {
		into **sql.Stmt
		text string
	}
	many := func(values string) string { return strings.Repeat(values+", ", rowsPerInsert-1) + values }
	all := []one{
		{&s.insert, insertCalls + callValues}, {&s.insertMany, insertCalls + many(callValues)},
		{&s.end, endCall}, {&s.lane, findLane}, {&s.cursor, moveCursor}, {&s.writer, moveWriter},
	}
	for i, table := range store.RollupTables {
		all = append(all, one{&s.usage[i], fmt.Sprintf(addUsage, table, usageValues)}, one{&s.usageMany[i], fmt.Sprintf(addUsage, table, many(usageValues))})
	}
	for _, p := range all {
		stmt, err := db.Prepare(p.text)
		if err != nil {
			return err
		}
		*p.into = stmt
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	all := append([]*sql.Stmt{s.insert, s.insertMany, s.end, s.lane, s.cursor, s.writer}, append(s.usage[:], s.usageMany[:]...)...)
	for _, stmt := range all {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// Save runs without the context: what it would cut takes milliseconds, and watching for it costs each statement more.
func (s *DB) Save(_ context.Context, b *store.Batch, from, to store.Progress) (err error) {
	tx, err := s.write.Begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback()
			clear(s.lanes) // some may be numbers that were taken back
		}
	}()
	if err := s.move(tx, b, from, to); err != nil {
		return err
	}
	if err := s.saveRows(tx, b.Rows); err != nil {
		return err
	}
	ends, err := s.saveEnds(tx, b)
	if err != nil {
		return err
	}
	sums, err := b.Roll(ends, func(l *store.Lane) (store.LaneNumbers, error) { return s.numbers(tx, l) })
	if err != nil {
		return err
	}
	for i := range sums {
		if err := s.saveUsage(tx, i, sums[i]); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// move moves the cursor and the writers of the batch, if they are where the batch begins.
func (s *DB) move(tx *sql.Tx, b *store.Batch, from, to store.Progress) error {
	position, err := json.Marshal(to.Position)
	if err != nil {
		return err
	}
	one := func(stmt *sql.Stmt, args ...any) error {
		done, err := tx.Stmt(stmt).Exec(args...)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return errors.Join(store.ErrMoved, err)
		}
		return nil
	}
	if err := one(s.stmts.cursor, string(position), to.Number, to.Turn, from.Turn); err != nil {
		return err
	}
	for _, w := range b.Writers {
		if err := one(s.stmts.writer, w.Writer, w.To, w.From); err != nil {
			return err
		}
	}
	return nil
}

func (s *DB) saveRows(tx *sql.Tx, rows []store.Row) error {
	if len(rows) == 0 {
		return nil
	}
	one, many := tx.Stmt(s.stmts.insert), tx.Stmt(s.stmts.insertMany)
	for len(rows) > 0 {
		n, insert := 1, one
		if len(rows) >= rowsPerInsert {
			n, insert = rowsPerInsert, many
		}
		args := s.stmts.args[:0]
		for i := range rows[:n] {
			r := &rows[i]
			number, err := s.numbers(tx, &r.Lane)
			if err != nil {
				return err
			}
			args = append(args, r.At, r.ID[:], int64(r.Kind), number.Lane, r.Block, blob(r.Trace[:]), blob(r.Parent[:]), string(r.Outcome), r.Payloads)
		}
		s.stmts.args = args
		if _, err := insert.Exec(args...); err != nil {
			return fmt.Errorf("store the entries from %s on: %w", rows[0].ID, err)
		}
		rows = rows[n:]
		runtime.Gosched() // a call that is ready to go on goes first
	}
	return nil
}

// numbers returns the numbers of a lane.
func (s *DB) numbers(tx *sql.Tx, l *store.Lane) (n store.LaneNumbers, err error) {
	if n, ok := s.lanes[*l]; ok {
		return n, nil
	}
	who, what := l.Who(), l.What()
	stmt := tx.Stmt(s.stmts.lane)
	for _, one := range []struct {
		lane   *store.Lane
		number *int64
	}{{l, &n.Lane}, {&who, &n.Who}, {&what, &n.What}} {
		var args []any
		for _, text := range one.lane.Fields() {
			args = append(args, text)
		}
		if err := stmt.QueryRow(args...).Scan(one.number); err != nil {
			return n, fmt.Errorf("store a lane: %w", err)
		}
	}
	if len(s.lanes) >= store.LanesMax {
		clear(s.lanes)
	}
	s.lanes[*l] = n
	return n, nil
}

// saveEnds writes what follows reservations of earlier batches and returns the ends, each with its reservation's hour.
func (s *DB) saveEnds(tx *sql.Tx, b *store.Batch) ([]store.Ended, error) {
	if len(b.Ends) == 0 {
		return nil, nil
	}
	var out []store.Ended
	update := tx.Stmt(s.stmts.end)
	for i := range b.Ends {
		f := &b.Ends[i]
		id := f.First.ID
		at := f.First.At
		err := update.QueryRow(int64(f.Kind), string(f.Outcome), string(f.Outcome), f.Payloads, id[:], int64(ledger.Reserved)).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			err = s.saveRows(tx, []store.Row{f.Orphan()})
		}
		if err != nil {
			return nil, fmt.Errorf("store the end of %s: %w", id, err)
		}
		if f.End != nil {
			out = append(out, store.Ended{Hour: store.HourOf(store.TimeOf(at)), Entry: f.End})
		}
		if i%rowsPerInsert == 0 {
			runtime.Gosched()
		}
	}
	return out, nil
}

func (s *DB) saveUsage(tx *sql.Tx, table int, sums []store.Rolled) error {
	if len(sums) == 0 {
		return nil
	}
	one, many := tx.Stmt(s.stmts.usage[table]), tx.Stmt(s.stmts.usageMany[table])
	for len(sums) > 0 {
		n, add := 1, one
		if len(sums) >= rowsPerInsert {
			n, add = rowsPerInsert, many
		}
		args := s.stmts.args[:0]
		for i := range sums[:n] {
			args = append(args, sums[i].Hour, sums[i].Lane)
			for _, v := range sums[i].Values() {
				args = append(args, v)
			}
		}
		s.stmts.args = args
		if _, err := add.Exec(args...); err != nil {
			return fmt.Errorf("store use: %w", err)
		}
		sums = sums[n:]
		runtime.Gosched()
	}
	return nil
}

// blob is b, or NULL when it is all zeros.
func blob(b []byte) any {
	for _, c := range b {
		if c != 0 {
			return b
		}
	}
	return nil
}
