package subject_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/subject"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

var _ ledger.Subjects = (*subject.Subjects)(nil)

var (
	noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)
	kek  = bytes.Repeat([]byte{1}, subject.KeyBytes)
	next = bytes.Repeat([]byte{2}, subject.KeyBytes)
)

// gateway opens the subjects of one more gateway on the same place.
type gateway func(kek, before []byte) (*subject.Subjects, error)

// suite runs a test on both places.
func suite(t *testing.T, test func(t *testing.T, open gateway)) {
	run := func(name string, place func(t *testing.T) subject.Config) {
		t.Run(name, func(t *testing.T) {
			cfg := place(t)
			cfg.Now = func() time.Time { return noon }
			test(t, func(kek, before []byte) (*subject.Subjects, error) {
				cfg.KEK, cfg.Before = kek, before
				s, err := subject.Open(t.Context(), cfg)
				if err == nil {
					t.Cleanup(func() { _ = s.Close() })
				}
				return s, err
			})
		})
	}
	run("file", func(t *testing.T) subject.Config {
		return subject.Config{Path: filepath.Join(t.TempDir(), "subjects.db")}
	})
	run("postgres", func(t *testing.T) subject.Config {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(postgrestest.Database(t))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		return subject.Config{Database: db}
	})
}

func (open gateway) must(t *testing.T) *subject.Subjects {
	t.Helper()
	s, err := open(kek, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pseudonym(t *testing.T, s *subject.Subjects, name string) string {
	t.Helper()
	id, err := s.Pseudonym(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestPseudonymsAreRandomAndStay(t *testing.T) {
	suite(t, func(t *testing.T, open gateway) {
		s, other := open.must(t), open.must(t)
		ann, bea := pseudonym(t, s, "ann"), pseudonym(t, s, "bea")
		if form := regexp.MustCompile(`^u_[a-z2-7]{20}$`); !form.MatchString(ann) || !form.MatchString(bea) || ann == bea {
			t.Errorf("%s and %s", ann, bea)
		}
		for _, s := range []*subject.Subjects{s, other, open.must(t)} {
			if got := pseudonym(t, s, "ann"); got != ann {
				t.Errorf("ann is %s and %s", ann, got)
			}
			names, err := s.Names(t.Context(), []string{bea, ann, bea, "u_unknown", "ann", ""})
			if err != nil || len(names) != 2 || names[ann] != "ann" || names[bea] != "bea" {
				t.Errorf("%v, %v", names, err)
			}
		}
		key, err := s.OfKey(t.Context(), "ann") // a key's id is another thing than a user's name
		if err != nil || !strings.HasPrefix(key, "k_") {
			t.Errorf("%s, %v", key, err)
		}
		if again, err := other.OfKey(t.Context(), "ann"); again != key || err != nil {
			t.Errorf("%s and %s, %v", key, again, err)
		}
		var all []string
		if err := s.List(t.Context(), func(s subject.Subject) { all = append(all, s.Kind+" "+s.Name) }); err != nil {
			t.Error(err)
		}
		if slices.Sort(all); strings.Join(all, ", ") != "key ann, user ann, user bea" {
			t.Error(all)
		}
	})
}

// Many gateways that meet somebody at the same time come to one pseudonym.
func TestFirstSightIsOfOne(t *testing.T) {
	suite(t, func(t *testing.T, open gateway) {
		var mu sync.Mutex
		seen := map[string]map[string]bool{}
		var wg sync.WaitGroup
		for range 4 {
			s := open.must(t)
			for range 4 {
				wg.Go(func() {
					for i := range 5 {
						name := fmt.Sprint("user", i)
						id, err := s.Pseudonym(name)
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						if seen[name] == nil {
							seen[name] = map[string]bool{}
						}
						seen[name][id] = true
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		for name, ids := range seen {
			if len(ids) != 1 {
				t.Errorf("%s has %d pseudonyms", name, len(ids))
			}
		}
	})
}

func TestErasedSubjectIsNobody(t *testing.T) {
	suite(t, func(t *testing.T, open gateway) {
		ctx := t.Context()
		s, other := open.must(t), open.must(t)
		ann := pseudonym(t, s, "ann")
		if got := pseudonym(t, other, "ann"); got != ann {
			t.Fatal(got)
		}
		if _, err := s.Find(ctx, subject.User, "nobody"); !errors.Is(err, subject.ErrUnknown) {
			t.Errorf("somebody who never called: %v", err)
		}
		for _, text := range []string{"ann", ann} {
			found, err := s.Find(ctx, subject.User, text)
			if err != nil || found != (subject.Subject{ID: ann, Kind: "user", Name: "ann", Since: noon}) {
				t.Errorf("%s: %+v, %v", text, found, err)
			}
		}
		if err := s.Hold(ctx, ann, true); err != nil {
			t.Fatal(err)
		}
		if err := other.Erase(ctx, ann); !errors.Is(err, subject.ErrHeld) {
			t.Errorf("on hold: %v", err)
		}
		if found, err := other.Find(ctx, subject.User, "ann"); err != nil || !found.Held {
			t.Errorf("on hold: %+v, %v", found, err)
		}
		if got := pseudonym(t, s, "ann"); got != ann {
			t.Errorf("after an erasure that was refused: %s", got)
		}
		if err := errors.Join(other.Hold(ctx, ann, false), s.Erase(ctx, ann)); err != nil {
			t.Fatal(err)
		}
		if err := s.Erase(ctx, ann); !errors.Is(err, subject.ErrErased) || !strings.Contains(err.Error(), "2026-11-14T12:00:00Z") {
			t.Errorf("again: %v", err)
		}
		for _, id := range []string{"u_aaaaaaaaaaaaaaaaaaaa", "ann"} {
			if err := errors.Join(s.Erase(ctx, id)); !errors.Is(err, subject.ErrUnknown) {
				t.Errorf("%s: %v", id, err)
			}
			if err := s.Hold(ctx, id, true); !errors.Is(err, subject.ErrUnknown) {
				t.Errorf("holding %s: %v", id, err)
			}
		}
		if err := other.Hear(ctx); err != nil {
			t.Fatal(err)
		}
		fresh := pseudonym(t, other, "ann")
		if fresh == ann || pseudonym(t, s, "ann") != fresh {
			t.Errorf("ann was %s, and is %s and %s", ann, fresh, pseudonym(t, s, "ann"))
		}
		for _, s := range []*subject.Subjects{s, other} {
			if _, err := s.DataKey(ctx, ann); !errors.Is(err, subject.ErrErased) {
				t.Errorf("the data key of an erased one: %v", err)
			}
			if names, err := s.Names(ctx, []string{ann, fresh}); err != nil || len(names) != 1 || names[fresh] != "ann" {
				t.Errorf("%v, %v", names, err)
			}
			if _, err := s.Find(ctx, subject.User, ann); !errors.Is(err, subject.ErrErased) {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestRotationSealsAllAnew(t *testing.T) {
	suite(t, func(t *testing.T, open gateway) {
		ctx := t.Context()
		first := open.must(t)
		ann := pseudonym(t, first, "ann")
		key, err := first.DataKey(ctx, ann)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(next, nil); err == nil || !strings.Contains(err.Error(), "payloads.kek_before") {
			t.Errorf("another KEK without the one before: %v", err)
		}
		second, err := open(next, kek)
		if err != nil {
			t.Fatal(err)
		}
		third, err := open(next, kek)
		if err != nil {
			t.Fatal(err)
		}
		if old, err := second.Outdated(ctx); err != nil || !old {
			t.Errorf("before: %v, %v", old, err)
		}
		if n, err := second.Rekey(ctx); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if old, err := second.Outdated(ctx); err != nil || old {
			t.Errorf("after: %v, %v", old, err)
		}
		if _, err := open(kek, nil); err == nil {
			t.Error("the KEK before still opens it")
		}
		fourth, err := open(next, nil)
		if err != nil {
			t.Fatal(err)
		}
		bea := ""
		for i, s := range []*subject.Subjects{second, third, fourth} { // the third has not heard of it
			if bea == "" {
				bea = pseudonym(t, third, "bea") // new, at a gateway with the keys of before
			}
			again, err := s.DataKey(ctx, ann)
			if pseudonym(t, s, "ann") != ann || pseudonym(t, s, "bea") != bea || err != nil || !bytes.Equal(again, key) || !bytes.Equal(s.TokenKey(), first.TokenKey()) {
				t.Errorf("gateway %d: %v", i+2, err)
			}
		}
		// One that only knows the KEK before goes on with whom it knows and takes no one new.
		if pseudonym(t, first, "ann") != ann {
			t.Error("ann is forgotten")
		}
		if id, err := first.Pseudonym("cleo"); err == nil {
			t.Errorf("cleo is %s", id)
		}
	})
}

// Whoever has the file has no names, and after an erasure not the sealed key either.
func TestFileTellsNothing(t *testing.T) {
	dir := t.TempDir()
	const canary = "annika.canary@example.org"
	s, err := subject.Open(t.Context(), subject.Config{Path: filepath.Join(dir, "subjects.db"), KEK: kek})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ann := pseudonym(t, s, canary)
	if content(t, dir, canary) != 0 || content(t, dir, ann) == 0 {
		t.Errorf("the name stands %d times in the files, the pseudonym %d", content(t, dir, canary), content(t, dir, ann))
	}
	row := sealed(t, dir, ann)
	if err := s.Erase(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	if n := content(t, dir, row); n != 0 {
		t.Errorf("what was sealed stands %d times in the files", n)
	}
}

// Whoever reads the file beside keeps its log from being emptied; to erase again makes up for it.
func TestErasureIsFinishedWhenAskedAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "subjects.db")
	s, err := subject.Open(t.Context(), subject.Config{Path: path, KEK: kek})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ann := pseudonym(t, s, "ann")
	row := sealed(t, dir, ann)
	reader, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	rows, err := reader.Query("SELECT id FROM subjects")
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), ann); err == nil || content(t, dir, row) == 0 {
		t.Fatalf("the log is emptied though it is read: %v", err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), ann); !errors.Is(err, subject.ErrErased) {
		t.Error(err)
	}
	if n := content(t, dir, row); n != 0 {
		t.Errorf("what was sealed stands %d times in the files", n)
	}
}

// sealed are bytes of the row: what stands behind the pseudonym in the file.
func sealed(t *testing.T, dir, id string) string {
	t.Helper()
	for _, b := range files(t, dir) {
		if i := strings.Index(b, id); i >= 0 {
			row := b[i+len(id)+40 : i+len(id)+72] // past the digest
			if content(t, dir, row) == 0 {
				t.Fatal("the row is not found")
			}
			return row
		}
	}
	t.Fatal("the subject is in no file")
	return ""
}

func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func content(t *testing.T, dir, text string) (n int) {
	t.Helper()
	for _, b := range files(t, dir) {
		n += strings.Count(b, text)
	}
	return n
}

// On every call's path.
func TestKnownUserCostsNoAllocation(t *testing.T) {
	s, err := subject.Open(t.Context(), subject.Config{Path: filepath.Join(t.TempDir(), "subjects.db"), KEK: kek})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pseudonym(t, s, "ann")
	if n := testing.AllocsPerRun(100, func() { pseudonym(t, s, "ann") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKnownUser(b *testing.B) {
	s, err := subject.Open(context.Background(), subject.Config{Path: filepath.Join(b.TempDir(), "subjects.db"), KEK: kek})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Pseudonym("ann"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Pseudonym("ann")
	}
}

func BenchmarkNewUser(b *testing.B) {
	s, err := subject.Open(context.Background(), subject.Config{Path: filepath.Join(b.TempDir(), "subjects.db"), KEK: kek})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Pseudonym(fmt.Sprint("user", i)); err != nil {
			b.Fatal(err)
		}
	}
}
