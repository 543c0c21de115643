package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
)

// The pauses between attempts to reach the database at the start; the first one doubles up to the last, with jitter.
const (
	databaseGap    = 200 * time.Millisecond
	databaseGapMax = 5 * time.Second
)

// openDatabase connects to the database that the replicas share. A gateway that serves over the network goes on trying for
// as long as it takes: it is alive then, but not ready. A command is told at once.
func (p *process) openDatabase(ctx context.Context) error {
	r := p.inForce().Replica
	if r == nil {
		return nil
	}
	shared, err := r.Keys()
	if err != nil {
		return err
	}
	p.shared = &shared
	if p.network {
		if err := p.listenEarly(ctx); err != nil {
			return err
		}
	}
	return p.reach(ctx, func() (err error) {
		if p.database, err = postgres.Open(ctx, postgres.Config{URL: r.Database, Log: p.log}); err != nil {
			return err
		}
		p.undoBy(func(context.Context) error { p.database.Pool.Close(); return nil })
		return nil
	})
}

// reach does a step of the start that needs the database, again until it can be done.
func (p *process) reach(ctx context.Context, step func() error) error {
	for gap := databaseGap; ; gap = min(2*gap, databaseGapMax) {
		err := step()
		if err == nil || !p.network {
			return err
		}
		if p.waiting.Swap(&err) == nil {
			p.log.Error("the gateway waits for its database; until then it is not ready and refuses calls", "err", err)
		}
		pause := time.NewTimer(gap/2 + rand.N(gap))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// waitsFor says what a gateway that is starting waits for.
func (p *process) waitsFor() string {
	if err := p.waiting.Load(); err != nil {
		return "waiting for the database: " + (*err).Error()
	}
	return "starting"
}
