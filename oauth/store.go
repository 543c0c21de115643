package oauth

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tollgate/tollgate/ledger/tables"
)

// store keeps minted keys in a database. It holds digests, never a secret. Several processes may have it open; each change
// is one transaction, so a crash leaves a key as it was or as it was to be.
//
// Its tables are keys_minted and keys_secrets, with rows in the order of rowid. Times are Unix milliseconds, 0 for none; lists
// are JSON. A name is free again once its key is revoked; the id is not.
type store struct{ database }

// database is where the tables are. There are two kinds: a file for one gateway, a server for several.
type database interface {
	tables() *tables.DB
	// change runs fn in a transaction and tells other processes of it. The version is what theirs will be, at least, when
	// they have seen it.
	change(ctx context.Context, fn func(ctx context.Context, tx *tables.Tx) error) (version int64, err error)
	// version is a number that changes whenever another process has changed the keys. It is read before them.
	version(ctx context.Context) (int64, error)
	// listen calls wake soon after another process has changed the keys, as far as the database can tell of it, until ctx
	// ends.
	listen(ctx context.Context, wake func())
	// applied says that the keys of that version are in force in this process, for confirmed of another.
	applied(ctx context.Context, version int64) error
	// confirmed reports whether that version is in force in every process that takes calls.
	confirmed(ctx context.Context, version int64) (bool, error)
	close() error
}

// row is a stored key.
type row struct {
	key     Key
	secrets []storedSecret
}

type storedSecret struct {
	digest digest
	shown  string
	until  time.Time // zero: as long as the key
}

// load returns every key, revoked ones too, in the order they were made. Keys are read before their secrets: of one that
// is revoked or rotated in between, some secret is missing until it is loaded again.
func (s *store) load(ctx context.Context) (rows []row, err error) {
	at := map[string]int{}
	err = s.tables().Each(ctx, func(scan func(...any) error) error {
		k, err := scanKey(scan)
		if err != nil {
			return err
		}
		at[k.ID] = len(rows)
		rows = append(rows, row{key: k})
		return nil
	}, `SELECT id, name, customer, team, "user", tags, limits, tools, models, created, expires, revoked FROM keys_minted ORDER BY rowid`)
	if err != nil {
		return nil, err
	}
	err = s.tables().Each(ctx, func(scan func(...any) error) error {
		id, x, err := scanSecret(scan)
		if i, ok := at[id]; ok && err == nil && x.digest != (digest{}) { // else it is no secret of any key
			rows[i].add(x)
		}
		return err
	}, "SELECT digest, key_id, shown, until FROM keys_secrets ORDER BY rowid")
	return rows, err
}

func scanKey(scan func(...any) error) (Key, error) {
	var k Key
	var tags, limits string
	var created, expires, revoked int64
	if err := scan(&k.ID, &k.Name, &k.Customer, &k.Team, &k.User, &tags, &limits, &k.Tools, &k.Models, &created, &expires, &revoked); err != nil {
		return k, err
	}
	k.Created, k.Expires, k.Revoked = fromMillis(created), fromMillis(expires), fromMillis(revoked)
	if json.Unmarshal([]byte(tags), &k.Tags) != nil || json.Unmarshal([]byte(limits), &k.Limits) != nil {
		k.Disabled = "its stored tags or limits cannot be read" // one bad row must not hide that others were revoked
	}
	return k, nil
}

// scanSecret reads a secret and the id of its key. The zero digest stands for one that cannot be a digest.
func scanSecret(scan func(...any) error) (id string, x storedSecret, err error) {
	var d []byte
	var until int64
	if err := scan(&d, &id, &x.shown, &until); err != nil {
		return "", x, err
	}
	if len(d) == len(x.digest) {
		x.digest = digest(d)
	}
	x.until = fromMillis(until)
	return id, x, nil
}

func (r *row) add(x storedSecret) {
	r.secrets = append(r.secrets, x)
	if x.until.IsZero() {
		r.key.Shown = x.shown
	} else if x.until.After(r.key.Grace) {
		r.key.Grace = x.until
	}
}

// insert stores a new key with its first secret. It reports false if a key in force has its name.
func (s *store) insert(ctx context.Context, k *Key, x storedSecret) (inserted bool, err error) {
	tags, limits, err := marshalLists(k.Tags, k.Limits)
	if err != nil {
		return false, err
	}
	_, err = s.change(ctx, func(ctx context.Context, tx *tables.Tx) error {
		n, err := tx.Exec(ctx, `INSERT INTO keys_minted (id, name, customer, team, "user", tags, limits, tools, models, created, expires, revoked)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (name) WHERE revoked = 0 DO NOTHING`,
			k.ID, k.Name, k.Customer, k.Team, k.User, tags, limits, k.Tools, k.Models, millis(k.Created), millis(k.Expires))
		if inserted = n == 1; err != nil || !inserted {
			return err
		}
		return insertSecret(ctx, tx, k.ID, x, k.Created)
	})
	return inserted && err == nil, err
}

func insertSecret(ctx context.Context, tx *tables.Tx, id string, x storedSecret, now time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO keys_secrets (digest, key_id, shown, created, until) VALUES (?, ?, ?, ?, 0)", x.digest[:], id, x.shown, millis(now))
	return err
}

// revoke marks a key revoked and forgets its secrets. Of one that is not there or already revoked nothing changes.
func (s *store) revoke(ctx context.Context, id string, now time.Time) (version int64, err error) {
	return s.change(ctx, func(ctx context.Context, tx *tables.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE keys_minted SET revoked = ? WHERE id = ? AND revoked = 0", millis(now), id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM keys_secrets WHERE key_id = ?", id)
		return err
	})
}

// rotate gives a key another secret; those it has count until graceEnd at most. It reports false if the key is not there
// or revoked.
func (s *store) rotate(ctx context.Context, id string, x storedSecret, now, graceEnd time.Time) (there bool, version int64, err error) {
	version, err = s.change(ctx, func(ctx context.Context, tx *tables.Tx) error {
		there = false
		err := tx.Each(ctx, func(scan func(...any) error) error {
			there = true
			return scan(new(string))
		}, "SELECT id FROM keys_minted WHERE id = ? AND revoked = 0", id)
		if err != nil || !there {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM keys_secrets WHERE key_id = ? AND until > 0 AND until <= ?", id, millis(now)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE keys_secrets SET until = ? WHERE key_id = ? AND (until = 0 OR until > ?)", millis(graceEnd), id, millis(graceEnd)); err != nil {
			return err
		}
		return insertSecret(ctx, tx, id, x, now)
	})
	return there && err == nil, version, err
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
