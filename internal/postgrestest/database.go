package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/google/uuid"
)

// Variable names the environment variable with the URL of a server that tests may make databases on.
const Variable = "TOLLGATE_TEST_DATABASE"

// shared is the server of this process's tests. Main makes and ends it.
var shared struct {
	mu      sync.Mutex
	started bool
	server  *Server
	dir     string
	url     string // of a database to make others from
	err     error
	skipped int
}

// Main runs a package's tests and then ends the server they used. It is called by TestMain.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain that does more: it returns the exit code.
func Run(m *testing.M) int {
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		if err := errors.Join(shared.server.Stop(), os.RemoveAll(shared.dir)); err != nil {
			fmt.Fprintln(os.Stderr, "ending PostgreSQL:", err)
		}
	}
	if shared.skipped > 0 {
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED %d tests that need PostgreSQL: %v ***\n\n", shared.skipped, shared.err)
	}
	return code
}

// Database returns the URL of a fresh, empty database, which is dropped when the test ends.
func Database(t testing.TB) string {
	t.Helper()
	base, err := server()
	if errors.Is(err, ErrNotInstalled) && os.Getenv("CI") == "" {
		shared.mu.Lock()
		shared.skipped++
		shared.mu.Unlock()
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := "t_" + uuid.NewString()
	if err := run(base, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run(base, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
			t.Logf("dropping the test's database: %v", err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func run(base, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// server returns the URL of the shared server, started when first asked for.
func server() (string, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.started {
		return shared.url, shared.err
	}
	shared.started = true
	if given := os.Getenv(Variable); given != "" {
		shared.url = given
		return given, nil
	}
	if _, shared.err = Binaries(); shared.err != nil {
		return "", shared.err
	}
	if shared.dir, shared.err = os.MkdirTemp("", "postgrestest"); shared.err != nil {
		return "", shared.err
	}
	if shared.server, shared.err = New(shared.dir); shared.err != nil {
		return "", shared.err
	}
	shared.url = shared.server.URL("postgres")
	return shared.url, nil
}
