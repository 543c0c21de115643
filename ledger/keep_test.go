package ledger

import (
	"math"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger/journal"
)

// The one who is furthest behind decides; whoever lets go no longer counts.
func TestWhoeverIsFurthestBehindKeepsTheJournal(t *testing.T) {
	l, err := Open(Config{Storage: durabletest.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	is := func(when string, segment uint64, name string) {
		t.Helper()
		if s, n := l.keeps.first(); s != segment || n != name {
			t.Errorf("%s: %q keeps segment %d, want %q, %d", when, n, s, name, segment)
		}
	}
	is("nobody", math.MaxUint64, "")
	at := journal.Position{Segment: 7}
	release := l.Keep("index", func() journal.Position { return at })
	is("index", 7, "index")
	r := l.Reader(journal.Position{Segment: 3})
	is("a reader from 3 on", 3, "a reader")
	r.keeper.passed(9)
	is("the reader has come to 9", 7, "index")
	at.Segment = 12
	is("the index has come to 12", 9, "a reader")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	is("the reader is closed", 12, "index")
	release()
	release()
	is("all let go", math.MaxUint64, "")
}
