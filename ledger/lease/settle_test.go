package lease

import (
	"math"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
)

// A replica that has a lower amount for a limit than the others is started anew, leaves, or is taken for gone and comes
// back. Its slots are free, but the lower amount counts again as soon as the replica does, not when its first call asks.
func TestALowerAmountOutlivesTheSlots(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	row := capRow{key: caps.Key{Limit: "l"}, replica: "r", kind: caps.Slots, amount: 2, cap: 2, used: 1, held: 1, seen: now.Add(-time.Second)}
	me := replicaRow{id: "r", incarnation: "old", token: "t", seen: now.Add(-time.Second)}
	gone := me
	gone.gone, gone.incarnation = now.Add(-time.Hour), "new"
	for _, tt := range []struct {
		name string
		me   replicaRow
		r    request
	}{
		{"started anew", me, request{id: "r", incarnation: "new", join: true}},
		{"back from being gone", gone, request{id: "r", incarnation: "new", tokens: []string{"t"}, restore: true}},
		{"leaves", me, request{id: "r", incarnation: "old", tokens: []string{"t"}, leave: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, w := settle(&state{now: now, me: &tt.me, mine: []capRow{row}}, &tt.r)
			want := row
			want.cap, want.used, want.held, want.seen = 0, 0, 0, now
			if got.verdict != done || len(got.have) > 0 || len(w.caps) != 1 || w.caps[0] != want {
				t.Errorf("verdict %d, has %v, rows %+v", got.verdict, got.have, w.caps)
			}
		})
	}
}

// What calls took may be absurd, for upstreams say it. Sums of it leave nothing, however many replicas have it.
func TestNothingIsLeftBesideAbsurdDebts(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	key := caps.Key{Limit: "l"}
	me := replicaRow{id: "r", incarnation: "i", token: "t", seen: now}
	row := capRow{key: key, kind: caps.Sliding, amount: 100, cap: math.MaxInt64, used: math.MaxInt64}
	a, b := row, row
	a.replica, b.replica = "a", "b"
	for _, keep := range []int64{0, math.MaxInt64} {
		s := &state{now: now, me: &me, live: 3, pools: map[caps.Key]*poolRow{key: {key: key}}, caps: map[caps.Key][]capRow{key: {a, b}}}
		change := caps.Change{Key: key, Kind: caps.Sliding, Amount: 100, Keep: keep, Need: 5, Want: 50}
		got, _ := settle(s, &request{id: "r", incarnation: "i", tokens: []string{"t"}, changes: []caps.Change{change}})
		if got.verdict != done || got.results[0].Cap != keep || got.results[0].Left != 0 {
			t.Errorf("with %d: %+v", keep, got.results)
		}
	}
}
