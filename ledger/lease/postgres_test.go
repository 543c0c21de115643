package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// real is a world on a real database.
type real struct {
	*world
	url     string
	proxies map[*site]*proxy
	mute    bool
}

func openDB(t testing.TB, url string, mute bool) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Config{URL: secret.New(url), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if mute {
		db.WithoutNotices()
	}
	return db
}

func newReal(t testing.TB, base string, n int, mute bool, limits ...string) *real {
	r := &real{world: newWorld(t, n, limits...), url: base, proxies: map[*site]*proxy{}, mute: mute}
	r.m, r.silent = nil, time.Second
	db := openDB(t, base, true)
	defer db.Close()
	if err := migrate(context.Background(), db); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.sites {
		r.proxies[s] = newProxy(t, u.Host)
	}
	r.store = func(s *site) store {
		through := *u
		through.Host = r.proxies[s].addr()
		db := openDB(t, through.String(), mute)
		t.Cleanup(db.Close)
		return &database{db: db}
	}
	return r
}

// granted sees that the caps are no more than the limits.
func (r *real) granted() {
	r.t.Helper()
	db := openDB(r.t, r.url, true)
	defer db.Close()
	var worst string
	err := db.QueryRow(context.Background(), `SELECT COALESCE(max(name || ': ' || over), '') FROM (
SELECT name, sum(cap) - greatest(max(amount), sum(used + held)) AS over FROM lease_caps WHERE kind <> 'reading' GROUP BY name, start) s WHERE over > 0`).Scan(&worst)
	if err != nil {
		r.t.Error(err)
	}
	if worst != "" {
		r.t.Errorf("caps beyond the limit: %s", worst)
	}
}

func bothWays(t *testing.T, run func(t *testing.T, mute bool)) {
	for _, mute := range []bool{false, true} {
		name := "notices"
		if mute {
			name = "polling"
		}
		t.Run(name, func(t *testing.T) { run(t, mute) })
	}
}

func TestOnPostgreSQLExactlyAsManyGetThrough(t *testing.T) {
	bothWays(t, func(t *testing.T, mute bool) {
		w := newReal(t, postgrestest.Database(t), 4, mute, "100 calls / 1d", "90 concurrent")
		w.start()
		var wg sync.WaitGroup
		for _, s := range w.sites {
			for range 20 {
				wg.Go(func() {
					for range 3 {
						if _, err := s.call(1); err != nil {
							refusedByLimit(t, err)
						}
					}
				})
			}
		}
		wg.Wait()
		// On a machine that is busy a call may have waited in vain: what is left is had by those that come again.
		for until := time.Now().Add(10 * time.Second); w.passed() < 90 && time.Now().Before(until); {
			if _, err := w.sites[w.passed()%4].call(1); err != nil {
				refusedByLimit(t, err)
			}
		}
		for _, s := range w.sites {
			if _, err := s.call(1); err == nil {
				t.Error("one more passed")
			}
		}
		if w.passed() != 90 {
			t.Errorf("%d calls passed, want 90", w.passed())
		}
		w.check()
		w.granted()
		w.stop()
	})
}

// One process holds all, the other gets what it needs of it, and each knows what both used.
func TestOnPostgreSQLRoomMovesToWhoNeedsIt(t *testing.T) {
	bothWays(t, func(t *testing.T, mute bool) {
		w := newReal(t, postgrestest.Database(t), 2, mute, "30 calls / 1d")
		w.start()
		for _, s := range []int{0, 1} {
			for i := range 14 {
				c, err := w.sites[s].call(1)
				if err != nil {
					t.Fatalf("replica %d, call %d: %v", s, i, err)
				}
				c.end(1)
			}
		}
		for range 2 {
			if _, err := w.sites[0].call(1); err != nil {
				t.Fatal(err)
			}
		}
		_, err := w.sites[1].call(1)
		if over, ok := errors.AsType[*ledger.LimitError](err); !ok || over.Left != "0 calls" {
			t.Errorf("%v", err)
		}
		until := time.Now().Add(5 * time.Second)
		for {
			b := w.sites[1].ledger.Balances()[0]
			if b.Used == 28 && b.Held == 2 && b.Left == 0 {
				break
			}
			if time.Now().After(until) {
				t.Fatalf("%+v", b)
			}
			time.Sleep(50 * time.Millisecond)
		}
		w.stop()
		w.granted()
	})
}

// chaos lets the network between replicas and the database break in all ways while they call.
func (r *real) chaos(rng *rand.Rand, d time.Duration, each func()) {
	until := time.Now().Add(d)
	var wg sync.WaitGroup
	for _, s := range r.sites {
		for range 4 {
			seed := rng.Uint64()
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 1))
				for time.Now().Before(until) {
					c, err := s.call(1)
					if err != nil {
						refusedByLimit(r.t, err)
					} else {
						time.Sleep(time.Duration(rng.IntN(int(50 * time.Millisecond))))
						c.end(ledger.Nano(rng.IntN(2)))
					}
					time.Sleep(time.Duration(rng.IntN(int(40 * time.Millisecond))))
				}
			})
		}
	}
	for time.Now().Before(until) {
		time.Sleep(time.Duration(rng.IntN(int(400 * time.Millisecond))))
		p := r.proxies[r.sites[rng.IntN(len(r.sites))]]
		p.set(mode(rng.IntN(5)))
		if rng.IntN(2) == 0 {
			p.set(whole)
		}
		if each != nil {
			each()
		}
	}
	wg.Wait()
	for _, p := range r.proxies {
		p.set(whole)
	}
}

func TestOnPostgreSQLNoLimitIsExceededOnABadNetwork(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bothWays(t, func(t *testing.T, mute bool) {
		w := newReal(t, postgrestest.Database(t), 3, mute, "400 calls / 1d", "5 concurrent", "0.0000003 USD / 1h hard")
		w.start()
		w.chaos(rand.New(rand.NewPCG(seed, 1)), 4*time.Second, nil)
		for _, s := range w.sites {
			s.joined()
		}
		w.check()
		w.granted()
		if n := w.passed(); n < 20 {
			t.Errorf("%d calls passed: too few to mean anything", n)
		} else {
			t.Logf("%d calls passed", n)
		}
		w.stop()
	})
}

// The server is stopped, killed and started again while replicas call.
func TestOnPostgreSQLNoLimitIsExceededWhenTheServerDies(t *testing.T) {
	dir, err := os.MkdirTemp("", "lease") // the server's user must be able to reach it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := postgrestest.New(dir, "fsync=on", "synchronous_commit=on")
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	w := newReal(t, server.URL("postgres"), 3, false, "400 calls / 1d", "5 concurrent")
	w.start()
	rng, n := rand.New(rand.NewPCG(1, 1)), 0
	w.chaos(rng, 6*time.Second, func() {
		if n++; n%6 != 0 {
			return
		}
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Duration(rng.IntN(int(1500 * time.Millisecond))))
		if err := server.Start(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range w.sites {
		s.joined()
	}
	w.check()
	w.granted()
	t.Logf("%d calls passed, %d kills", w.passed(), n/6)
	w.stop()
}

// A copy of a data directory is started beside the original: one of them serves, the other is told, and no more is let
// through than the limit.
func TestOnPostgreSQLOfTwoWithOneIdentityOneServes(t *testing.T) {
	w := newReal(t, postgrestest.Database(t), 2, false, "20 calls / 1d")
	a, b := w.sites[0], w.sites[1]
	a.start()
	a.joined()
	for range 5 {
		if _, err := a.call(1); err != nil {
			t.Fatal(err)
		}
	}
	b.id, b.journal = a.id.Kill(), a.journal.Kill()
	b.start()
	for range 200 { // it waits while the original is heard of
		if b.client.Alive() == nil {
			break
		}
		for _, s := range w.sites {
			_, _ = s.call(1)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if b.client.Alive() == nil && a.client.Alive() == nil && a.client.ReplicaID() == b.client.ReplicaID() {
		t.Error("both serve under one identity")
	}
	if n := w.passed(); n > 20 {
		t.Errorf("%d calls passed, of 20", n)
	}
	a.kill()
	b.joined()
	w.check()
	w.granted()
	b.stop()
}

// A machine's clock may be hours off and be set: the shared time is the database's.
func TestOnPostgreSQLTimeIsTheDatabases(t *testing.T) {
	w := newReal(t, postgrestest.Database(t), 2, false, "5 calls / 1d")
	w.sites[0].machine.set = 30 * time.Hour
	w.start()
	db := openDB(t, w.url, true)
	defer db.Close()
	for i, s := range w.sites {
		for range 2 {
			var there time.Time
			before := s.client.Now()
			if err := db.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&there); err != nil {
				t.Fatal(err)
			}
			after := s.client.Now()
			if there.Before(before.Add(-50*time.Millisecond)) || there.After(after.Add(50*time.Millisecond)) {
				t.Errorf("replica %d: it is %s, between %s and %s here", i, there, before, after)
			}
			s.machine.mu.Lock()
			s.machine.set -= 50 * time.Hour
			s.machine.mu.Unlock()
		}
	}
	w.stop()
}

// Everything goes back at an orderly end, in one exchange: slots are named by the replica and by the database.
func TestOnPostgreSQLALeavingReplicaGivesEverythingBack(t *testing.T) {
	w := newReal(t, postgrestest.Database(t), 1, true, "50 calls / 1d", "9 concurrent", "50 calls / 1h")
	w.start()
	a := w.sites[0]
	for range 9 {
		c, err := a.call(1)
		if err != nil {
			t.Fatal(err)
		}
		c.end(1)
	}
	a.stop()
	db := openDB(t, w.url, true)
	defer db.Close()
	var kept, live int
	err := db.QueryRow(context.Background(), `SELECT count(*) FILTER (WHERE cap <> used + held OR kind = 'slots' AND cap > 0),
(SELECT count(*) FROM lease_replicas WHERE gone IS NULL) FROM lease_caps`).Scan(&kept, &live)
	if err != nil || kept > 0 || live > 0 {
		t.Errorf("%d rows keep something, %d replicas are live: %v", kept, live, err)
	}
}
