package payload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/tables"
)

// The parts of a payload. The numbers are stored: they never change.
const (
	requestPart = 0
	answerPart  = 1
)

// steps make the table.
var steps = []string{
	`CREATE TABLE payloads (call BLOB NOT NULL, part INTEGER NOT NULL, subject TEXT NOT NULL, mode TEXT NOT NULL, cut INTEGER NOT NULL,
	at INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (call, part)) STRICT`,
	`CREATE INDEX payloads_at ON payloads (at)`,
	`CREATE INDEX payloads_subject ON payloads (subject)`,
}

// row is a request or an answer as it is stored.
type row struct {
	call    ledger.ID
	part    int
	subject string
	mode    Mode
	cut     bool
	at      time.Time // to the millisecond
	sealed  []byte    // a nonce and the encrypted text
}

// place is what the encryption binds the text to: none can stand in another's place.
func (r *row) place() string {
	return fmt.Sprintf("tollgate payload v1 %s %d %s %s %t %d", r.call, r.part, r.subject, r.mode, r.cut, r.at.UnixMilli())
}

func (r *row) seal(key, text []byte) { r.sealed = secret.NewBox(key).Seal(text, r.place()) }

func (r *row) open(key []byte) ([]byte, error) { return secret.NewBox(key).Open(r.sealed, r.place()) }

type store struct{ db *tables.DB }

func openStore(ctx context.Context, cfg Config) (s store, err error) {
	if cfg.Database != nil {
		s.db = tables.Shared(cfg.Database)
	} else if s.db, err = tables.File(cfg.Path); err != nil {
		return s, err
	}
	if err := s.db.Migrate(ctx, "payloads", steps); err != nil {
		return s, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// insert stores rows, all or none. One that is there already stays.
func (s store) insert(ctx context.Context, rows []row) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error {
		for _, r := range rows {
			cut := 0
			if r.cut {
				cut = 1
			}
			if _, err := tx.Exec(ctx, "INSERT INTO payloads (call, part, subject, mode, cut, at, sealed) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (call, part) DO NOTHING",
				r.call[:], r.part, r.subject, string(r.mode), cut, r.at.UnixMilli(), r.sealed); err != nil {
				return err
			}
		}
		return nil
	})
}

// read returns the parts of a call.
func (s store) read(ctx context.Context, call ledger.ID) (rows []row, err error) {
	err = s.db.Each(ctx, func(scan func(...any) error) error {
		r := row{call: call}
		var cut, at int64
		if err := scan(&r.part, &r.subject, &r.mode, &cut, &at, &r.sealed); err != nil {
			return err
		}
		r.cut, r.at = cut != 0, time.UnixMilli(at).UTC()
		rows = append(rows, r)
		return nil
	}, "SELECT part, subject, mode, cut, at, sealed FROM payloads WHERE call = ? ORDER BY part", call[:])
	return rows, err
}

// forget deletes what is of a subject.
func (s store) forget(ctx context.Context, subject string) (calls int, err error) {
	return s.remove(ctx, "subject = ?", subject)
}

// sweep deletes what is from before a time.
func (s store) sweep(ctx context.Context, before time.Time) (calls int, err error) {
	return s.remove(ctx, "at < ?", before.UnixMilli())
}

// remove deletes the rows that a condition with one argument names, by and by, and returns of how many calls they were. The
// log is emptied in any case, as it may not have been the last time.
func (s store) remove(ctx context.Context, condition string, arg any) (calls int, err error) {
	for {
		var some [][]byte
		err := s.db.Each(ctx, func(scan func(...any) error) error {
			var call []byte
			err := scan(&call)
			some = append(some, call)
			return err
		}, "SELECT DISTINCT call FROM payloads WHERE "+condition+" LIMIT ?", arg, sweepMax)
		if err != nil {
			return calls, err
		}
		if len(some) == 0 {
			break
		}
		args := make([]any, len(some))
		for i, call := range some {
			args[i] = call
		}
		if _, err := s.db.Exec(ctx, "DELETE FROM payloads WHERE call IN "+tables.List(len(some)), args...); err != nil {
			return calls, err
		}
		calls += len(some)
	}
	return calls, s.db.Scrub(ctx)
}
