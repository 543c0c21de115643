package retention

import (
	"math"
	"testing"

	"github.com/tollgate/tollgate/ledger/journal"
)

// The one who is furthest behind decides; whoever lets go no longer counts.
func TestWhoeverIsFurthestBehindKeepsTheJournal(t *testing.T) {
	var k Keeps
	is := func(when string, segment uint64, name string) {
		t.Helper()
		if s, n := k.First(); s != segment || n != name {
			t.Errorf("%s: %q keeps segment %d, want %q, %d", when, n, s, name, segment)
		}
	}
	is("nobody", math.MaxUint64, "")
	at := journal.Position{Segment: 7}
	index := k.Add("index", func() journal.Position { return at })
	is("index", 7, "index")
	r := k.Reader(journal.Position{Segment: 3})
	is("a reader from 3 on", 3, "a reader")
	if ran, _ := k.unread(3, func() error { return nil }); ran {
		t.Error("what a reader stands in could be removed")
	}
	r.Passed(9)
	if ran, _ := k.unread(8, func() error { return nil }); !ran {
		t.Error("what nobody reads could not be removed")
	}
	is("the reader has come to 9", 7, "index")
	at.Segment = 12
	is("the index has come to 12", 9, "a reader")
	r.Release()
	is("the reader is closed", 12, "index")
	index.Release()
	index.Release()
	is("all let go", math.MaxUint64, "")
	var none *Keeper
	none.Passed(1)
	none.Release()
}
