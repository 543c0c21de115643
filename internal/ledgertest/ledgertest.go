// Package ledgertest gives tests a ledger that is checked whole when they end.
package ledgertest

import (
	"context"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// Open opens a ledger; without Dir and Storage in a directory of its own. When the test ends it is closed and walked:
// the hash chain holds, every call was ended exactly once, and the balances are what the entries come to. A test that
// leaves a call open on purpose uses ledger.Open.
func Open(t testing.TB, cfg ledger.Config) *ledger.Ledger {
	t.Helper()
	if cfg.Dir == "" && cfg.Storage == nil {
		cfg.Dir = t.TempDir()
	}
	l, err := ledger.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := l.Check(context.Background()) // the test's own context is over by now
		if err != nil {
			t.Error(err)
		}
		if report.Open != 0 {
			t.Errorf("%d calls were never ended", report.Open)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Entries returns all entries so far, in order.
func Entries(t testing.TB, l *ledger.Ledger) []ledger.Entry {
	t.Helper()
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := l.Reader(journal.Position{})
	defer r.Close()
	var out []ledger.Entry
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *e)
	}
	return out
}
