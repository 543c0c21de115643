package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tollgate/tollgate/internal/postgres"
)

const (
	// keysChannel is where changes are told.
	keysChannel = "tollgate_keys"
	// queryTime bounds what reads a value or two.
	queryTime = 2 * time.Second
	// forgetAfter is how long the row of a process that ended without a word stays. It counts for nothing long before.
	forgetAfter = time.Hour
)

// sharedSteps make the tables of a database that several gateways share. keys_state has one row: a counter of changes, which
// is also what one change waits for another at, and what tells one secret_key from another. keys_gateways has a row for each
// process that takes calls: which changes it has in force, when it said so, and for how long after that it may go on without
// hearing of new ones.
var sharedSteps = []string{
	`CREATE TABLE keys_state (id bigint PRIMARY KEY, version bigint NOT NULL, pepper bytea NOT NULL);
CREATE TABLE keys_minted (
	id text PRIMARY KEY, name text NOT NULL, customer text NOT NULL, team text NOT NULL, "user" text NOT NULL,
	tags text NOT NULL, limits text NOT NULL, tools text NOT NULL, models text NOT NULL,
	created bigint NOT NULL, expires bigint NOT NULL, revoked bigint NOT NULL
);
CREATE UNIQUE INDEX keys_in_force ON keys_minted (name) WHERE revoked = 0;
CREATE TABLE keys_secrets (
	digest bytea PRIMARY KEY, key_id text NOT NULL REFERENCES keys_minted (id), shown text NOT NULL,
	created bigint NOT NULL, until bigint NOT NULL
);
CREATE INDEX keys_secrets_of_key ON keys_secrets (key_id);
CREATE TABLE keys_gateways (id text PRIMARY KEY, version bigint NOT NULL, at timestamptz NOT NULL, silence interval NOT NULL)`,
}

// shared is a PostgreSQL database: the keys of several gateways.
type shared struct {
	db      *postgres.DB
	self    string        // the row of this process in keys_gateways; empty: it takes no calls
	silence time.Duration // how long after a word of this process a change may not be in force there
}

// openShared prepares the tables. It refuses a database whose digests were made with another pepper.
func openShared(ctx context.Context, db *postgres.DB, h *hasher) (*shared, error) {
	if err := db.Migrate(ctx, "keys", sharedSteps); err != nil {
		return nil, err
	}
	s, pepper := &shared{db: db}, h.check()
	var stored []byte
	err := db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO keys_state (id, version, pepper) VALUES (1, 0, $1) ON CONFLICT (id) DO NOTHING", pepper[:]); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT pepper FROM keys_state WHERE id = 1").Scan(&stored)
	})
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(stored, pepper[:]) != 1 {
		return nil, errors.New("the keys in the database were made with another secret_key: all its replicas have the same")
	}
	return s, nil
}

// serve says that this process takes calls from now on, with the keys of that version. What it is told of changes reaches
// it within poll, and after offline without contact it refuses minted keys.
func (s *shared) serve(ctx context.Context, version int64, poll, offline time.Duration) error {
	s.self, s.silence = uuid.NewString(), offline+2*poll
	return s.applied(ctx, version)
}

// change takes the row of keys_state first: changes come one after the other, and their versions in that order.
func (s *shared) change(ctx context.Context, fn func(context.Context, transaction) error) (version int64, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "UPDATE keys_state SET version = version + 1 WHERE id = 1 RETURNING version").Scan(&version); err != nil {
			return err
		}
		if err := fn(ctx, sharedTx{tx}); err != nil {
			return err
		}
		return s.db.Notify(ctx, tx, keysChannel, "")
	})
	return version, err
}

func (s *shared) read(ctx context.Context, fn func(context.Context, transaction) error) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error { return fn(ctx, sharedTx{tx}) })
}

func (s *shared) version(ctx context.Context) (v int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	err = s.db.QueryRow(ctx, "SELECT version FROM keys_state WHERE id = 1").Scan(&v)
	return v, err
}

func (s *shared) listen(ctx context.Context, wake func()) {
	s.db.Listen(ctx, keysChannel, func(string) { wake() })
}

func (s *shared) applied(ctx context.Context, version int64) error {
	if s.self == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	_, err := s.db.Exec(ctx, `INSERT INTO keys_gateways (id, version, at, silence) VALUES ($1, $2, now(), $3)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, at = excluded.at`, s.self, version, s.silence)
	return err
}

// confirmed does not wait for a process that has been silent for so long that it refuses minted keys, or is no more.
func (s *shared) confirmed(ctx context.Context, version int64) (all bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	err = s.db.QueryRow(ctx, "SELECT NOT EXISTS (SELECT 1 FROM keys_gateways WHERE id <> $1 AND version < $2 AND at + silence > now())", s.self, version).Scan(&all)
	return all, err
}

// close takes this process out of those that changes are confirmed by. The connection is its opener's.
func (s *shared) close() error {
	if s.self == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTime)
	defer cancel()
	_, err := s.db.Exec(ctx, "DELETE FROM keys_gateways WHERE id = $1 OR at < now() - $2::interval", s.self, forgetAfter)
	if err != nil {
		return fmt.Errorf("leave the gateways that changes of keys are confirmed by: %w", err)
	}
	return nil
}

// sharedTx is a transaction of a shared database.
type sharedTx struct{ tx pgx.Tx }

func (t sharedTx) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, numbered(statement), args...)
	return tag.RowsAffected(), err
}

func (t sharedTx) each(ctx context.Context, query string, args []any, take func(scan func(...any) error) error) error {
	found, err := t.tx.Query(ctx, numbered(query), args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := take(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

// numbered writes the arguments of a statement as PostgreSQL wants them: $1 for the first ?. The store's statements have no
// other question marks.
func numbered(statement string) string {
	var b strings.Builder
	parts := strings.Split(statement, "?")
	b.WriteString(parts[0])
	for i, part := range parts[1:] {
		b.WriteString("$" + strconv.Itoa(i+1) + part)
	}
	return b.String()
}
