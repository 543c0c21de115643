package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/load"
	"github.com/tollgate/tollgate/conformance/bench/target"
	"github.com/tollgate/tollgate/conformance/launch"
)

// slice is what one target did in one round of one scenario.
type slice struct {
	p50, p99             float64 // µs
	transit50, transit99 float64 // µs per chunk
	perSecond            float64
	cpu                  float64 // µs per request
	allocations          float64 // per request; negative: not told
	rss                  int64   // bytes
	done, bad, queued    int
	firstBad             string
}

// measured is one scenario's result: per target, one slice per round; rounds have the same index in all targets.
type measured struct {
	scenario *scenario
	rate     float64
	slices   map[string][]slice
}

// bench holds what is running.
type bench struct {
	opts    *options
	dir     string
	targets []*target.Target
	absent  []string // targets that are not installed
	results []*measured
	most    map[string]float64 // the highest rate of tollgate (or of the last target) by scenario
}

// measure is the whole benchmark.
func measure(ctx context.Context, opts *options) (err error) {
	b := &bench{opts: opts, most: map[string]float64{}}
	if b.dir, err = os.MkdirTemp(opts.data, "tollgate-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return err
	}
	if opts.streams > 0 {
		return b.soak(ctx)
	}
	for i := range scenarios {
		s := &scenarios[i]
		if opts.only != nil && !opts.only.MatchString(s.name) && !b.needed(s.name) {
			continue
		}
		if err := b.scenario(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	r := report{bench: b, started: time.Now()}
	if r.memory, err = b.memory(ctx); err != nil {
		return err
	}
	if opts.inside {
		if r.inside, err = insideBenchmarks(ctx, opts.root); err != nil {
			return err
		}
	}
	return r.write()
}

// needed reports whether a scenario that was asked for takes its rate from the one of that name.
func (b *bench) needed(name string) bool {
	return slices.ContainsFunc(scenarios, func(s scenario) bool { return s.of == name && b.opts.only.MatchString(s.name) })
}

// start starts the mock and the targets.
func (b *bench) start(ctx context.Context) error {
	m, err := target.StartMock(ctx)
	if err != nil {
		return err
	}
	b.targets = append(b.targets, &target.Target{Name: target.Direct, Addr: m.Addr, Process: m.Process})
	for _, name := range b.opts.targets[1:] {
		t, err := b.startTarget(ctx, name, m.Addr)
		if errors.Is(err, target.ErrAbsent) {
			fmt.Printf("%s is not installed: its column is left out\n", name)
			b.absent = append(b.absent, name)
			continue
		}
		if err != nil {
			return err
		}
		b.targets = append(b.targets, t)
	}
	return nil
}

func (b *bench) startTarget(ctx context.Context, name, mock string) (*target.Target, error) {
	dir, err := os.MkdirTemp(b.dir, filepath.Base(name)+"-")
	if err != nil {
		return nil, err
	}
	switch name {
	case target.Proxy:
		return target.StartProxy(ctx, mock)
	case target.Relay:
		return target.StartRelay(ctx, mock)
	case target.Nginx:
		return target.StartNginx(ctx, dir, mock)
	case target.Tollgate:
		binary, err := launch.Binary(b.opts.root)
		if err != nil {
			return nil, err
		}
		return target.StartTollgate(ctx, name, binary, dir, mock)
	case target.Before:
		return target.StartTollgate(ctx, name, b.opts.before, dir, mock)
	}
	return nil, fmt.Errorf("no target is named %q", name)
}

// stop stops everything, the mock last.
func (b *bench) stop() error {
	var errs []error
	for _, t := range slices.Backward(b.targets) {
		errs = append(errs, t.Stop())
	}
	return errors.Join(errs...)
}

// scenario measures all targets in all rounds.
func (b *bench) scenario(ctx context.Context, s *scenario) error {
	m := &measured{scenario: s, rate: s.rate, slices: map[string][]slice{}}
	if s.of != "" {
		m.rate = s.share * b.most[s.of]
	}
	sessions := map[string]*load.Session{}
	targets := b.of(s)
	for _, t := range targets {
		session, err := b.open(ctx, s, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		defer session.Close()
		sessions[t.Name] = session
	}
	for range b.opts.rounds {
		order := slices.Clone(targets)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, t := range order {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			got, err := b.slice(ctx, m, t, sessions[t.Name])
			if err != nil {
				return fmt.Errorf("%s: %w", t.Name, err)
			}
			m.slices[t.Name] = append(m.slices[t.Name], got)
		}
	}
	last := b.targets[len(b.targets)-1].Name
	b.most[s.name] = median(m.slices[last], func(s slice) float64 { return s.perSecond })
	b.results = append(b.results, m)
	printScenario(os.Stdout, b, m)
	return nil
}

// of are the targets that serve s.
func (b *bench) of(s *scenario) []*target.Target {
	return slices.DeleteFunc(slices.Clone(b.targets), func(t *target.Target) bool { return t.Name == target.Relay && !s.mcp })
}

func (b *bench) open(ctx context.Context, s *scenario, t *target.Target) (*load.Session, error) {
	requests, err := s.requests(ctx, t)
	if err != nil {
		return nil, err
	}
	return load.Open(load.Plan{Addr: t.Addr, Requests: requests, Connections: s.conns, Stream: s.stream})
}

// slice runs one slice and reads what it cost.
func (b *bench) slice(ctx context.Context, m *measured, t *target.Target, session *load.Session) (slice, error) {
	allocated := allocations(ctx, t)
	before, err := t.Cost()
	if err != nil {
		return slice{}, err
	}
	var r *load.Result
	if m.rate > 0 {
		r, err = session.Rate(m.rate, b.opts.slice)
	} else {
		r, err = session.Most(b.opts.slice)
	}
	if err != nil {
		return slice{}, err
	}
	after, err := t.Cost()
	if err != nil {
		return slice{}, err
	}
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return slice{
		p50: us(r.Latency.ValueAtQuantile(50)), p99: us(r.Latency.ValueAtQuantile(99)),
		transit50: us(r.Transit.ValueAtQuantile(50)), transit99: us(r.Transit.ValueAtQuantile(99)),
		perSecond: r.PerSecond(), cpu: us(int64(after.CPU-before.CPU)) / float64(max(1, r.Done)),
		allocations: allocated(r.Done), rss: after.RSSBytes,
		done: r.Done, bad: r.Bad(), queued: r.Queued, firstBad: r.FirstBad,
	}, nil
}

// allocations begins to count what t allocates. The function it returns ends the count and tells how many allocations
// each of n requests took, without those that asking took.
func allocations(ctx context.Context, t *target.Target) func(n int) float64 {
	first, _ := t.Mallocs(ctx)
	second, ok := t.Mallocs(ctx)
	return func(n int) float64 {
		last, still := t.Mallocs(ctx)
		if !ok || !still || n == 0 {
			return -1
		}
		return (last - second - (second - first)) / float64(n)
	}
}

// soak sends many streams through tollgate as fast as they come, and fails if one is cut or hangs.
func (b *bench) soak(ctx context.Context) error {
	t := b.targets[len(b.targets)-1]
	requests, err := chat("stream-50-1ms", smallBytes)(ctx, t)
	if err != nil {
		return err
	}
	session, err := load.Open(load.Plan{Addr: t.Addr, Requests: requests, Connections: connections, Stream: true})
	if err != nil {
		return err
	}
	defer session.Close()
	r, err := session.Count(b.opts.streams)
	if err != nil {
		return err
	}
	fmt.Printf("%d streams of 50 chunks through %s in %s: %d whole, %d cut, %d hung, %d failed\n",
		r.Sent, t.Name, r.Elapsed.Round(time.Millisecond), r.Done, r.Truncated, r.Hung, r.Failed)
	if r.Bad() > 0 {
		return fmt.Errorf("streams were lost; the first: %s", r.FirstBad)
	}
	return nil
}

// settle is how long memory is given to come to rest.
const settle = time.Second

// held is the memory that idle streams take.
type held struct {
	what      string
	target    string
	streams   int
	perStream int64 // bytes
	idle      int64 // bytes the fresh process takes without streams
	refused   string
}

// memory holds idle streams through each target, each time through a fresh process: memory that was once used and is
// free again would hide what streams take.
func (b *bench) memory(ctx context.Context) ([]held, error) {
	kinds := []struct {
		name, what string
		requests   requests
	}{{"memory-model", "idle SSE stream of a model", chat("hold", smallBytes)}, {"memory-listen", "idle MCP listen stream", listen}}
	var out []held
	for _, kind := range kinds {
		if b.opts.only != nil && !b.opts.only.MatchString(kind.name) {
			continue
		}
		for _, old := range b.targets[1:] {
			if old.Name == target.Relay {
				continue // it streams nothing
			}
			h, err := b.holdThrough(ctx, old.Name, kind.requests)
			if err != nil {
				return nil, err
			}
			h.what = kind.what
			out = append(out, h)
		}
	}
	return out, nil
}

func (b *bench) holdThrough(ctx context.Context, name string, prepare requests) (h held, err error) {
	t, err := b.startTarget(ctx, name, b.targets[0].Addr)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	requests, err := prepare(ctx, t)
	if err != nil {
		return h, err
	}
	return b.hold(t, requests[0])
}

func (b *bench) hold(t *target.Target, request []byte) (held, error) {
	h := held{target: t.Name, streams: b.opts.idle}
	before, err := t.Cost()
	if err != nil {
		return h, err
	}
	h.idle = before.RSSBytes
	streams, err := load.Hold(t.Addr, request, b.opts.idle)
	if err != nil {
		h.refused = err.Error()
		return h, nil
	}
	defer streams.Close()
	time.Sleep(settle)
	after, err := t.Cost()
	if err != nil {
		return h, err
	}
	h.perStream = (after.RSSBytes - before.RSSBytes) / int64(b.opts.idle)
	return h, nil
}
