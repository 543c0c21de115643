package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Duties are tasks that one replica at a time sees to, such as ordering the proof's leaves. A duty is held for a while by
// the database's clock and kept by being taken again. It spares work; it is no lock: a holder that was stopped for longer
// than the while may go on beside its successor, so what a duty does must be safe for two.
const dutiesSteps = `CREATE TABLE tollgate_duties (name text PRIMARY KEY, holder text NOT NULL, until timestamptz NOT NULL)`

// PrepareDuties makes the table of duties.
func (db *DB) PrepareDuties(ctx context.Context) error {
	return db.Migrate(ctx, "duties", []string{dutiesSteps})
}

// TakeDuty takes or keeps the named duty for a while and reports whether holder has it.
func (db *DB) TakeDuty(ctx context.Context, name, holder string, d time.Duration) (held bool, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var has string
		err := tx.QueryRow(ctx, `INSERT INTO tollgate_duties (name, holder, until) VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (name) DO UPDATE SET
  holder = CASE WHEN tollgate_duties.until < now() THEN excluded.holder ELSE tollgate_duties.holder END,
  until = CASE WHEN tollgate_duties.until < now() OR tollgate_duties.holder = excluded.holder THEN excluded.until ELSE tollgate_duties.until END
RETURNING holder`, name, holder, d).Scan(&has)
		held = has == holder
		return err
	})
	if err != nil {
		return false, fmt.Errorf("take the duty %s: %w", name, err)
	}
	return held, nil
}

// LeaveDuty gives a duty back before its time.
func (db *DB) LeaveDuty(ctx context.Context, name, holder string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := db.Exec(ctx, "DELETE FROM tollgate_duties WHERE name = $1 AND holder = $2", name, holder)
	if err != nil {
		return fmt.Errorf("leave the duty %s: %w", name, reason(err))
	}
	return nil
}
