package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger/lease"
)

// The pauses between attempts to reach the database at the start; the first one doubles up to the last, with jitter.
const (
	databaseGap    = 200 * time.Millisecond
	databaseGapMax = 5 * time.Second
)

// contactConnections are those that nobody's questions can take from what calls depend on: the lease's exchange, its look
// at others, the watch over both, the keys' watch and changes, the roster.
const contactConnections = 6

// pingTime bounds the question whether the database answers.
const pingTime = 2 * time.Second

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
		if p.database, err = p.connect(ctx, r, 0); err != nil {
			return err
		}
		p.contact, err = p.connect(ctx, r, contactConnections)
		return err
	})
}

// connect opens so many connections to the database, 0: as many as usual.
func (p *process) connect(ctx context.Context, r *settings.Replica, connections int) (*postgres.DB, error) {
	db, err := postgres.Open(ctx, postgres.Config{URL: r.Database, Connections: connections, Log: p.log})
	if err == nil {
		p.undoBy(func(context.Context) error { db.Pool.Close(); return nil })
	}
	return db, err
}

// reach does a step of the start that needs the database, again until it can be done. What fails twice while the database
// answers is not for want of it.
func (p *process) reach(ctx context.Context, step func() error) error {
	answered := false
	for gap := databaseGap; ; gap = min(2*gap, databaseGapMax) {
		err := step()
		answers := err != nil && p.database != nil && p.ping(ctx)
		if err == nil || !p.network || answers && answered {
			return err
		}
		answered = answers
		if before := p.waiting.Swap(&err); before == nil || (*before).Error() != err.Error() {
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

// ping reports whether the database answers.
func (p *process) ping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	return p.database.Ping(ctx) == nil
}

// waitsFor says what a gateway that is starting waits for.
func (p *process) waitsFor() string {
	if err := p.waiting.Load(); err != nil {
		return "waiting for the database: " + (*err).Error()
	}
	return "starting"
}

// openLease takes the identity of this data directory, whose part of the limits is leased from the database.
func (p *process) openLease(ctx context.Context) error {
	cfg := lease.Config{DB: p.contact, Dir: p.inForce().Data, Offline: p.inForce().Replica.Offline, Log: p.log}
	err := p.reach(ctx, func() (err error) {
		p.lease, err = unlocked(ctx, p.wait, func() (*lease.Client, error) { return lease.Open(ctx, cfg) })
		return err
	})
	if err != nil {
		return err
	}
	p.undoBy(func(context.Context) error { return p.lease.Close() })
	return nil
}

// joinReplicas makes this process one that others pass requests on to, and that passes requests on to them.
func (p *process) joinReplicas(ctx context.Context) error {
	if p.database == nil || !p.network {
		return nil // alone, or not to be reached: nothing in its memory is anybody's who could come elsewhere
	}
	r := p.inForce().Replica
	address, err := p.advertised(r.Advertise)
	if err != nil {
		return err
	}
	err = p.reach(ctx, func() (err error) {
		p.roster, err = peer.Join(ctx, p.contact, address, r.Offline, p.log)
		return err
	})
	if err != nil {
		return err
	}
	p.peers = peer.New(peer.Config{Self: p.roster.Self(), Key: p.shared.Peers, Address: p.roster.Address, Now: p.lease.Now, Log: p.log})
	p.undoBy(func(context.Context) error {
		p.roster.Leave()
		p.peers.Close()
		return nil
	})
	return p.meterReplicas()
}

// meterReplicas tells of this replica among the others when it is read.
func (p *process) meterReplicas() (err error) {
	gauge := func(name, unit, what string) metric.Int64ObservableGauge {
		one, problem := p.telemetry.Meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		err = errors.Join(err, problem)
		return one
	}
	contact := gauge("tollgate.replica.contact", "{replica}", "1 while this replica is in contact with the database and may serve, else 0.")
	silence := gauge("tollgate.replica.silence", "ms", "Since the last heartbeat that the database has answered was sent.")
	others := gauge("tollgate.replica.others", "{replica}", "Other replicas that can be reached.")
	requests, problem := p.telemetry.Meter.Int64ObservableCounter("tollgate.replica.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that belong to one replica and came to another: forwarded, lost, taken, refused."))
	if err = errors.Join(err, problem); err != nil {
		return fmt.Errorf("metrics of replicas: %w", err)
	}
	r, err := p.telemetry.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		in := int64(1)
		if p.lease.Alive() != nil {
			in = 0
		}
		o.ObserveInt64(contact, in)
		if d, ok := p.lease.Silent(); ok {
			o.ObserveInt64(silence, d.Milliseconds())
		}
		o.ObserveInt64(others, int64(p.roster.Others()))
		c := p.peers.Counts()
		for way, n := range map[string]int64{"forwarded": c.Forwarded, "lost": c.Lost, "taken": c.Taken, "refused": c.Refused} {
			o.ObserveInt64(requests, n, metric.WithAttributes(attribute.String("way", way)))
		}
		return nil
	}, contact, silence, others, requests)
	if err != nil {
		return fmt.Errorf("metrics of replicas: %w", err)
	}
	p.undoBy(func(context.Context) error { return r.Unregister() })
	return nil
}

// replicaHealth is what /readyz says of this replica among the others.
type replicaHealth struct {
	Others   int     `json:"others"`
	IndexLag float64 `json:"index_lag_seconds"`
}

// advertised is the address for others; port 0 is the one that the listener has got.
func (p *process) advertised(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port != "0" {
		return text, err
	}
	_, port, err = net.SplitHostPort(p.doors.agents.Addr().String())
	return net.JoinHostPort(host, port), err
}
