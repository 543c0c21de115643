package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/checker"
	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/fleet"
	"github.com/tollgate/tollgate/conformance/chaos/load"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
	"github.com/tollgate/tollgate/conformance/launch"
)

// standbyFrom is how long a run is at least in which the database has a standby.
const standbyFrom = 2 * time.Minute

// scene is everything that stands while a run lasts.
type scene struct {
	o    *options
	dir  string
	plan *plan.Plan
	zone *fleet.Zone

	names     []string // of replicas, in order
	replicas  map[string]*fleet.Replica
	places    map[string]plan.Place
	lines     map[string]*fleet.Proxy
	clocks    map[string]*fleet.Clock
	disks     []*fleet.Disk
	database  *fleet.Database // nil: none is shared
	upstreams []*launch.Process
	faults    *evidence.Log

	lowerFrom int64 // since when a replica has lower limits; of the track of the first replica
	lowered   []checker.Lowered
	index     []checker.Indexed // what a replica answered at the end
	proof     string            // what audit verify said…
	unproven  string            // …or why it failed

	mu   sync.Mutex // guards lost
	lost []checker.Journal

	undo []func() error // what Close does, the last first
}

// stage sets the scene. After an error it is struck again.
func (o *options) stage(ctx context.Context, dir, binary string) (*scene, error) {
	s := &scene{
		o: o, dir: dir, plan: plan.New(o.length), replicas: map[string]*fleet.Replica{}, places: map[string]plan.Place{},
		lines: map[string]*fleet.Proxy{}, clocks: map[string]*fleet.Clock{},
	}
	err := s.set(ctx, binary)
	if err != nil {
		return nil, errors.Join(err, s.strike())
	}
	return s, nil
}

func (s *scene) set(ctx context.Context, binary string) (err error) {
	if s.faults, err = evidence.Create(s.faultsFile()); err != nil {
		return err
	}
	s.later(s.faults.Close)
	// The day ends in the midst of the run, which begins some seconds from now.
	if s.zone, err = fleet.NewZone(filepath.Join(s.dir, "zone"), time.Now().Add(s.o.length/2+5*time.Second)); err != nil {
		return err
	}
	var at plan.Place
	for name, addr := range map[string]*string{providerProcess: &at.Provider, toolsProcess: &at.Tools} {
		if *addr, err = s.startUpstream(ctx, name); err != nil {
			return err
		}
	}
	at.Admin, at.Timezone = "off", s.zone.Name()
	if !s.o.alone && !s.o.broken {
		if s.database, err = fleet.NewDatabase(filepath.Join(s.dir, "postgres"), s.o.length >= standbyFrom); err != nil {
			return err
		}
		s.later(s.database.Close)
		at.Shared = true
	}
	for i := range s.o.replicas {
		if err := s.addReplica(ctx, fmt.Sprintf("replica-%d", i+1), binary, at); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) later(f func() error) { s.undo = append(s.undo, f) }

// strike undoes all that was set up.
func (s *scene) strike() error {
	var errs []error
	for len(s.undo) > 0 {
		last := s.undo[len(s.undo)-1]
		s.undo = s.undo[:len(s.undo)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}

func (s *scene) startUpstream(ctx context.Context, name string) (string, error) {
	addr, err := launch.FreeAddr()
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	p, err := launch.RunLogged(io.Discard, s.dir, nil, self, name, addr, s.logOf(name), strconv.FormatUint(s.o.seed, 10))
	if err != nil {
		return "", err
	}
	s.later(p.Stop)
	s.upstreams = append(s.upstreams, p)
	return addr, p.Ready(ctx, "http://"+addr+"/ready")
}

func (s *scene) faultsFile() string { return filepath.Join(s.dir, "faults.jsonl") }

func (s *scene) logOf(upstream string) string { return filepath.Join(s.dir, upstream+".jsonl") }

func (s *scene) addReplica(ctx context.Context, name, binary string, at plan.Place) (err error) {
	if at.Listen, err = launch.FreeAddr(); err != nil {
		return err
	}
	r := &fleet.Replica{
		Name: name, Binary: binary, Dir: filepath.Join(s.dir, name), Addr: at.Listen,
		Config: s.plan.Config(at), Rules: s.plan.Rules(), Env: append(s.plan.Env(), s.zone.Env()),
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return err
	}
	disk, err := fleet.NewDisk(ctx, filepath.Join(r.Dir, "disk"))
	switch {
	case err == nil:
		s.later(disk.Close)
		r.Disk = disk
		s.disks = append(s.disks, disk)
	case !errors.Is(err, fleet.ErrNoDisk):
		return err
	}
	if s.database != nil {
		line, url, err := s.database.Line()
		if err != nil {
			return err
		}
		s.lines[name] = line
		r.Env = append(r.Env, plan.EnvDatabase+"="+url, plan.EnvSecretKey+"=the-secret-that-all-replicas-of-a-run-share")
	}
	if s.o.clock {
		clock, err := fleet.NewClock(filepath.Join(r.Dir, "clock"))
		if err != nil {
			return err
		}
		s.clocks[name] = clock
		r.Env = append(r.Env, clock.Env())
	}
	s.names = append(s.names, name)
	s.replicas[name], s.places[name] = r, at
	s.later(r.Close)
	return errors.Join(r.Prepare(), r.Start(ctx))
}

// lose remembers a data directory that its replica has lost.
func (s *scene) lose(name, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, checker.Journal{Name: name + ", lost: " + dir, Gone: true})
}

// play has the workers work and the faults happen, for the length of the run, and ends with all replicas up.
func (s *scene) play(ctx context.Context) error {
	calls, err := evidence.Create(s.logOf("workers"))
	if err != nil {
		return err
	}
	l := &load.Load{Plan: s.plan, Log: calls, Seed: s.o.seed}
	for _, name := range s.names {
		l.Replicas = append(l.Replicas, load.Replica{Name: name, URL: "http://" + s.replicas[name].Addr})
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.length)
	defer cancel()
	var tracks []track
	if !s.o.broken {
		tracks = draw(s.o.seed, s.o.length, s.names, means{shared: s.database != nil, disk: len(s.disks) == len(s.names), clock: s.o.clock})
	}
	failed := make(chan error, len(tracks))
	for _, t := range tracks {
		go func() {
			err := s.follow(ctx, t)
			if err != nil {
				cancel() // the run is of no use
			}
			failed <- err
		}()
	}
	l.Run(ctx)
	errs := []error{calls.Close()}
	for range tracks {
		errs = append(errs, <-failed)
	}
	s.endLower()
	return errors.Join(errs...)
}
