package checker

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// write has the ledger itself write a journal of two starts with a call each, of which the second stays open.
func write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 2 {
		l, err := ledger.Open(ledger.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := policy.Call{
			Principal: &policy.Principal{Key: "a", KeyID: "k_a"}, Action: policy.Chat, Upstream: "alpha", Target: "steady",
			TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		}
		r, err := l.Reserve(context.Background(), &c, nil, ledger.Hold{Cost: 5, Worst: 9, Tokens: 3, WorstTokens: 4})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			used := ledger.Usage{Cost: 4, Estimated: true, Quantities: ledger.Quantities{InputTokens: 1, OutputTokens: 2, Calls: 1}}
			if err := r.Post(ledger.Outcome{Status: ledger.Cut, Usage: used}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatTheLedgerWroteIsRead(t *testing.T) {
	got, err := ReadJournal(write(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Writer == got[2].Writer || got[2].Seq != 1 {
		t.Fatalf("read %+v", got)
	}
	reserved, posted := got[0], got[1]
	if reserved.Kind != Reserved || reserved.Hold != 5 || reserved.HoldTokens != 3 || reserved.Trace != "4bf92f3577b34da6a3ce929d0e0e4736" ||
		reserved.path() != "alpha/steady" || !reserved.governed() || reserved.Time == 0 {
		t.Errorf("reserved: %+v", reserved)
	}
	if posted.Kind != Posted || posted.Resolves != reserved.ID || posted.Cost != 4 || posted.Tokens != 3 || !posted.Estimated || posted.Status != "cut" {
		t.Errorf("posted: %+v", posted)
	}
}

// Whatever bit of what was written is changed, the reader says so.
func TestAChangedJournalIsNotRead(t *testing.T) {
	dir := write(t)
	names, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(names) != 2 {
		t.Fatalf("%q, %v", names, err)
	}
	first, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var whole walk
	if err := whole.segment(first); err != nil {
		t.Fatal(err)
	}
	end := 0
	for i, b := range first {
		if b != 0 {
			end = i + 1
		}
	}
	for i := range end {
		changed := append([]byte(nil), first...)
		changed[i] ^= 1
		if w := (walk{}); w.segment(changed) == nil && len(w.entries) == len(whole.entries) {
			t.Errorf("byte %d may be changed", i)
		}
	}
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadJournal(dir); err != nil || len(got) != 1 {
		t.Errorf("the beginning may have been retired: %v", err)
	}
	w := whole
	w.chain[0] ^= 1
	second, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	if w.segment(second) == nil {
		t.Error("a segment may follow another than its own predecessor")
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range []string{"", "\x08\x02", "\x12\x10", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x19\x00\x00\x00\x00\x00\x00\x00\x01\xfa\x01\x02\x08\x05"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decode(b)
		_ = (&walk{}).segment(b)
	})
}
