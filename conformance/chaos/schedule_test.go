package main

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"
)

var names = []string{"replica-1", "replica-2", "replica-3"}

func TestASeedDrawsOneSchedule(t *testing.T) {
	m := means{shared: true, disk: true, clock: true}
	one, again, other := draw(1, 10*time.Minute, names, m), draw(1, 10*time.Minute, names, m), draw(2, 10*time.Minute, names, m)
	if !reflect.DeepEqual(one, again) {
		t.Error("one seed draws two schedules")
	}
	if reflect.DeepEqual(one, other) {
		t.Error("two seeds draw one schedule")
	}
}

// Whatever the seed: all that can be done is done in ten minutes, what comes once comes once and in its order, and each
// track fills the run.
func TestASchedule(t *testing.T) {
	for seed := range uint64(50) {
		for _, m := range []means{{}, {disk: true}, {shared: true}, {shared: true, disk: true, clock: true}} {
			const length = 10 * time.Minute
			count := map[string]int{}
			for _, track := range draw(seed, length, names, m) {
				var lasts time.Duration
				for _, s := range track.Steps {
					count[s.Kind]++
					lasts += s.Pause + s.Span
					if (s.By != 0) != (s.Kind == faultClock) {
						t.Errorf("seed %d: %+v", seed, s)
					}
				}
				if lasts < length {
					t.Errorf("seed %d: %s has nothing to do after %s", seed, track.On, lasts)
				}
			}
			want := append(m.kinds(), faultLower, faultRaise)
			if m.shared {
				want = append(want, faultLose, faultFailover, faultCrash, faultRestart)
			}
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(count)); !slices.Equal(got, slices.Compact(want)) {
				t.Errorf("seed %d, %+v: drawn %q, want %q", seed, m, got, want)
			}
		}
	}
}

func TestWhatComesOnceComesOnce(t *testing.T) {
	for seed := range uint64(50) {
		for _, length := range []time.Duration{lengthShort, lengthFull} {
			tracks := draw(seed, length, names, means{shared: true, clock: true})
			for i, want := range [][]string{{faultLower, faultRaise}, nil, {faultLose}, {faultFailover}} {
				var got []string
				for _, s := range tracks[i].Steps {
					switch s.Kind {
					case faultLower, faultRaise, faultLose, faultFailover:
						got = append(got, s.Kind)
					}
				}
				// In a short run the last may come too late.
				if len(got) > len(want) || length == lengthFull && len(got) != len(want) || !reflect.DeepEqual(got, want[:len(got)]) && len(got) > 0 {
					t.Errorf("seed %d, %s, %s: %q, want %q", seed, length, tracks[i].On, got, want)
				}
			}
		}
	}
}
