package main

import (
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/checker"
	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

const (
	// absentFrom is how long a fault lasts at least after which the others may have taken a replica for gone: less than
	// they wait, which is `offline:` and a margin.
	absentFrom = 4 * time.Second
	// lowerSettles is how long after a lower limit is declared, or its replica is back, the others may still go by what they
	// were granted before: until the database has told them, or they have been without it for `offline:`.
	lowerSettles = 7 * time.Second
)

// held cuts from a time of lower limits what its replica was not there for, by its own faults or those of the database.
func held(l checker.Lowered, replica string, faults []evidence.Fault) []checker.Lowered {
	out := []checker.Lowered{l}
	for _, f := range faults {
		absent := f.Until-f.At > int64(absentFrom) || f.Kind == faultStop || f.Kind == faultFailover
		if !absent || f.On != replica && f.On != database || f.Kind == faultClock {
			continue
		}
		var cut []checker.Lowered
		for _, part := range out {
			before, after := part, part
			before.Until = min(part.Until, f.At)
			after.From = max(part.From, f.Until+int64(lowerSettles))
			for _, p := range []checker.Lowered{before, after} {
				if p.From < p.Until {
					cut = append(cut, p)
				}
			}
		}
		out = cut
	}
	return out
}
