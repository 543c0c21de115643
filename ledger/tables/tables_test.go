package tables_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/tables"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// engines runs a test on both.
func engines(t *testing.T, test func(t *testing.T, open func() *tables.DB)) {
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "t.db")
		test(t, func() *tables.DB {
			db, err := tables.File(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		})
	})
	t.Run("postgres", func(t *testing.T) {
		url := postgrestest.Database(t)
		test(t, func() *tables.DB {
			p, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(url)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			return tables.Shared(p)
		})
	})
}

var steps = []string{
	"CREATE TABLE t_birds (name TEXT PRIMARY KEY, legs INTEGER NOT NULL, song BLOB NOT NULL) STRICT",
	"CREATE INDEX t_birds_legs ON t_birds (legs)",
}

func TestTablesDoTheSameOnBothEngines(t *testing.T) {
	engines(t, func(t *testing.T, open func() *tables.DB) {
		ctx := t.Context()
		db := open()
		if err := errors.Join(db.Migrate(ctx, "birds", steps[:1]), db.Migrate(ctx, "birds", steps), db.Migrate(ctx, "birds", steps)); err != nil {
			t.Fatal(err)
		}
		if err := open().Migrate(ctx, "birds", steps[:1]); err == nil || !strings.Contains(err.Error(), "newer program") {
			t.Errorf("an older program: %v", err)
		}
		if n, err := db.Exec(ctx, "INSERT INTO t_birds (name, legs, song) VALUES (?, ?, ?), (?, ?, ?)", "owl", 2, []byte{0, 1}, "wren", 2, []byte("la")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := db.Exec(ctx, "INSERT INTO t_birds (name, legs, song) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING", "owl", 3, []byte{}); n != 0 || err != nil {
			t.Error("a second owl:", n, err)
		}
		var song []byte
		if found, err := db.One(ctx, []any{&song}, "SELECT song FROM t_birds WHERE name = ?", "owl"); !found || err != nil || !bytes.Equal(song, []byte{0, 1}) {
			t.Error(found, err, song)
		}
		if found, err := db.One(ctx, []any{&song}, "SELECT song FROM t_birds WHERE name = ?", "emu"); found || err != nil {
			t.Error("an emu:", found, err)
		}
		var names []string
		err := db.Each(ctx, func(scan func(...any) error) error {
			var name string
			defer func() { names = append(names, name) }()
			return scan(&name)
		}, "SELECT name FROM t_birds WHERE name IN "+tables.List(2)+" AND legs = ? ORDER BY name", "wren", "owl", 2)
		if err != nil || strings.Join(names, " ") != "owl wren" {
			t.Error(names, err)
		}
		broken := errors.New("no")
		err = db.Tx(ctx, func(ctx context.Context, tx *tables.Tx) error {
			if _, err := tx.Exec(ctx, "DELETE FROM t_birds"); err != nil {
				return err
			}
			return broken
		})
		var left int
		if found, scanned := db.One(ctx, []any{&left}, "SELECT count(*) FROM t_birds"); !errors.Is(err, broken) || !found || scanned != nil || left != 2 {
			t.Errorf("after a transaction that failed: %v, %d left", err, left)
		}
	})
}

// Deleted bytes are in none of the file's parts.
func TestScrubLeavesNothingOfDeletedRows(t *testing.T) {
	dir := t.TempDir()
	db, err := tables.File(filepath.Join(dir, "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := t.Context()
	canary := []byte("canary-of-a-deleted-row")
	count := func() (n int) {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(b, canary)
		}
		return n
	}
	if err := db.Migrate(ctx, "birds", steps); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, "INSERT INTO t_birds (name, legs, song) VALUES ('x', 1, ?)", bytes.Repeat(canary, 500)); err != nil {
		t.Fatal(err)
	}
	if count() == 0 {
		t.Fatal("the canary never stood in the files: the test shows nothing")
	}
	if _, err := db.Exec(ctx, "DELETE FROM t_birds"); err != nil {
		t.Fatal(err)
	}
	if err := db.Scrub(ctx); err != nil || count() != 0 {
		t.Errorf("%d canaries left, %v", count(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "t.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}
