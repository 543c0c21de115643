package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/checker"
	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

func TestLowerLimitsHoldWhileTheirReplicaIsThere(t *testing.T) {
	second := int64(time.Second)
	for _, tt := range []struct {
		name   string
		faults []evidence.Fault
		want   [][2]int64
	}{
		{"nothing happened", nil, [][2]int64{{100, 200}}},
		{"killed and back at once", []evidence.Fault{{At: 120, Until: 123, Kind: faultKill, On: "r"}}, [][2]int64{{100, 200}}},
		{"killed for long", []evidence.Fault{{At: 120, Until: 125, Kind: faultKill, On: "r"}}, [][2]int64{{100, 120}, {132, 200}}},
		{"stopped, which it tells", []evidence.Fault{{At: 120, Until: 121, Kind: faultStop, On: "r"}}, [][2]int64{{100, 120}, {128, 200}}},
		{"another was killed for long", []evidence.Fault{{At: 120, Until: 130, Kind: faultKill, On: "s"}}, [][2]int64{{100, 200}}},
		{"its clock was wrong for long", []evidence.Fault{{At: 120, Until: 130, Kind: faultClock, On: "r"}}, [][2]int64{{100, 200}}},
		{"no database for long, across the end", []evidence.Fault{{At: 190, Until: 199, Kind: faultCrash, On: database}}, [][2]int64{{100, 190}}},
		{"no database for long, across the beginning", []evidence.Fault{{At: 90, Until: 99, Kind: faultCrash, On: database}}, [][2]int64{{106, 200}}},
		{"twice, one in the other's wake", []evidence.Fault{
			{At: 120, Until: 125, Kind: faultCut, On: "r"}, {At: 128, Until: 138, Kind: faultCrash, On: database},
		}, [][2]int64{{100, 120}, {145, 200}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.faults {
				tt.faults[i].At *= second
				tt.faults[i].Until *= second
			}
			var got [][2]int64
			for _, l := range held(checker.Lowered{From: 100 * second, Until: 200 * second}, "r", tt.faults) {
				got = append(got, [2]int64{l.From / second, l.Until / second})
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("held in %v, want %v", got, tt.want)
			}
		})
	}
}
