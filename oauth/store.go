package oauth

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver by the name of sqlite
)

// store keeps minted keys in a SQLite file. It holds digests, never a secret. Several processes may have it open; each
// method is one statement or one transaction, so a crash leaves a key as it was or as it was to be.
type store struct{ db *sql.DB }

// row is a stored key.
type row struct {
	key     Key
	secrets []storedSecret // in the order they were made
}

type storedSecret struct {
	digest digest
	shown  string
	until  time.Time // zero: as long as the key
}

const schemaVersion = 1

// Times are Unix milliseconds, 0 for none; lists are JSON. A name is free again once its key is revoked; the id is not.
const schema = `
CREATE TABLE pepper (digest BLOB NOT NULL);
CREATE TABLE keys (
	id TEXT PRIMARY KEY, name TEXT NOT NULL, customer TEXT NOT NULL, team TEXT NOT NULL, user TEXT NOT NULL,
	tags TEXT NOT NULL, limits TEXT NOT NULL, tools TEXT NOT NULL, models TEXT NOT NULL,
	created INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_in_force ON keys (name) WHERE revoked = 0;
CREATE TABLE secrets (
	digest BLOB PRIMARY KEY, key_id TEXT NOT NULL REFERENCES keys (id), shown TEXT NOT NULL,
	created INTEGER NOT NULL, until INTEGER NOT NULL
) STRICT;
CREATE INDEX secrets_of_key ON secrets (key_id);
PRAGMA user_version = 1;
`

// openStore opens the file at path, and makes it if need be. It refuses one whose digests were made with another pepper:
// its keys would all be unknown.
func openStore(ctx context.Context, path string, h *hasher) (*store, error) {
	// The file is made here because SQLite would make it readable for all; its journals take its mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	query := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // so that data_version, which is of a connection, tells of other processes only
	s := &store{db}
	if err := s.prepare(ctx, h.digest("tollgate pepper check")); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *store) prepare(ctx context.Context, pepper digest) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		switch version {
		case 0:
			if _, err := tx.ExecContext(ctx, schema); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO pepper (digest) VALUES (?)", pepper[:])
			return err
		case schemaVersion:
		default:
			return fmt.Errorf("its schema has version %d, this program knows %d: it was written by a newer one", version, schemaVersion)
		}
		var stored []byte
		if err := tx.QueryRowContext(ctx, "SELECT digest FROM pepper").Scan(&stored); err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(stored, pepper[:]) != 1 {
			return errors.New("its keys were made with another pepper: restore data/pepper, or the secret_key it was derived from")
		}
		return nil
	})
}

// change runs fn in a transaction.
func (s *store) change(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// version is a number that changes whenever another process has changed the file.
func (s *store) version(ctx context.Context) (v int64, err error) {
	err = s.db.QueryRowContext(ctx, "PRAGMA data_version").Scan(&v)
	return v, err
}

// load returns every key, revoked ones too, in the order they were made.
func (s *store) load(ctx context.Context) ([]row, error) {
	var rows []row
	at := map[string]int{}
	err := s.each(ctx, `SELECT id, name, customer, team, user, tags, limits, tools, models, created, expires, revoked
		FROM keys ORDER BY rowid`, func(scan func(...any) error) error {
		var k Key
		var tags, limits []byte
		var created, expires, revoked int64
		if err := scan(&k.ID, &k.Name, &k.Customer, &k.Team, &k.User, &tags, &limits, &k.Tools, &k.Models, &created, &expires, &revoked); err != nil {
			return err
		}
		k.Created, k.Expires, k.Revoked = fromMillis(created), fromMillis(expires), fromMillis(revoked)
		if err := errors.Join(json.Unmarshal(tags, &k.Tags), json.Unmarshal(limits, &k.Limits)); err != nil {
			k.Disabled = "its stored tags or limits cannot be read" // one bad row must not hide that others were revoked
		}
		at[k.ID] = len(rows)
		rows = append(rows, row{key: k})
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.each(ctx, "SELECT digest, key_id, shown, until FROM secrets ORDER BY rowid", func(scan func(...any) error) error {
		var d []byte
		var id string
		var until int64
		var x storedSecret
		if err := scan(&d, &id, &x.shown, &until); err != nil {
			return err
		}
		if i, ok := at[id]; ok && len(d) == len(x.digest) { // else it is no secret of any key
			x.digest, x.until = digest(d), fromMillis(until)
			rows[i].add(x)
		}
		return nil
	})
	return rows, err
}

func (r *row) add(x storedSecret) {
	r.secrets = append(r.secrets, x)
	if x.until.IsZero() {
		r.key.Shown = x.shown
	} else if x.until.After(r.key.Grace) {
		r.key.Grace = x.until
	}
}

func (s *store) each(ctx context.Context, query string, take func(scan func(...any) error) error) error {
	found, err := s.db.QueryContext(ctx, query)
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

// insert stores a new key with its first secret. It reports false if a key in force has its name.
func (s *store) insert(ctx context.Context, k *Key, x storedSecret) (bool, error) {
	tags, limits, err := marshalLists(k.Tags, k.Limits)
	if err != nil {
		return false, err
	}
	inserted := false
	err = s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO keys (id, name, customer, team, user, tags, limits, tools, models, created, expires, revoked)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (name) WHERE revoked = 0 DO NOTHING`,
			k.ID, k.Name, k.Customer, k.Team, k.User, tags, limits, k.Tools, k.Models, millis(k.Created), millis(k.Expires))
		if err != nil {
			return err
		}
		if inserted, err = changedOne(result); err != nil || !inserted {
			return err
		}
		return insertSecret(ctx, tx, k.ID, x, k.Created)
	})
	return inserted, err
}

func insertSecret(ctx context.Context, tx *sql.Tx, id string, x storedSecret, now time.Time) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO secrets (digest, key_id, shown, created, until) VALUES (?, ?, ?, ?, 0)", x.digest[:], id, x.shown, millis(now))
	return err
}

// revoke marks a key revoked and forgets its secrets. It reports false if the key is not there or already revoked.
func (s *store) revoke(ctx context.Context, id string, now time.Time) (bool, error) {
	revoked := false
	err := s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE keys SET revoked = ? WHERE id = ? AND revoked = 0", millis(now), id)
		if err != nil {
			return err
		}
		if revoked, err = changedOne(result); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM secrets WHERE key_id = ?", id)
		return err
	})
	return revoked, err
}

// rotate gives a key another secret; those it has count until graceEnd at most. It reports false if the key is not there
// or revoked.
func (s *store) rotate(ctx context.Context, id string, x storedSecret, now, graceEnd time.Time) (bool, error) {
	there := false
	err := s.change(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM keys WHERE id = ? AND revoked = 0)", id).Scan(&there); err != nil || !there {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM secrets WHERE key_id = ? AND until > 0 AND until <= ?", id, millis(now)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE secrets SET until = ? WHERE key_id = ? AND (until = 0 OR until > ?)", millis(graceEnd), id, millis(graceEnd)); err != nil {
			return err
		}
		return insertSecret(ctx, tx, id, x, now)
	})
	return there, err
}

func (s *store) close() error { return s.db.Close() }

func changedOne(result sql.Result) (bool, error) {
	n, err := result.RowsAffected()
	return n == 1, err
}

func marshalLists(tags, limits []string) (string, string, error) {
	t, err := json.Marshal(tags)
	if err != nil {
		return "", "", err
	}
	l, err := json.Marshal(limits)
	return string(t), string(l), err
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
