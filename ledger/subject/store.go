package subject

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate/tollgate/ledger/tables"
)

// steps make the tables. root has one row: what the keys come from, and version, which goes on with every erasure and
// rotation, so that other gateways see that there is something to hear of. erased says at which version.
var steps = []string{
	`CREATE TABLE subjects_root (one INTEGER PRIMARY KEY, generation INTEGER NOT NULL, kek BLOB NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL) STRICT`,
	`CREATE TABLE subjects (id TEXT PRIMARY KEY, kind INTEGER NOT NULL, digest BLOB NOT NULL UNIQUE, name BLOB NOT NULL, data_key BLOB NOT NULL,
	held INTEGER NOT NULL, created INTEGER NOT NULL) STRICT`,
	`CREATE TABLE subjects_erased (id TEXT PRIMARY KEY, erased INTEGER NOT NULL, version INTEGER NOT NULL) STRICT`,
	`CREATE INDEX subjects_erased_version ON subjects_erased (version)`,
}

// row is a subject as it is stored.
type row struct {
	id      string
	kind    Kind
	digest  []byte
	name    []byte // sealed
	key     []byte // sealed
	held    int64
	created int64 // Unix milliseconds
}

const columns = "id, kind, digest, name, data_key, held, created"

func (r *row) fields() []any {
	return []any{&r.id, &r.kind, &r.digest, &r.name, &r.key, &r.held, &r.created}
}

// errGeneration means that the keys were rotated since they were read.
var errGeneration = errors.New("the keys of subjects were rotated")

// store is the tables. Each method is one transaction, so a crash leaves a subject as it was or as it was to be.
type store struct{ db *tables.DB }

// root returns what is stored and the version.
func (s store) root(ctx context.Context) (r root, version int64, found bool, err error) {
	found, err = s.db.One(ctx, []any{&r.generation, &r.kek, &r.sealed, &version}, "SELECT generation, kek, sealed, version FROM subjects_root")
	return r, version, found, err
}

// begin stores the first root, unless another gateway did.
func (s store) begin(ctx context.Context, r root) error {
	_, err := s.db.Exec(ctx, "INSERT INTO subjects_root (one, generation, kek, sealed, version) VALUES (1, ?, ?, ?, 1) ON CONFLICT (one) DO NOTHING",
		r.generation, r.kek, r.sealed)
	return err
}

func (s store) find(ctx context.Context, digest []byte) (r row, found bool, err error) {
	found, err = s.db.One(ctx, r.fields(), "SELECT "+columns+" FROM subjects WHERE digest = ?", digest)
	return r, found, err
}

// get returns those of ids that there are.
func (s store) get(ctx context.Context, ids []string) ([]row, error) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return s.list(ctx, "SELECT "+columns+" FROM subjects WHERE id IN "+tables.List(len(ids)), args...)
}

// after returns up to n subjects behind an id, in their order.
func (s store) after(ctx context.Context, id string, n int) ([]row, error) {
	return s.list(ctx, "SELECT "+columns+" FROM subjects WHERE id > ? ORDER BY id LIMIT ?", id, n)
}

func (s store) list(ctx context.Context, query string, args ...any) (rows []row, err error) {
	err = s.db.Each(ctx, func(scan func(...any) error) error {
		var r row
		err := scan(r.fields()...)
		rows = append(rows, r)
		return err
	}, query, args...)
	return rows, err
}

// insert stores a new subject sealed with the keys of a generation, and returns it, or the one that another gateway was
// first to store.
func (s store) insert(ctx context.Context, generation int64, r row) (stored row, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error {
		if err := sameGeneration(ctx, tx, generation); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO subjects ("+columns+") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
			r.id, r.kind, r.digest, r.name, r.key, r.held, r.created); err != nil {
			return err
		}
		return tx.Row(ctx, "SELECT "+columns+" FROM subjects WHERE digest = ?", r.digest).Scan(stored.fields()...)
	})
	return stored, err
}

// sameGeneration also keeps a rotation from coming between: it writes the row that is read here.
func sameGeneration(ctx context.Context, tx *tables.Tx, generation int64) error {
	n, err := tx.Exec(ctx, "UPDATE subjects_root SET generation = generation WHERE generation = ?", generation)
	if err == nil && n == 0 {
		err = errGeneration
	}
	return err
}

// hold sets whether a subject may be erased and reports whether it is there.
func (s store) hold(ctx context.Context, id string, held bool) (bool, error) {
	var n int64
	if held {
		n = 1
	}
	changed, err := s.db.Exec(ctx, "UPDATE subjects SET held = ? WHERE id = ?", n, id)
	return changed > 0, err
}

// erase deletes a subject that is not held and notes that it did; it reports whether there was one. The log is emptied in
// any case: when that failed after a deletion, to erase again makes up for it.
func (s store) erase(ctx context.Context, id string, now time.Time) (done bool, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM subjects WHERE id = ? AND held = 0", id)
		if done = n > 0; err != nil || !done {
			return err
		}
		var version int64
		if err := tx.Row(ctx, "UPDATE subjects_root SET version = version + 1 RETURNING version").Scan(&version); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO subjects_erased (id, erased, version) VALUES (?, ?, ?)", id, now.UnixMilli(), version)
		return err
	})
	if err != nil {
		return false, err
	}
	return done, s.db.Scrub(ctx)
}

// erased says when a pseudonym was erased.
func (s store) erased(ctx context.Context, id string) (at time.Time, found bool, err error) {
	var ms int64
	found, err = s.db.One(ctx, []any{&ms}, "SELECT erased FROM subjects_erased WHERE id = ?", id)
	return time.UnixMilli(ms).UTC(), found, err
}

// news lists the pseudonyms erased after a version.
func (s store) news(ctx context.Context, version int64) (ids []string, err error) {
	err = s.db.Each(ctx, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM subjects_erased WHERE version > ?", version)
	return ids, err
}

// rekeyTime bounds a rotation: all subjects are written anew in one transaction, some ten thousand a second.
const rekeyTime = 10 * time.Minute

// rekey seals every subject anew, under the next root, and returns how many there are.
func (s store) rekey(ctx context.Context, from int64, next root, again func(row) (row, error)) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, rekeyTime)
	defer cancel()
	err = s.db.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error {
		changed, err := tx.Exec(ctx, "UPDATE subjects_root SET generation = ?, kek = ?, sealed = ?, version = version + 1 WHERE generation = ?",
			next.generation, next.kek, next.sealed, from)
		if err != nil {
			return err
		}
		if changed == 0 {
			return errGeneration
		}
		var all []row
		err = tx.Each(ctx, func(scan func(...any) error) error {
			var r row
			err := scan(r.fields()...)
			all = append(all, r)
			return err
		}, "SELECT "+columns+" FROM subjects")
		if err != nil {
			return err
		}
		for _, r := range all {
			if r, err = again(r); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "UPDATE subjects SET digest = ?, name = ?, data_key = ? WHERE id = ?", r.digest, r.name, r.key, r.id); err != nil {
				return err
			}
		}
		n = len(all)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, s.db.Scrub(ctx)
}
