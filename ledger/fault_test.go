package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// reservedOf counts the calls of a set that have an entry.
func reservedOf(t *testing.T, dir durable.Dir, calls map[string]bool) (found int) {
	t.Helper()
	r := ledger.NewReader(dir, journal.Position{})
	defer r.Close()
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == ledger.Reserved && calls[e.ID.String()] {
			found++
		}
	}
	return found
}

// While the disk is broken every call is refused and none is counted; ends that could not be written are written later.
func TestBrokenDiskRefusesCallsAndKeepsEnds(t *testing.T) {
	disk := durabletest.New()
	l, err := ledger.Open(ledger.Config{Storage: disk})
	if err != nil {
		t.Fatal(err)
	}
	l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, "2 calls / 1d")})
	r, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5})
	if err != nil {
		t.Fatal(err)
	}
	disk.Break(func(op durabletest.Op, _ string) durabletest.Fault {
		if op == durabletest.Write {
			return durabletest.Lost
		}
		return durabletest.None
	})
	for range 5 {
		if _, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5}); !errors.Is(err, ledger.ErrUnwritable) {
			t.Fatalf("on a broken disk: %v", err)
		}
	}
	if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 4}}); !errors.Is(err, ledger.ErrUnwritable) {
		t.Errorf("the end on a broken disk: %v", err)
	}
	if err := l.Deny(toolCall(), nil, "no"); !errors.Is(err, ledger.ErrUnwritable) {
		t.Errorf("a denial on a broken disk: %v", err)
	}
	disk.Break(nil)
	r, err = l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5})
	if err != nil {
		t.Fatalf("the first call after: %v", err)
	}
	if err := r.Void(ledger.Outcome{Status: ledger.Unsent}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := ledger.CheckStorage(disk)
	if err != nil || report.Open != 0 || report.Posted != 1 || report.Cost != 4 {
		t.Errorf("%+v, %v", report, err)
	}
}
