package index

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// rowsPerInsert is how many rows one statement inserts: what a statement costs beside its rows is then shared by them.
const rowsPerInsert = 16

// lanesMax bounds the lanes whose numbers are remembered: targets such as resource addresses are without number.
const lanesMax = 8192

const (
	insertCalls = `INSERT INTO calls (at, id, kind, lane, block, trace, parent, outcome, entries) VALUES `
	callValues  = `(?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// endCall puts an end or an extension into the row of its reservation: an id that was refused before it was reserved
	// has two rows.
	endCall = `UPDATE calls SET kind = ?, outcome = CASE ? WHEN '' THEN outcome ELSE ? END, entries = entries || ?
WHERE id = ? AND kind = ? RETURNING at`

	findLane = `INSERT INTO lanes (customer, team, key, key_id, user, action, upstream, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET lane = lane RETURNING lane`

	addUsage = `INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, denied = denied + excluded.denied, failed = failed + excluded.failed,
  cost = cost + excluded.cost, estimated = estimated + excluded.estimated, tokens = tokens + excluded.tokens,
  input = input + excluded.input, output = output + excluded.output`

	moveCursor = `UPDATE cursor SET position = ?, number = ?`
)

// statements are parsed once: parsing costs more than running them.
type statements struct {
	insert, insertMany, end, lane, usage, cursor *sql.Stmt

	args []any // of insertMany, used again and again
}

func (s *statements) prepare(db *sql.DB) error {
	for _, p := range []struct {
		into **sql.Stmt
		text string
	}{
		{&s.insert, insertCalls + callValues},
		{&s.insertMany, insertCalls + strings.Repeat(callValues+", ", rowsPerInsert-1) + callValues},
		{&s.end, endCall}, {&s.lane, findLane}, {&s.usage, addUsage}, {&s.cursor, moveCursor},
	} {
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
	for _, stmt := range []*sql.Stmt{s.insert, s.insertMany, s.end, s.lane, s.usage, s.cursor} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// store writes a batch and the place it ends at in one transaction.
func (ix *Index) store(b *batch, end journal.Position) error {
	tx, err := ix.write.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := ix.storeRows(tx, b.rows); err != nil {
		return err
	}
	if err := ix.storeEnds(tx, b); err != nil {
		return err
	}
	if err := ix.storeUsage(tx, b); err != nil {
		return err
	}
	position, err := json.Marshal(end)
	if err != nil {
		return err
	}
	if _, err := tx.Stmt(ix.stmts.cursor).Exec(string(position), b.number); err != nil {
		return err
	}
	return tx.Commit()
}

func (ix *Index) storeRows(tx *sql.Tx, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	s := &ix.stmts
	one, many := tx.Stmt(s.insert), tx.Stmt(s.insertMany)
	for len(rows) > 0 {
		n, insert := 1, one
		if len(rows) >= rowsPerInsert {
			n, insert = rowsPerInsert, many
		}
		s.args = s.args[:0]
		for i := range rows[:n] {
			r := &rows[i]
			number, err := ix.laneOf(tx, &r.lane)
			if err != nil {
				return err
			}
			s.args = append(s.args, r.at, r.id[:], int64(r.kind), number, r.block, blob(r.trace[:]), blob(r.parent[:]), string(r.outcome), r.payloads)
		}
		if _, err := insert.Exec(s.args...); err != nil {
			return fmt.Errorf("store the entries from %s on: %w", rows[0].id, err)
		}
		rows = rows[n:]
		runtime.Gosched() // a call that is ready to go on goes first
	}
	return nil
}

// laneOf returns the number of a lane.
func (ix *Index) laneOf(tx *sql.Tx, l *lane) (int64, error) {
	if number, ok := ix.lanes[*l]; ok {
		return number, nil
	}
	var number int64
	err := tx.Stmt(ix.stmts.lane).QueryRow(l.customer, l.team, l.key, l.keyID, l.user, l.action, l.upstream, l.target).Scan(&number)
	if err != nil {
		return 0, fmt.Errorf("store a lane: %w", err)
	}
	if len(ix.lanes) >= lanesMax {
		clear(ix.lanes)
	}
	ix.lanes[*l] = number
	return number, nil
}

// storeEnds writes what follows reservations of earlier batches.
func (ix *Index) storeEnds(tx *sql.Tx, b *batch) error {
	if len(b.ends) == 0 {
		return nil
	}
	update := tx.Stmt(ix.stmts.end)
	for i := range b.ends {
		e := &b.ends[i].entry
		var at int64
		err := update.QueryRow(int64(e.Kind), string(e.Status), string(e.Status), b.ends[i].payload, e.Resolves[:], int64(ledger.Reserved)).Scan(&at)
		if err != nil {
			return fmt.Errorf("store the end of %s: %w", e.Resolves, err)
		}
		if e.Ends() {
			b.use(hourOf(timeOf(at)), e)
		}
		if i%rowsPerInsert == 0 {
			runtime.Gosched()
		}
	}
	return nil
}

func (ix *Index) storeUsage(tx *sql.Tx, b *batch) error {
	if len(b.usage) == 0 {
		return nil
	}
	add := tx.Stmt(ix.stmts.usage)
	for k, u := range b.usage {
		number, err := ix.laneOf(tx, &k.lane)
		if err != nil {
			return err
		}
		if _, err := add.Exec(k.hour, number, u.Calls, u.Denied, u.Failed, int64(u.Cost), int64(u.Estimated), u.Tokens, u.Input, u.Output); err != nil {
			return fmt.Errorf("store usage: %w", err)
		}
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
