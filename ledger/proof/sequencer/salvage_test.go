package sequencer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

// salvage damages the nth frame of a segment, from 0 on, gives up what follows and starts again as ledger.Open does. It
// returns where the journal ended by that.
func (r *replica) salvage(segment uint64, nth int, tells bool) journal.Position {
	r.t.Helper()
	if err := r.journal.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.journal = nil
	name := fmt.Sprintf("%012d.journal", segment)
	text, err := r.disk.ReadFile(name)
	if err != nil {
		r.t.Fatal(err)
	}
	rest := text[8+16+8+32+4:]
	for range nth {
		if _, rest, err = journal.ReadRaw(rest); err != nil {
			r.t.Fatal(err)
		}
	}
	rest[60] ^= 1
	if err := r.disk.Replace(name, text); err != nil {
		r.t.Fatal(err)
	}
	d, err := journal.Salvage(r.disk, func() error { return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	r.start()
	if tells {
		now := r.clock.Now()
		e := ledger.Entry{ID: ledger.NewID(now), Time: now, Kind: ledger.Admin, Action: ledger.SalvageAction, Status: ledger.OK}
		if _, err := r.journal.Stage(e.Append(nil)); err != nil {
			r.t.Fatal(err)
		}
	}
	return d.Last
}

// exported is an export of all, and what a verifier that accepts lost entries, and one that does not, say of it.
func exported(t *testing.T, s *Store, x Range) (text string, accepting, strict proof.Report) {
	t.Helper()
	var out strings.Builder
	if _, err := s.Export(context.Background(), &out, x); err != nil {
		t.Fatal(err)
	}
	reports := [2]proof.Report{}
	for i := range reports {
		trust, err := proof.NewTrust(verifier(t, s, 1))
		if err == nil {
			reports[i], err = proof.Verify(context.Background(), proof.NewLines(strings.NewReader(out.String())), proof.Options{Trust: trust, AcceptLost: i == 0})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String(), reports[0], reports[1]
}

func TestTheProofGoesOnAfterASalvage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write func(r *replica, settle func())
		harm  func(r *replica)
		lost  int64 // in the file store: frames that the disk has lost and the tree has
		kept  int64 // entries of the tree in the end, the lost ones among them
	}{
		{"in a writer", func(r *replica, settle func()) { r.write(5); settle(); r.write(5); settle(); r.write(1) },
			func(r *replica) { r.salvage(1, 6, true); r.write(3) }, 1, 10 + 4},
		{"in a block that is not full", func(r *replica, settle func()) { r.write(260); settle(); r.write(400); settle(); r.write(1) },
			func(r *replica) { r.salvage(2, 270, true); r.write(600) }, 1, 660 + 601},
		{"several writers", func(r *replica, settle func()) {
			r.write(5)
			settle()
			r.start()
			r.write(5)
			settle()
			r.start()
			r.write(5)
			settle()
		},
			func(r *replica) { r.salvage(1, 2, true); r.write(3) }, 1, 15 + 4},
		{"a whole writer but its beginning", func(r *replica, settle func()) { r.write(5); r.start(); r.write(5); settle(); r.write(1) },
			func(r *replica) { r.salvage(2, 0, true); r.write(3) }, 1, 10 + 4},
		{"all", func(r *replica, settle func()) { r.write(5); r.start(); r.write(5); settle() },
			func(r *replica) { r.salvage(1, 0, true); r.write(3) }, 1, 10 + 4},
		{"twice, without the proof between", func(r *replica, settle func()) { r.write(5); r.start(); r.write(5); settle() },
			func(r *replica) {
				r.write(1)
				r.salvage(2, 2, true)
				r.write(5)
				r.write(1)
				r.salvage(3, 2, true)
				r.write(1)
			}, 1, 10 + 2 + 2},
		{"with an entry as the last that was shipped", func(r *replica, settle func()) { r.write(5); settle(); r.write(5); r.write(1) },
			func(r *replica) { r.salvage(1, 5, true); r.write(2) }, 0, 5 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			engines(t, func(t *testing.T, open func(*replica) *Store) {
				r := newReplica(t, "a")
				s := open(r)
				l := r.log(s)
				tt.write(r, func() { settle(t, l) })
				tt.harm(r)
				l = r.log(s)
				settle(t, l)
				r.write(300)
				r.clock.pass(time.Minute)
				settle(t, l)
				r.start()
				r.write(1)
				settle(t, r.log(s)) // the next start, from what is stored
				lost := tt.lost
				if s.dir == nil {
					lost = 0
				}
				text, accepting, strict := exported(t, s, Range{})
				if accepting.Bad != nil || accepting.Lost != lost || accepting.To != tt.kept+301 {
					t.Errorf("%+v, %v; log: %s", accepting, accepting.Bad, r.logged)
				}
				if (strict.Bad != nil) != (lost > 0) || lost > 0 && strict.Bad.Kind != proof.Lost {
					t.Errorf("a verifier that was not told to accept lost entries: %v", strict.Bad)
				}
				if !strings.Contains(text, string(ledger.SalvageAction)) {
					t.Error("the salvage is not told in the export")
				}
				if alarmed := strings.Contains(r.logged.String(), "was salvaged behind"); alarmed != (accepting.Salvages > 0 && tt.kept > 8) || strings.Contains(r.logged.String(), "forked") {
					t.Errorf("logged: %s", r.logged)
				}
				if got := l.Needs(); s.dir == nil && got.Segment < 2 {
					t.Errorf("retention stands: %+v", got)
				}
				for _, from := range []int64{1, 3, 7, 8, 9, 200, 256, 300} {
					if _, got, _ := exported(t, s, Range{From: from}); got.Bad != nil {
						t.Errorf("from %d: %v", from, got.Bad)
					}
				}
				for _, id := range []ledger.ID{r.ids[0], r.ids[len(r.ids)-1]} {
					if p, err := s.Prove(t.Context(), id); err != nil && !(id == r.ids[0] && lost > 0) {
						t.Error(p, err)
					}
				}
			})
		})
	}
}

// Only what says that it is a salvage may begin behind an earlier frame.
func TestASetBackJournalIsNoSalvage(t *testing.T) {
	engines(t, func(t *testing.T, open func(*replica) *Store) {
		r := newReplica(t, "a")
		s := open(r)
		r.write(5)
		settle(t, r.log(s))
		r.write(5)
		settle(t, r.log(s))
		r.write(1)
		r.salvage(1, 6, false)
		r.write(3)
		settle(t, r.log(s))
		if head, err := s.Head(t.Context()); err != nil || head.Tree.Size() != 10 || !strings.Contains(r.logged.String(), "forked") {
			t.Errorf("%+v, %v, logged: %s", head, err, r.logged)
		}
	})
}

// A salvage whose place is not one of the replica's journal is a fork.
func TestASalvageGoesOnWhereItsJournalWas(t *testing.T) {
	r := newReplica(t, "a")
	store := fileStores(t)(r)
	r.write(5)
	settle(t, r.log(store))
	end := r.log(store)
	all, err := store.places(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := all["a"].sequenced
	for _, tt := range []struct {
		name    string
		replica string
		place   journal.Position
		want    bool
	}{
		{"its last", "a", at, true},
		{"another chain value", "a", journal.Position{Writer: at.Writer, Seq: at.Seq, Chain: journal.Chain{1}}, false},
		{"a sequence that is not there", "a", journal.Position{Writer: at.Writer, Seq: at.Seq + 1, Chain: at.Chain}, false},
		{"another replica's", "b", at, false},
		{"before its first", "a", journal.Position{Writer: at.Writer, Chain: journal.Begin(at.Writer, journal.Chain{})}, true},
		{"before its first, with another chain value", "a", journal.Position{Writer: at.Writer}, false},
	} {
		if got, err := end.cfg.Store.holds(t.Context(), tt.replica, tt.place); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}
