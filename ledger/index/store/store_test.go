package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/store"
)

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

// entries are those of one writer: a call that ends, one that is extended and ends, one that is refused, an act.
func entries() []ledger.Entry {
	first, second := ledger.NewID(noon), ledger.NewID(noon)
	who := ledger.Who{Team: "platform", Key: "bot"}
	var out []ledger.Entry
	for i, e := range []ledger.Entry{
		{ID: first, Kind: ledger.Reserved, Who: who, Action: "tool.call", Upstream: "tracker", Target: "search"},
		{ID: ledger.NewID(noon), Kind: ledger.Posted, Resolves: first, Who: who, Action: "tool.call", Upstream: "tracker", Target: "search", Status: ledger.OK, Cost: 5},
		{ID: second, Kind: ledger.Reserved, Who: who, Action: "llm.chat", Upstream: "openai", Target: "gpt-5"},
		{ID: ledger.NewID(noon), Kind: ledger.Reserved, Resolves: second, Who: who, Action: "llm.chat", Upstream: "openai", Target: "gpt-5"},
		{ID: ledger.NewID(noon), Kind: ledger.Posted, Resolves: second, Who: who, Action: "llm.chat", Upstream: "openai", Target: "gpt-5", Status: ledger.Cut, Cost: 7, Estimated: true},
		{ID: ledger.NewID(noon), Kind: ledger.Denied, Who: who, Action: "tool.call", Upstream: "tracker", Target: "delete"},
		{ID: ledger.NewID(noon), Kind: ledger.Admin, Detail: "an act"},
	} {
		e.Time, e.Writer, e.Seq = noon.Add(time.Duration(i)*time.Minute), "w", uint64(i+1)
		out = append(out, e)
	}
	return out
}

// numbering numbers lanes as they come.
func numbering() func(*store.Lane) (store.LaneNumbers, error) {
	known := map[store.Lane]int64{}
	number := func(l store.Lane) int64 {
		if known[l] == 0 {
			known[l] = int64(len(known) + 1)
		}
		return known[l]
	}
	return func(l *store.Lane) (store.LaneNumbers, error) {
		return store.LaneNumbers{Lane: number(*l), Who: number(l.Who()), What: number(l.What())}, nil
	}
}

func TestABatchJoinsCallsAndSumsUpTheirUse(t *testing.T) {
	all := entries()
	for cut := range len(all) + 1 {
		b := store.NewBatch()
		b.Reset(40)
		for i := range all {
			b.Add(&all[i], all[i].Append(nil), uint64(cut)) // the database has the first ones
		}
		if b.Size != len(all) {
			t.Errorf("%d entries were read", b.Size)
		}
		if cut == len(all) {
			if len(b.Rows)+len(b.Ends)+len(b.Writers) > 0 {
				t.Error("what is stored is stored again")
			}
			continue
		}
		if want := []store.Span{{Writer: "w", From: uint64(cut), To: 7}}; !slices.Equal(b.Writers, want) {
			t.Errorf("%v, want %v", b.Writers, want)
		}
		seen := 0
		for _, r := range b.Rows {
			parsed, err := store.ParsePayloads(r.Payloads)
			if err != nil {
				t.Fatal(err)
			}
			seen += len(parsed)
		}
		for _, f := range b.Ends {
			parsed, err := store.ParsePayloads(f.Payloads)
			if err != nil {
				t.Fatal(err)
			}
			seen += len(parsed)
			if o := f.Orphan(); o.ID != parsed[0].Resolves || o.Kind != f.Kind {
				t.Errorf("%+v", o)
			}
		}
		if seen != len(all)-cut {
			t.Errorf("%d of %d entries are in the batch", seen, len(all)-cut)
		}
		var ends []store.Ended
		for i := range b.Ends {
			if b.Ends[i].End != nil {
				ends = append(ends, store.Ended{Hour: store.HourOf(noon), Entry: b.Ends[i].End})
			}
		}
		once, err := b.Roll(ends, numbering())
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.Roll(ends, numbering()) // a transaction that is tried again
		if err != nil {
			t.Fatal(err)
		}
		for table := range once {
			var cost ledger.Nano
			for i, r := range once[table] {
				cost += r.Cost
				if i > 0 && (once[table][i-1].Hour > r.Hour || once[table][i-1].Hour == r.Hour && once[table][i-1].Lane >= r.Lane) {
					t.Error("sums are out of order")
				}
			}
			var twice ledger.Nano
			for _, r := range again[table] {
				twice += r.Cost
			}
			want := ledger.Nano(0)
			for _, e := range all[cut:] {
				want += e.Cost
			}
			if cost != want || twice != want {
				t.Errorf("from entry %d on, table %d comes to %d and then %d, want %d", cut, table, cost, twice, want)
			}
		}
	}
}

func TestPlacesAreOrdered(t *testing.T) {
	places := []store.Place{{At: 1, Feed: 2}, {At: 1, Feed: 3}, {At: 2, Feed: 1}}
	for i := range places {
		for j := range places {
			if got, want := places[i].Compare(places[j]), min(1, max(-1, i-j)); got != want {
				t.Errorf("%v and %v: %d, want %d", places[i], places[j], got, want)
			}
		}
	}
}

func FuzzParsePayloads(f *testing.F) {
	b := store.NewBatch()
	for _, e := range entries() {
		b.Add(&e, e.Append(nil), 0)
	}
	for _, r := range b.Rows {
		f.Add(r.Payloads)
	}
	f.Add([]byte{1, 1, 'w', 200})
	f.Fuzz(func(t *testing.T, payloads []byte) {
		parsed, err := store.ParsePayloads(payloads)
		if err == nil && len(parsed) == 0 {
			t.Error("a row without entries is taken")
		}
		_ = fmt.Sprintf("%+v", parsed)
	})
}
