package ledger_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// A real disk fills up while calls are under way: no further call is made, those under way get their ends, everything that
// only reads answers, and when there is room calls go on by themselves.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(durabletest.SmallDisk(t, "size=32m"), "journal")
	l := open(t, ledger.Config{Dir: dir, SegmentBytes: 256 << 10})
	l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, "100000 calls / 1d")})
	var under []*ledger.Reservation
	reserve := func() error {
		r, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5})
		if err == nil {
			under = append(under, r)
		}
		return err
	}
	for range 2000 {
		if err := reserve(); err != nil {
			t.Fatal(err)
		}
	}
	remove := durabletest.Fill(t, filepath.Dir(dir))
	var err error
	for err == nil && len(under) < 100_000 {
		err = reserve()
	}
	if !errors.Is(err, ledger.ErrUnwritable) || !durable.IsFull(err) || !strings.Contains(err.Error(), "the disk of "+dir+" is full: make room there") {
		t.Fatalf("after %d calls: %v", len(under), err)
	}
	for i, r := range under {
		if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 3}}); err != nil {
			t.Fatalf("the end of call %d of %d: %v", i, len(under), err)
		}
	}
	if err := l.Sync(context.Background()); err != nil {
		t.Errorf("the ends are not synced: %v", err)
	}
	if err := l.Ready(); !durable.IsFull(err) {
		t.Errorf("ready on a full disk: %v", err)
	}
	if b := l.Balances(); b[0].Used != int64(len(under)) || b[0].Held != 0 {
		t.Errorf("%+v", b)
	}
	r := l.Reader(journal.Position{})
	entries := 0
	for range r.All() {
		entries++
	}
	if r.Close(); entries != 2*len(under) {
		t.Errorf("%d entries of %d calls can be read", entries, len(under))
	}
	remove()
	if err := reserve(); err != nil {
		t.Fatalf("there is room: %v", err)
	}
	if err := errors.Join(under[len(under)-1].Post(ledger.Outcome{Status: ledger.OK}), l.Close()); err != nil {
		t.Fatal(err)
	}
	if report, err := ledger.Check(dir); err != nil || report.Posted != len(under) || report.Open != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
