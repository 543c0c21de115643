package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/tollgate/tollgate/ledger"
)

// rowsPerInsert is how many rows one statement inserts: what a statement costs beside its rows is then shared by them.
const rowsPerInsert = 16

// lanesMax bounds the lanes whose numbers are remembered: targets such as resource addresses are without number.
const lanesMax = 16384

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
	usage, usageMany                              [rollups]*sql.Stmt

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
	for i, table := range rollupTables {
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

// save runs without the context: what it would cut takes milliseconds, and watching for it costs each statement more.
func (s *sqlite) save(_ context.Context, b *batch, from, to progress) (err error) {
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
	if err := s.saveRows(tx, b.rows); err != nil {
		return err
	}
	ends, err := s.saveEnds(tx, b)
	if err != nil {
		return err
	}
	sums, err := b.roll(ends, func(l *lane) (laneNumbers, error) { return s.numbers(tx, l) })
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
func (s *sqlite) move(tx *sql.Tx, b *batch, from, to progress) error {
	position, err := json.Marshal(to.position)
	if err != nil {
		return err
	}
	one := func(stmt *sql.Stmt, args ...any) error {
		done, err := tx.Stmt(stmt).Exec(args...)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return errors.Join(errMoved, err)
		}
		return nil
	}
	if err := one(s.stmts.cursor, string(position), to.number, to.turn, from.turn); err != nil {
		return err
	}
	for _, w := range b.writers {
		if err := one(s.stmts.writer, w.writer, w.to, w.from); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqlite) saveRows(tx *sql.Tx, rows []row) error {
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
			number, err := s.numbers(tx, &r.lane)
			if err != nil {
				return err
			}
			args = append(args, r.at, r.id[:], int64(r.kind), number.lane, r.block, blob(r.trace[:]), blob(r.parent[:]), string(r.outcome), r.payloads)
		}
		s.stmts.args = args
		if _, err := insert.Exec(args...); err != nil {
			return fmt.Errorf("store the entries from %s on: %w", rows[0].id, err)
		}
		rows = rows[n:]
		runtime.Gosched() // a call that is ready to go on goes first
	}
	return nil
}

// numbers returns the numbers of a lane.
func (s *sqlite) numbers(tx *sql.Tx, l *lane) (n laneNumbers, err error) {
	if n, ok := s.lanes[*l]; ok {
		return n, nil
	}
	who, what := l.who(), l.what()
	stmt := tx.Stmt(s.stmts.lane)
	for _, one := range []struct {
		lane   *lane
		number *int64
	}{{l, &n.lane}, {&who, &n.who}, {&what, &n.what}} {
		var args []any
		for _, text := range one.lane.fields() {
			args = append(args, text)
		}
		if err := stmt.QueryRow(args...).Scan(one.number); err != nil {
			return n, fmt.Errorf("store a lane: %w", err)
		}
	}
	if len(s.lanes) >= lanesMax {
		clear(s.lanes)
	}
	s.lanes[*l] = n
	return n, nil
}

// saveEnds writes what follows reservations of earlier batches and returns the ends, each with its reservation's hour.
func (s *sqlite) saveEnds(tx *sql.Tx, b *batch) ([]ended, error) {
	if len(b.ends) == 0 {
		return nil, nil
	}
	var out []ended
	update := tx.Stmt(s.stmts.end)
	for i := range b.ends {
		f := &b.ends[i]
		id := f.first.id
		at := f.first.at
		err := update.QueryRow(int64(f.kind), string(f.outcome), string(f.outcome), f.payloads, id[:], int64(ledger.Reserved)).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			err = s.saveRows(tx, []row{f.orphan()})
		}
		if err != nil {
			return nil, fmt.Errorf("store the end of %s: %w", id, err)
		}
		if f.end != nil {
			out = append(out, ended{hourOf(timeOf(at)), f.end})
		}
		if i%rowsPerInsert == 0 {
			runtime.Gosched()
		}
	}
	return out, nil
}

func (s *sqlite) saveUsage(tx *sql.Tx, table int, sums []rolled) error {
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
			args = append(args, sums[i].hour, sums[i].lane)
			for _, v := range sums[i].values() {
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
