package index_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// engine is where an index lies. The zero engine is SQLite.
type engine struct {
	db      *postgres.DB
	plain   bool // without partitions and notices, as on CockroachDB
	replica string
}

func (e *engine) open(dir string, l *ledger.Ledger) (*index.Index, error) {
	if e.db == nil {
		return index.Open(index.Path(dir), l)
	}
	name := e.replica
	if name == "" {
		name = "replica of " + dir
	}
	return index.OpenPlain(context.Background(), e.db, name, l, !e.plain)
}

// onEach runs a test on every engine.
func onEach(t *testing.T, test func(t *testing.T, on *engine)) {
	t.Run("sqlite", func(t *testing.T) { test(t, &engine{}) })
	t.Run("postgres", func(t *testing.T) { test(t, &engine{db: database(t, postgrestest.Database(t))}) })
	t.Run("like cockroach", func(t *testing.T) {
		db := database(t, postgrestest.Database(t))
		db.WithoutNotices()
		test(t, &engine{db: db, plain: true})
	})
}

func database(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(url), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func isFilterError(err error) bool {
	_, ok := errors.AsType[*index.FilterError](err)
	return ok
}

// TestSuite is what every engine must do alike.
func TestSuite(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *engine){
		"filters find calls":               testFiltersFindCalls,
		"pages cover everything once":      testPagesCoverEverythingOnce,
		"entries are those of the journal": testEntriesAreThoseOfTheJournal,
		"it goes on after a salvage":       testGoesOnAfterSalvage,
		"the journal begins later":         testJournalBeginsLater,
		"old calls go":                     testOldCallsGo,
		"any text is taken":                testAnyTextIsTaken,
		"replay changes nothing":           testReplayChangesNothing,
		"replicas add up":                  testReplicasAddUp,
		"usage sums up":                    testUsageSumsUp,
	} {
		t.Run(name, func(t *testing.T) { onEach(t, test) })
	}
}
