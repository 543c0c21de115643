package collector

import (
	"math"
	"runtime"
	"slices"
	"testing"
)

func TestPercentOf(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		live, room uint64
		want       int
	}{
		{0, room, percentMax},
		{10 * mb, room, percentMax},
		{32 * mb, 64 * mb, 200},
		{64 * mb, 64 * mb, percentMin},
		{1000 * mb, 64 * mb, percentMin},
		{math.MaxUint64, 64 * mb, percentMin},
		{10 * mb, 16 * mb, 160}, // in a container of 64 MB
		{10 * mb, 0, percentMin},
	} {
		if got := percentOf(tt.live, tt.room); got != tt.want {
			t.Errorf("%d MB of which live %d: %d %%, want %d", tt.room/mb, tt.live/mb, got, tt.want)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]uint64{"max\n": math.MaxUint64, "67108864\n": 64 << 20, "": math.MaxUint64} {
		if got := parseLimit(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestSmallChangesAreNotMade(t *testing.T) {
	var set []int
	p := &pacer{room: 100, percent: percentMin, set: func(percent int) { set = append(set, percent) }}
	for _, live := range []uint64{40, 41, 39, 50, 51, 95, 100, 1000} {
		p.adjust(live)
	}
	if want := []int{250, 200, 105, 100}; !slices.Equal(set, want) {
		t.Errorf("set %v, want %v", set, want)
	}
}

// The pacer hears of each collection, not only of the first.
func TestAdjustsAfterEachCollection(t *testing.T) {
	heard := make(chan int)
	p := &pacer{room: math.MaxUint64 / 100, percent: percentMin}
	p.set = func(percent int) {
		heard <- percent
		p.percent = percentMin // so that the next one is set again
	}
	p.arm()
	for n := 0; n < 3; runtime.GC() { // the next one may come before it is waited for
		select {
		case got := <-heard:
			if got != percentMax {
				t.Errorf("%d %%", got)
			}
			n++
		default:
		}
	}
}
