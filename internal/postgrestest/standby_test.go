package postgrestest

import (
	"errors"
	"os"
	"testing"
)

func TestAStandbyHasWhatWasConfirmed(t *testing.T) {
	if _, err := Binaries(); errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	dir := func() string { // t.TempDir lets no other user through
		dir, err := os.MkdirTemp("", "postgrestest")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the system's directory of temporary files is swept anyway
		return dir
	}
	s, err := New(dir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() }) // it is dead already
	b, err := s.Standby(dir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := run(s.URL("postgres"), "CREATE TABLE t AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	if err := run(b.URL("postgres"), "INSERT INTO t VALUES (2)"); err == nil {
		t.Error("a standby takes writes")
	}
	if err := errors.Join(s.Kill(), b.Promote()); err != nil {
		t.Fatal(err)
	}
	if err := run(b.URL("postgres"), "INSERT INTO t SELECT 2 / (SELECT count(*) FROM t)"); err != nil {
		t.Errorf("what was confirmed is lost, or a promoted standby takes no writes: %v", err)
	}
}
