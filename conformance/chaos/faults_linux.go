package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/checker"
	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/fleet"
)

// follow does the steps of a track until ctx ends. Each is undone before the next begins, and when ctx ends.
func (s *scene) follow(ctx context.Context, t track) error {
	for _, step := range t.Steps {
		if pause(ctx, step.Pause); ctx.Err() != nil {
			return nil
		}
		f := evidence.Fault{At: time.Now().UnixNano(), Kind: step.Kind, On: t.On, Detail: step.String()}
		err := s.do(ctx, t.On, step)
		f.Until = time.Now().UnixNano()
		_ = s.faults.Add(f) // Close tells
		if err != nil {
			return fmt.Errorf("%s on %s: %w", step.Kind, t.On, err)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// anyway is a context for what must be done even when the run ends.
func anyway(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func (s *scene) do(ctx context.Context, on string, st step) error {
	if on == "database" {
		return s.breakDatabase(ctx, st)
	}
	r := s.replicas[on]
	switch st.Kind {
	case faultKill:
		r.Kill()
		pause(ctx, min(st.Span, downMax))
		return r.Start(anyway(ctx))
	case faultStop:
		if err := r.Stop(); err != nil {
			return err
		}
		pause(ctx, min(st.Span, downMax))
		return r.Start(anyway(ctx))
	case faultFreeze:
		if err := r.Freeze(); err != nil {
			return err
		}
		pause(ctx, st.Span)
		return r.Thaw()
	case faultHang:
		return r.Disk.Hang(ctx, st.Span)
	case faultFull, faultFullKill:
		return s.fillDisk(ctx, r, st)
	case faultLose:
		lost, err := r.Lose()
		if err != nil {
			return err
		}
		s.lose(on, lost)
		pause(ctx, min(st.Span, downMax))
		return r.Start(anyway(ctx))
	case faultLower:
		return s.lower(ctx, r)
	case faultRaise:
		return s.raise(ctx, r)
	}
	return s.bend(ctx, on, st)
}

// downMax bounds how long a replica that was ended stays away: the run is about those that come back.
const downMax = 4 * time.Second

func (s *scene) fillDisk(ctx context.Context, r *fleet.Replica, st step) error {
	if err := r.Disk.Fill(); err != nil {
		return err
	}
	if st.Kind == faultFull {
		pause(ctx, st.Span)
		return r.Disk.Empty()
	}
	r.Kill()
	started := make(chan error, 1)
	go func() { started <- r.Start(anyway(ctx)) }()
	pause(ctx, st.Span)
	if err := r.Disk.Empty(); err != nil {
		return err
	}
	return <-started
}

// bend changes what a replica sees of the world, for a while.
func (s *scene) bend(ctx context.Context, on string, st step) error {
	lines := map[string]fleet.Line{faultCut: fleet.Down, faultHole: fleet.BlackHole, faultSlow: fleet.Slow, faultHalf: fleet.HalfOpen}
	line, ok := lines[st.Kind]
	switch {
	case ok:
		s.lines[on].Set(line)
		pause(ctx, st.Span)
		s.lines[on].Set(fleet.Up)
		return nil
	case st.Kind == faultClock:
		if err := s.clocks[on].Set(st.By); err != nil {
			return err
		}
		pause(ctx, st.Span)
		return s.clocks[on].Set(0)
	}
	return fmt.Errorf("nobody knows how to do this")
}

func (s *scene) breakDatabase(ctx context.Context, st step) error {
	if err := s.database.Stop(st.Kind == faultRestart); err != nil {
		return err
	}
	pause(ctx, st.Span)
	if st.Kind == faultFailover {
		return s.database.Promote()
	}
	return s.database.Start()
}

// lower gives one replica lower limits: from then on the lower must hold for all of them.
func (s *scene) lower(ctx context.Context, r *fleet.Replica) error {
	less, _ := s.plan.Lower()
	if err := r.Reload(ctx, less.Config(s.places[r.Name])); err != nil {
		return unless(ctx, err)
	}
	s.lowerFrom = time.Now().Add(lowerSettles).UnixNano()
	return nil
}

// raise takes lower back.
func (s *scene) raise(ctx context.Context, r *fleet.Replica) error {
	s.endLower()
	return unless(ctx, r.Reload(ctx, s.plan.Config(s.places[r.Name])))
}

// endLower notes until when the lower limits held.
func (s *scene) endLower() {
	if s.lowerFrom == 0 {
		return
	}
	_, changed := s.plan.Lower()
	for _, l := range changed {
		s.lowered = append(s.lowered, checker.Lowered{Limit: *l, From: s.lowerFrom, Until: time.Now().UnixNano()})
	}
	s.lowerFrom = 0
}

// unless drops an error that comes because the run is over.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
