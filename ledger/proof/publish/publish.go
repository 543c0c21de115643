package publish

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/ledger/proof/sequencer"
)

const (
	// putTime bounds one attempt.
	putTime = 30 * time.Second
	// retryGap is the first pause after a failure; it doubles up to retryGapMax, with jitter.
	retryGap    = time.Second
	retryGapMax = 5 * time.Minute
	// idleGap is how long to wait for the next checkpoint without being woken: another process may have signed it.
	idleGap = 15 * time.Second
	// backlogMax is how many checkpoints a target may be behind before the oldest are left out: a day of one a minute.
	backlogMax = 1440
	// atOnce is how many are read from the store at once.
	atOnce = 64
	// lastTime bounds what a stop still brings out.
	lastTime = 5 * time.Second
)

// Named is a target and its name in the store, in metrics and in the log.
type Named struct {
	Name   string
	Own    bool // each process has its own; else the one with the duty serves it
	Target Target
}

// Config makes a Publisher.
type Config struct {
	Store   *sequencer.Store
	Replica string // names the places of this process's own targets
	Targets []Named
	Leads   func() bool // this process has the duty
	Log     *slog.Logger
}

// Status is how one target stands.
type Status struct {
	Name     string
	Number   int64 // of the last checkpoint that it has
	Failures int64 // attempts that failed since the start
}

// Publisher serves the targets.
type Publisher struct {
	cfg     Config
	targets []*serving
}

type serving struct {
	Named
	place    string
	wake     chan struct{}
	number   atomic.Int64
	failures atomic.Int64
	told     bool // that it fails
}

// New makes a Publisher. Run, started by the caller, serves the targets.
func New(cfg Config) *Publisher {
	p := &Publisher{cfg: cfg}
	for _, n := range cfg.Targets {
		s := &serving{Named: n, place: n.Name, wake: make(chan struct{}, 1)}
		if n.Own {
			s.place += " of " + cfg.Replica
		}
		p.targets = append(p.targets, s)
	}
	return p
}

// Wake says that there is a new checkpoint. It does not block.
func (p *Publisher) Wake() {
	for _, s := range p.targets {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Status lists the targets.
func (p *Publisher) Status() []Status {
	out := make([]Status, len(p.targets))
	for i, s := range p.targets {
		out[i] = Status{s.Name, s.number.Load(), s.failures.Load()}
	}
	return out
}

// Run serves the targets until ctx ends; then each is tried once more.
func (p *Publisher) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, s := range p.targets {
		running.Go(func() {
			p.serve(ctx, s)
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
			defer cancel()
			if err := p.deliver(last, s); err != nil {
				p.cfg.Log.Warn("the last checkpoints could not be exported; the next start does", "target", s.Name, "err", err)
			}
		})
	}
	running.Wait()
}

func (p *Publisher) serve(ctx context.Context, s *serving) {
	gap := retryGap
	for ctx.Err() == nil {
		wait := idleGap
		if err := p.deliver(ctx, s); err != nil && ctx.Err() == nil {
			s.failures.Add(1)
			if !s.told {
				p.cfg.Log.Error("checkpoints are not exported: until they are, the proof is only as safe as the database and the key", "target", s.Name, "err", err)
			}
			s.told = true
			wait = gap/2 + rand.N(gap)
			gap = min(2*gap, retryGapMax)
		} else {
			if s.told {
				p.cfg.Log.Info("checkpoints are exported again", "target", s.Name)
			}
			s.told, gap = false, retryGap
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-s.wake: // also while it fails: once a minute is not too often
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// deliver brings a target all checkpoints that it has not.
func (p *Publisher) deliver(ctx context.Context, s *serving) error {
	if !s.Own && !p.cfg.Leads() {
		return nil
	}
	after, err := p.cfg.Store.Exported(ctx, s.place)
	if err != nil {
		return err
	}
	s.number.Store(after)
	last, err := p.cfg.Store.LastCheckpoint(ctx)
	if err != nil {
		return err
	}
	if behind := last.Number - after; behind > backlogMax {
		p.cfg.Log.Warn("the oldest checkpoints are not exported: newer ones cover what they did", "target", s.Name, "left_out", behind-backlogMax)
		after = last.Number - backlogMax
	}
	for after < last.Number {
		next, err := p.cfg.Store.Checkpoints(ctx, 0, after, atOnce)
		if err != nil || len(next) == 0 {
			return err
		}
		for _, c := range next {
			if err := p.put(ctx, s, c); err != nil {
				return fmt.Errorf("checkpoint %d: %w", c.Number, err)
			}
			after = c.Number
		}
	}
	return nil
}

func (p *Publisher) put(ctx context.Context, s *serving, c sequencer.Signed) error {
	head, err := p.cfg.Store.Head(ctx)
	if err != nil {
		return err
	}
	putting, cancel := context.WithTimeout(ctx, putTime)
	err = s.Target.Put(putting, head.Origin, c)
	cancel()
	if err != nil {
		return err
	}
	if err := p.cfg.Store.SetExported(ctx, s.place, c.Number); err != nil {
		return err
	}
	s.number.Store(c.Number)
	return nil
}
