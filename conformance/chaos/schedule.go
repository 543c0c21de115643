package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kinds of faults.
const (
	faultKill     = "kill"        // SIGKILL, then a start on the same data directory
	faultStop     = "stop"        // SIGTERM, then a start
	faultFreeze   = "freeze"      // SIGSTOP, for less or more than a lease lasts, then SIGCONT
	faultHang     = "disk hangs"  // writes wait
	faultFull     = "disk full"   // nothing can be written
	faultFullKill = "full, kill"  // killed with a full disk, and started on it
	faultClock    = "clock jumps" // by seconds or hours, forwards or back, and back again
	faultCut      = "line cut"    // to the database
	faultHole     = "line black"  // nothing passes, nobody is told
	faultSlow     = "line slow"
	faultHalf     = "line half" // answers of the database do not arrive
	faultLose     = "lose data" // killed, and the data directory is gone for good
	faultLower    = "lower"     // a config with lower limits, on this replica alone
	faultRaise    = "raise"     // the config from before
	faultRestart  = "restart"   // of the database
	faultCrash    = "crash"     // of the database
	faultFailover = "failover"  // the database is killed and its standby takes over
)

// step is one fault of the schedule.
type step struct {
	Pause time.Duration // after the step before of the same track
	Kind  string
	Span  time.Duration // how long it lasts
	By    time.Duration // of clock jumps
}

// track is what happens to one victim, one step after the other.
type track struct {
	On    string
	Steps []step
}

// means is what can be done.
type means struct {
	shared, disk, clock bool
}

// weights say how often each kind of fault is done to a replica.
func (m means) kinds() []string {
	kinds := []string{faultKill, faultKill, faultKill, faultStop, faultFreeze, faultFreeze}
	if m.disk {
		kinds = append(kinds, faultHang, faultFull, faultFullKill)
	}
	if m.shared {
		kinds = append(kinds, faultCut, faultCut, faultHole, faultHole, faultSlow, faultHalf)
	}
	if m.clock {
		kinds = append(kinds, faultClock, faultClock, faultClock)
	}
	return kinds
}

// The pace of faults.
const (
	pauseLeast, pauseMost     = time.Second, 5 * time.Second       // of a replica
	restsLeast, restsMost     = 12 * time.Second, 30 * time.Second // of the database
	spanLeast, spanMost       = 200 * time.Millisecond, 9 * time.Second
	gentleMost                = 2 * time.Second
	spanShare                 = 10
	clockJumpMost             = 3 * time.Hour
	restartLeast, restartMost = 500 * time.Millisecond, 9 * time.Second
	loseAt                    = 0.55 // of the run: the data of the last replica is lost
	lowerAt, raiseAt          = 0.25, 0.7
	failoverAt                = 0.8
)

// draw makes the schedule of a run: what happens to each replica, and to the database.
func draw(seed uint64, length time.Duration, replicas []string, m means) []track {
	var out []track
	for i, name := range replicas {
		var fixed []fixedStep
		if i == 0 {
			fixed = append(fixed, fixedStep{lowerAt, faultLower}, fixedStep{raiseAt, faultRaise})
		}
		if m.shared && i == len(replicas)-1 {
			fixed = append(fixed, fixedStep{loseAt, faultLose})
		}
		kinds := m.kinds()
		d := dice{rand.New(rand.NewPCG(seed, uint64(i)))}
		out = append(out, track{name, d.steps(length, fixed, func() step {
			s := step{Pause: d.span(pauseLeast, pauseMost), Kind: kinds[d.IntN(len(kinds))], Span: d.span(spanLeast, spanMost)}
			if s.Kind == faultClock {
				s.By = d.jump()
			}
			return s
		})})
	}
	if m.shared {
		d := dice{rand.New(rand.NewPCG(seed, uint64(len(replicas))))}
		out = append(out, track{database, d.steps(length, []fixedStep{{failoverAt, faultFailover}}, func() step {
			return step{Pause: d.span(restsLeast, restsMost), Kind: []string{faultRestart, faultCrash}[d.IntN(2)], Span: d.span(restartLeast, restartMost)}
		})})
	}
	return out
}

// database is the name of the track of the database.
const database = "database"

// fixedStep is a fault that comes once, at that part of the run.
type fixedStep struct {
	at   float64
	kind string
}

// steps draws steps until the length is filled; those that are fixed come when it is their time. While a replica has lower
// limits it is not taken away for long: they hold for the others only as long as it is one of them.
func (d dice) steps(length time.Duration, fixed []fixedStep, next func() step) []step {
	var out []step
	lowered := false
	for at := time.Duration(0); at < length; {
		s := next()
		s.Span = min(s.Span, length/spanShare) // a short run is to have several
		if len(fixed) > 0 && at >= time.Duration(fixed[0].at*float64(length)) {
			s.Kind, s.By, fixed = fixed[0].kind, 0, fixed[1:]
			lowered = s.Kind == faultLower
		}
		if lowered {
			s.Span = min(s.Span, gentleMost)
			if s.Kind == faultStop {
				s.Kind = faultKill
			}
		}
		out = append(out, s)
		at += s.Pause + s.Span
	}
	return out
}

type dice struct{ *rand.Rand }

func (d dice) span(least, most time.Duration) time.Duration {
	return least + time.Duration(d.Int64N(int64(most-least)))
}

// jump is a small or a large error of a clock, in either direction.
func (d dice) jump() time.Duration {
	by := d.span(0, []time.Duration{5 * time.Second, 2 * time.Minute, clockJumpMost}[d.IntN(3)])
	if d.IntN(2) == 0 {
		return -by
	}
	return by
}

func (s step) String() string {
	text := fmt.Sprintf("%s for %s", s.Kind, s.Span.Round(time.Millisecond))
	if s.By != 0 {
		text += fmt.Sprintf(", by %s", s.By.Round(time.Millisecond))
	}
	return text
}
