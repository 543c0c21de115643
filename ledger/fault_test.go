package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// Every operation on the disk fails once, in each way. A call that was let through has its entry afterwards, whether the
// process goes on, is killed or loses its power; a call that was refused holds nothing; no limit is exceeded and the
// balances are what the entries come to.
func TestEveryOperationOnTheDiskMayFail(t *testing.T) {
	for _, durability := range []ledger.Durability{ledger.Strict, ledger.Overlap} {
		operations := oneRun(t, durability, 0, durabletest.None)
		if operations < 20 {
			t.Fatalf("only %d operations seen", operations)
		}
		for n := 1; n <= operations; n++ {
			for _, fault := range []durabletest.Fault{durabletest.Lost, durabletest.Half, durabletest.Kept} {
				t.Run(fmt.Sprintf("%s/%d of %d fails/%d", durability, n, operations, fault), func(t *testing.T) {
					oneRun(t, durability, n, fault)
				})
			}
		}
	}
}

const callsMax = 7

func oneRun(t *testing.T, durability ledger.Durability, failing int, fault durabletest.Fault) (operations int) {
	disk := durabletest.New()
	cfg := ledger.Config{Storage: disk, Durability: durability, DigestKey: []byte("key"), SegmentBytes: 1000}
	l, err := ledger.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	at := map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, fmt.Sprintf("%d calls / 1d", callsMax), "2 concurrent")}
	l.SetLimits(at)
	disk.Break(func(durabletest.Op, string) durabletest.Fault {
		operations++
		if operations == failing {
			return fault
		}
		return durabletest.None
	})
	left := map[string]bool{} // calls that were let through, and whether they have ended
	refused := 0
	for i := range callsMax + 2 {
		r, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5})
		switch {
		case errors.Is(err, ledger.ErrUnwritable):
			refused++
			continue
		case err != nil:
			if _, ok := errors.AsType[*ledger.LimitError](err); !ok || len(left) < callsMax {
				t.Fatalf("call %d, after %d that left: %v", i, len(left), err)
			}
			continue
		}
		left[r.ID()] = true
		if r.Synced(context.Background()) == nil {
			entriesOf(t, "power loss", disk.PowerLoss(func() bool { return false }), left)
		}
		entriesOf(t, "kill", disk.Kill(), left)
		if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 3}}); err != nil && !errors.Is(err, ledger.ErrUnwritable) {
			t.Fatal(err)
		}
	}
	if failing == 0 && (refused != 0 || len(left) != callsMax) {
		t.Fatalf("%d refused and %d let through on a good disk", refused, len(left))
	}
	disk.Break(nil)
	if _, err := l.Check(context.Background()); err != nil {
		if _, err = l.Check(context.Background()); err != nil { // the first met what the disk had left
			t.Fatal(err)
		}
	}
	for _, b := range l.Balances() {
		if b.Held != 0 || b.Limit.Unit == ledger.UnitCalls && b.Used != int64(len(left)) {
			t.Errorf("%s: used %d, held %d after %d calls", b.Limit.Text, b.Used, b.Held, len(left))
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := ledger.CheckStorage(disk)
	if err != nil || report.Open != 0 || report.Posted != len(left) {
		t.Errorf("at the end: %+v, %v; %d calls left", report, err, len(left))
	}
	return operations
}

// entriesOf starts a ledger on what is left of a disk and checks that it has every call that left.
func entriesOf(t *testing.T, after string, disk *durabletest.Disk, left map[string]bool) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Storage: disk, DigestKey: []byte("key")})
	if err != nil {
		t.Fatalf("after %s: %v", after, err)
	}
	if _, err := l.Check(context.Background()); err != nil {
		t.Fatalf("after %s: %v", after, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if found := reservedOf(t, disk, left); found != len(left) {
		t.Errorf("after %s: %d of %d calls that left have an entry", after, found, len(left))
	}
	report, err := ledger.CheckStorage(disk)
	if err != nil || report.Open != 0 {
		t.Errorf("after %s: %+v, %v", after, report, err)
	}
}

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
