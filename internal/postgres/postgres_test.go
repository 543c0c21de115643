package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func open(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestABadURLIsNotRepeated(t *testing.T) {
	for _, url := range []string{"mysql://u:canary@h/d", "postgres://u:canary@h:port/d", "postgres://u:can%ary@h/d", "host=h password=canary"} {
		_, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(url)})
		if err == nil || strings.Contains(err.Error(), "ary") {
			t.Errorf("%s: %v", url, err)
		}
	}
	_, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New("postgres://u:canary@127.0.0.1:1/d")})
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "no connection") {
		t.Errorf("nobody listens: %v", err)
	}
}

// Each step is applied once, whoever comes first.
func TestReplicasMigrateAtOnce(t *testing.T) {
	url := postgrestest.Database(t)
	steps := []string{
		"CREATE TABLE a (n int); INSERT INTO a VALUES (1)",
		"UPDATE a SET n = n + 1; ALTER TABLE a ADD COLUMN m int",
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		db := open(t, url)
		wg.Go(func() { errs[i] = db.Migrate(t.Context(), "a", steps) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	db := open(t, url)
	var n int
	if err := db.QueryRow(t.Context(), "SELECT n FROM a").Scan(&n); err != nil || n != 2 {
		t.Fatalf("n is %d, %v", n, err)
	}
	if err := db.Migrate(t.Context(), "a", steps[:1]); err == nil || !strings.Contains(err.Error(), "run the newer program") {
		t.Errorf("an older program: %v", err)
	}
}

// A failed step leaves nothing and is tried again by the next start.
func TestAStepIsWholeOrNot(t *testing.T) {
	db := open(t, postgrestest.Database(t))
	if err := db.Migrate(t.Context(), "a", []string{"CREATE TABLE a (n int); SELECT 1/0"}); err == nil {
		t.Fatal("a division by zero went well")
	}
	if err := db.Migrate(t.Context(), "a", []string{"CREATE TABLE a (n int)"}); err != nil {
		t.Fatal(err)
	}
}

// A database that has a table of the same name already is no other replica that was first.
func TestATakenNameEndsAMigration(t *testing.T) {
	db := open(t, postgrestest.Database(t))
	if _, err := db.Exec(t.Context(), "CREATE TABLE a (n int)"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := db.Migrate(ctx, "a", []string{"CREATE TABLE a (m int)"}); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("%v", err)
	}
}

// Transactions that collide are repeated until each has had its turn.
func TestCollisionsAreRepeated(t *testing.T) {
	db := open(t, postgrestest.Database(t))
	if _, err := db.Exec(t.Context(), "CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a VALUES (1, 0), (2, 0)"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var repeated atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for range 3 {
				first, second := 1+i%2, 2-i%2 // half of them in the other order: deadlocks
				runs := 0
				err := db.Tx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
					runs++
					for _, id := range []int{first, second} {
						if _, err := tx.Exec(ctx, "UPDATE a SET n = n + 1 WHERE id = $1", id); err != nil {
							return err
						}
					}
					return nil
				})
				repeated.Add(int64(runs - 1))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := db.QueryRow(t.Context(), "SELECT sum(n) FROM a").Scan(&n); err != nil || n != 24 {
		t.Errorf("sum %d, %v after %d repetitions", n, err, repeated.Load())
	}
}

func TestADutyHasOneHolder(t *testing.T) {
	db := open(t, postgrestest.Database(t))
	if err := db.PrepareDuties(t.Context()); err != nil {
		t.Fatal(err)
	}
	take := func(holder string, d time.Duration) bool {
		t.Helper()
		held, err := db.TakeDuty(t.Context(), "sweep", holder, d)
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	if !take("a", time.Hour) || take("b", time.Hour) || !take("a", time.Hour) {
		t.Error("the first does not have it, or the second does")
	}
	if err := db.LeaveDuty(t.Context(), "sweep", "b"); err != nil || take("b", time.Hour) {
		t.Errorf("somebody else gave it back: %v", err)
	}
	if err := db.LeaveDuty(t.Context(), "sweep", "a"); err != nil || !take("b", time.Millisecond) {
		t.Errorf("it was given back and cannot be taken: %v", err)
	}
	if _, err := db.Exec(t.Context(), "SELECT pg_sleep(0.01)"); err != nil { // the server's clock decides
		t.Fatal(err)
	}
	if !take("a", time.Hour) {
		t.Error("its time is over and it cannot be taken")
	}
}

func TestNotificationsArriveAndSurviveACut(t *testing.T) {
	db := open(t, postgrestest.Database(t))
	ctx, stop := context.WithCancel(t.Context())
	heard := make(chan string, 100)
	var wg sync.WaitGroup
	wg.Go(func() { db.Listen(ctx, "news", func(p string) { heard <- p }) })
	defer wg.Wait()
	defer stop()
	await := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not heard", want)
		}
	}
	tell := func(text string) {
		t.Helper()
		err := db.Tx(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return db.Notify(ctx, tx, "news", text) })
		if err != nil {
			t.Fatal(err)
		}
	}
	await("")
	for i := range 3 {
		tell(fmt.Sprint(i))
		await(fmt.Sprint(i))
	}
	if _, err := db.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"); err != nil {
		t.Fatal(err)
	}
	await("") // anew: what was told meanwhile is to be looked up
	tell("again")
	await("again")
}

// A commit whose answer is lost is not taken for one that failed.
func TestALostAnswerToACommitIsUnsure(t *testing.T) {
	url := postgrestest.Database(t)
	db := open(t, url)
	if _, err := db.Exec(t.Context(), "CREATE TABLE a (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO a VALUES (1)")
		cancel() // the commit's answer is not waited for
		return err
	})
	if err == nil || !postgres.Unsure(err) {
		t.Errorf("cut in the commit: %v", err)
	}
	// A commit that the server refuses is known to have failed.
	err = db.Tx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO a VALUES (2), (2)")
		return err
	})
	if !postgres.Taken(err) || postgres.Unsure(err) {
		t.Errorf("refused: %v", err)
	}
}

// Who stops in mid-transaction keeps its locks from the others for as long as the transaction had time, and no longer: a
// machine that is cut off or stopped says nothing to the server.
func TestWhoStopsInATransactionLosesItsLocks(t *testing.T) {
	db := open(t, postgrestest.Database(t))
	if _, err := db.Exec(t.Context(), "CREATE TABLE a (n int); INSERT INTO a VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	holds, stop := make(chan struct{}), make(chan struct{})
	var stopped sync.WaitGroup
	stopped.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE a SET n = 2")
			close(holds)
			<-stop
			return err
		})
		if err == nil {
			t.Error("the transaction was done")
		}
	})
	<-holds
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := db.Exec(ctx, "UPDATE a SET n = 3"); err != nil {
		t.Errorf("the lock is still there: %v", err)
	}
	close(stop)
	stopped.Wait()
}
