package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// migrateTime bounds one step of a migration: it may rewrite a large table.
const migrateTime = 10 * time.Minute

const migrationsTable = `CREATE TABLE IF NOT EXISTS tollgate_migrations (
	component text NOT NULL, version bigint NOT NULL, applied timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (component, version))`

// Migrate brings a component's tables to the version of the last step: steps[0] makes version 1. Each step is applied once
// and in one transaction, whatever number of replicas start at the same time. A database that is ahead of the binary is
// refused: an older binary does not know what the newer one relies on.
func (db *DB) Migrate(ctx context.Context, component string, steps []string) error {
	if err := db.prepareMigrations(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", component, err)
	}
	for {
		version, err := db.version(ctx, component)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", component, reason(err))
		}
		switch {
		case version == len(steps):
			return nil
		case version > len(steps):
			return fmt.Errorf("the database has version %d of the tables of %s, and this program knows %d: run the newer program", version, component, len(steps))
		}
		if err := db.step(ctx, component, version+1, steps[version]); err != nil {
			return fmt.Errorf("migrate %s to version %d: %w", component, version+1, err)
		}
	}
}

// prepareMigrations makes the table of migrations. Two replicas that start at once may both find it missing, and the
// server then tells one of them that a name is taken.
func (db *DB) prepareMigrations(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := db.Exec(ctx, migrationsTable)
	if Taken(err) {
		_, err = db.Exec(ctx, migrationsTable)
	}
	return reason(err)
}

// version is the one a component's tables have; 0: they are not there.
func (db *DB) version(ctx context.Context, component string) (version int, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err = db.QueryRow(ctx, "SELECT COALESCE(max(version), 0) FROM tollgate_migrations WHERE component = $1", component).Scan(&version)
	return version, err
}

// step applies one step. The row is inserted first: whoever comes second waits for it, finds it there and does nothing.
func (db *DB) step(ctx context.Context, component string, version int, step string) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	return db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		done, err := tx.Exec(ctx, "INSERT INTO tollgate_migrations (component, version) VALUES ($1, $2) ON CONFLICT DO NOTHING", component, version)
		if err != nil || done.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, step)
		return err
	})
}
