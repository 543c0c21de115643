package peer

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func connect(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Pool.Close)
	return db
}

func join(t *testing.T, url, address string) *Roster {
	t.Helper()
	r, err := Join(t.Context(), connect(t, url), address, time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Leave)
	return r
}

func TestRosterKnowsWhoIsThere(t *testing.T) {
	url := postgrestest.Database(t)
	a := join(t, url, "10.0.0.1:1")
	b := join(t, url, "10.0.0.2:2")
	if address, ok := b.Address(a.Self()); !ok || address != "10.0.0.1:1" {
		t.Errorf("who was there: %q %v", address, ok)
	}
	a.mu.Lock()
	a.looked = time.Time{} // long ago
	a.mu.Unlock()
	if address, ok := a.Address(b.Self()); !ok || address != "10.0.0.2:2" || a.Others() != 1 {
		t.Errorf("who has come since: %q %v, %d others", address, ok, a.Others())
	}
	if _, ok := a.Address(ID{1}); ok {
		t.Error("nobody has an address")
	}
	again := join(t, url, "10.0.0.2:2")
	if again.Self() == b.Self() {
		t.Error("another start has the same name")
	}
	b.Leave()
	gone(t, a, b.Self())
	// One that ends without a word is gone when it has been silent for too long, and its row some time later.
	if _, err := a.db.Exec(t.Context(), "UPDATE replicas_addresses SET at = now() - interval '2 hours' WHERE id = $1", again.Self().String()); err != nil {
		t.Fatal(err)
	}
	again.stop()
	again.running.Wait()
	if _, err := a.db.Exec(t.Context(), "UPDATE replicas_addresses SET at = now() - interval '2 hours' WHERE id = $1", again.Self().String()); err != nil {
		t.Fatal(err)
	}
	gone(t, a, again.Self())
	a.Leave()
	n := -1
	if err := a.db.QueryRow(t.Context(), "SELECT count(*) FROM replicas_addresses").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows are left, %v", n, err)
	}
}

// gone waits for the next beat.
func gone(t *testing.T, r *Roster, id ID) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, ok := r.Address(id); !ok {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a replica that has ended is still there")
		}
	}
}

// Without the database those that were there are: their addresses are as good as they were.
func TestRosterOutlivesItsDatabase(t *testing.T) {
	url := postgrestest.Database(t)
	a := join(t, url, "10.0.0.1:1")
	b := join(t, url, "10.0.0.2:2")
	b.db.Pool.Close()
	if err := b.beat(t.Context()); err == nil {
		t.Fatal("the database answers")
	}
	if address, ok := b.Address(a.Self()); !ok || address != "10.0.0.1:1" {
		t.Errorf("%q %v", address, ok)
	}
	b.mu.Lock()
	b.looked = time.Time{}
	b.mu.Unlock()
	if _, ok := b.Address(ID{1}); ok {
		t.Error("nobody has an address")
	}
}

// While the database hangs, requests for a replica that is not known must not wait for it one after the other.
func TestRosterAsksAHangingDatabaseOnce(t *testing.T) {
	url := postgrestest.Database(t)
	r := join(t, url, "10.0.0.1:1")
	tx, err := connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE replicas_addresses IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.looked = time.Time{}
	r.mu.Unlock()
	asked := time.Now()
	if _, ok := r.Address(ID{1}); ok {
		t.Error("nobody has an address")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looked.Before(asked.Add(askTime)) {
		t.Errorf("the pause until the next question began %s before this one had ended", asked.Add(askTime).Sub(r.looked))
	}
}
