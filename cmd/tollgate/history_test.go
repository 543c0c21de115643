package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/ledger/index"
)

// command runs the program's command line in this process.
func (r *running) command(t *testing.T, args ...string) string {
	t.Helper()
	c := command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs(append(args, "--config", r.path))
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String()
}

// Two gateways that share a database answer from each other's calls, and so does the command line when neither runs.
func TestReplicasShareTheIndex(t *testing.T) {
	if _, err := postgrestest.Binaries(); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "shared")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := postgrestest.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	t.Setenv("SHARED_SECRET", strings.Repeat("s", 40))
	lines := []string{"database: " + server.URL("postgres"), "secret_key: env:SHARED_SECRET", "advertise: 127.0.0.1:0"}
	first := startRunningIn(t, t.TempDir(), "1000 calls / 1d", lines...)
	second := startRunningIn(t, t.TempDir(), "1000 calls / 1d", lines...)
	for range 3 {
		if first.chat(t, devKey, "demo/demo") != http.StatusOK || second.chat(t, devKey, "fast") != http.StatusOK {
			t.Fatal("a call is refused")
		}
	}
	if err := first.index.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	const used = "TEAM  CALLS  DENIED  FAILED  TOKENS  INPUT_TOKENS  OUTPUT_TOKENS  COST"
	use := func(r *running) (calls int64) {
		var rows []struct{ Calls int64 }
		if err := json.Unmarshal([]byte(r.command(t, "usage", "--by", "team", "--action", "llm.*", "--format", "json")), &rows); err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		return rows[0].Calls
	}
	if n := use(second); n != 6 {
		t.Errorf("%d calls of both, want 6", n)
	}
	if table := second.command(t, "usage", "--by", "team"); !strings.HasPrefix(table, used) {
		t.Errorf("got\n%s", table)
	}
	feeds, err := second.index.Feeds(t.Context())
	if err != nil || len(feeds) != 2 || feeds[0].Replica == feeds[1].Replica {
		t.Errorf("%+v, %v", feeds, err)
	}
	metrics := httpGet(t, first)
	for _, f := range feeds {
		if !strings.Contains(metrics, `tollgate_index_lag_seconds{`) || !strings.Contains(metrics, `replica="`+f.Replica+`"`) {
			t.Errorf("metrics lack the lag of %s:\n%s", f.Replica, metrics)
		}
	}

	for _, r := range []*running{first, second} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := r.close(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := use(first); n != 6 {
		t.Errorf("%d calls of both when none runs, want 6", n)
	}
	if _, err := os.Stat(index.Path(first.file(journalDir))); err == nil {
		t.Error("there is an index in a file beside the shared one")
	}
}

// httpGet reads the page of metrics.
func httpGet(t *testing.T, r *running) string {
	t.Helper()
	status, page := r.ask(t, "http://"+r.doors.admin.Addr().String()+"/metrics", "", "")
	if status != http.StatusOK {
		t.Fatal(status)
	}
	return page
}
