package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

// Operators' questions that the database cannot answer now keep nothing from calls: what calls depend on has connections
// of its own.
func TestQuestionsKeepNothingFromCalls(t *testing.T) {
	database := postgrestest.Database(t)
	common, dir := newAmong(t, database)
	a := startReplica(t, common, dir, "a")
	minted := a.run("key", "mint", "bot")
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn, watch := connect(), connect()
	defer conn.Close(t.Context())
	defer watch.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE index_calls IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(a.dir, "data", tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	var asked sync.WaitGroup
	for range 30 {
		asked.Go(func() {
			_, _, _ = request("GET", a.admin+"/api/v1/calls?wait=false", "", "Authorization: Bearer "+strings.TrimSpace(string(token)))
		})
	}
	until(t, "questions that wait", func() bool {
		var n int
		if err := watch.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n >= 4
	})
	for since := time.Now(); time.Since(since) < 4*time.Second; { // four times as long as a replica serves without contact
		for _, key := range []string{devKey, minted} {
			if status, answer := a.chat(key); status != http.StatusOK {
				t.Fatalf("after %s: %d %s", time.Since(since), status, answer)
			}
		}
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	asked.Wait()
}
