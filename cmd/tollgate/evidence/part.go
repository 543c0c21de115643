package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/lease"
	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/proof/publish"
	"github.com/tollgate/tollgate/ledger/proof/sequencer"
)

// The files of the data directory.
const (
	storeFile   = "proof.db"
	seenFile    = "checkpoint.seen" // the newest checkpoint signed or seen
	keyFile     = "checkpoint.key"
	nextKeyFile = "checkpoint.key.next" // a key that is being introduced
)

const (
	// keyLabel is what the signing key is derived under.
	keyLabel = "tollgate checkpoint key v1"
	// duty is the name of the task of sequencing; dutyTime is how long a holder that has gone keeps others from it.
	duty     = "sequencer"
	dutyTime = 15 * time.Second
	// pruneEvery is how often old entries are removed from the shared database.
	pruneEvery = time.Hour
)

// Config is what the proof stands on.
type Config struct {
	Setup    *settings.Setup
	Journal  string         // its directory
	Ledger   *ledger.Ledger // nil: another process has it, or none; only reading is possible then
	Database *postgres.DB   // nil: this gateway stands alone
	Meter    metric.Meter   // nil: not measured
	Log      *slog.Logger
	Now      func() time.Time // the time that checkpoints are signed with; nil: the machine's
}

// Part is the proof of one process. All methods are safe for concurrent use.
type Part struct {
	cfg       Config
	replica   string
	store     *sequencer.Store
	log       *sequencer.Log
	publisher *publish.Publisher
	release   func()   // of what the journal keeps for it
	seeds     [][]byte // of keys to sign with instead of the config's: of a rotation

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open opens the log. Run begins to work on it.
func Open(ctx context.Context, cfg Config) (*Part, error) {
	data, err := durable.Disk(cfg.Setup.Data)
	if err != nil {
		return nil, fmt.Errorf("open the proof: %w", err)
	}
	p := &Part{cfg: cfg, release: func() {}, stop: func() {}}
	if p.replica, err = lease.Identity(data); err != nil {
		return nil, fmt.Errorf("open the proof: %w", err)
	}
	if err := p.openStore(ctx); err != nil {
		return nil, err
	}
	p.log = sequencer.New(sequencer.Config{
		Store: p.store, Replica: p.replica, Duty: p.duty(), Keys: p.keys, Frames: p.frames,
		Every: cfg.Setup.Proof.Every, Entries: cfg.Setup.Proof.Entries, Seen: p.file(seenFile), Beside: cfg.Ledger == nil,
		Signed: func() { p.publisher.Wake() }, Log: cfg.Log, Now: cfg.Now,
	})
	p.publisher = publish.New(publish.Config{
		Store: p.store, Replica: p.replica, Targets: cfg.Setup.Proof.Targets, Leads: func() bool { return p.log.Status().Leads }, Log: cfg.Log,
	})
	if cfg.Ledger != nil {
		p.release = cfg.Ledger.Keep("proof", p.log.Needs)
	}
	return p, p.measure()
}

func (p *Part) file(name string) string { return filepath.Join(p.cfg.Setup.Data, name) }

func (p *Part) openStore(ctx context.Context) (err error) {
	if p.cfg.Database != nil {
		if err := p.cfg.Database.PrepareDuties(ctx); err != nil {
			return err
		}
		p.store, err = sequencer.OpenShared(ctx, p.cfg.Database, p.cfg.Setup.Proof.Origin)
		return err
	}
	dir, err := durable.Disk(p.cfg.Journal)
	if err != nil {
		return fmt.Errorf("open the proof: %w", err)
	}
	origin := p.cfg.Setup.Proof.Origin
	if origin == "" { // a store that is made anew from the journal goes on as the same log
		origin = p.seenOrigin()
	}
	p.store, err = sequencer.OpenFile(ctx, p.file(storeFile), dir, origin)
	return err
}

// seenOrigin is the name of the log in the newest checkpoint that was seen; empty: there is none.
func (p *Part) seenOrigin() string {
	note, err := os.ReadFile(p.file(seenFile))
	if err != nil {
		return ""
	}
	c, err := proof.ReadCheckpoint(note)
	if err != nil {
		return ""
	}
	return c.Origin
}

// duty is nil for a gateway that stands alone.
func (p *Part) duty() sequencer.Duty {
	if p.cfg.Database == nil {
		return nil
	}
	return func(ctx context.Context) (bool, error) {
		return p.cfg.Database.TakeDuty(ctx, duty, p.replica, dutyTime)
	}
}

func (p *Part) frames(from journal.Position) *ledger.Reader { return p.cfg.Ledger.Reader(from) }

// keys are the secrets of the signing keys that this process has.
func (p *Part) keys() ([][]byte, error) {
	switch s := p.cfg.Setup; {
	case p.seeds != nil:
		return p.seeds, nil
	case s.Proof.KeyRef != "" && s.Proof.Key.Empty():
		return nil, errors.New("the checkpoint key is not looked for by a command: only the running gateway signs")
	case s.Proof.KeyRef != "":
		seed, err := secret.Derive(s.Proof.Key, keyLabel, proof.KeyBytes)
		return [][]byte{seed}, err
	case s.Replica != nil:
		seed, err := secret.Derive(s.Replica.SecretKey, keyLabel, proof.KeyBytes)
		return [][]byte{seed}, err
	}
	// A rotation that was cut after the new key was introduced left it beside the old one.
	seed, err := secret.KeyFile(p.file(keyFile), "the checkpoint key", proof.KeyBytes)
	seeds := [][]byte{seed}
	if _, missing := os.Stat(p.file(nextKeyFile)); err == nil && missing == nil {
		if seed, err = secret.KeyFile(p.file(nextKeyFile), "the next checkpoint key", proof.KeyBytes); err == nil {
			seeds = append(seeds, seed)
		}
	}
	return seeds, err
}

// signWith makes seed the only key. It is called before anything is signed.
func (p *Part) signWith(seed []byte) { p.seeds = [][]byte{seed} }

// Run works until Close.
func (p *Part) Run(ctx context.Context) {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.running.Go(func() {
		defer stopPublishing() // after the last checkpoint was signed
		p.log.Run(following)
	})
	p.running.Go(func() { p.publisher.Run(publishing) })
	if p.cfg.Database != nil && p.cfg.Setup.Retention > 0 {
		p.running.Go(func() { p.prune(following) })
	}
}

// prune removes entries older than the retention from the shared database.
func (p *Part) prune(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !p.log.Status().Leads {
			continue
		}
		if err := p.store.Prune(ctx, time.Now().Add(-time.Duration(p.cfg.Setup.Retention))); err != nil && ctx.Err() == nil {
			p.cfg.Log.Error("old entries stay in the proof", "err", err)
		}
	}
}

// Settle brings in and signs all there is.
func (p *Part) Settle(ctx context.Context) error { return p.log.Settle(ctx) }

// Close brings in, signs and exports what is left, and closes the log.
func (p *Part) Close(ctx context.Context) error {
	p.stop()
	p.running.Wait()
	p.release()
	db := p.cfg.Database
	switch {
	case db != nil && p.cfg.Ledger != nil:
		if err := db.LeaveDuty(ctx, duty, p.replica); err != nil {
			p.cfg.Log.Warn("another replica sequences only after a while", "err", err)
		}
	case db != nil: // a command's own connection
		db.Pool.Close()
		return nil
	}
	return p.store.Close()
}

// measure registers the metrics.
func (p *Part) measure() error {
	m := p.cfg.Meter
	if m == nil {
		return nil
	}
	var errs [5]error
	size, err := m.Int64ObservableGauge("tollgate.proof.entries", metric.WithUnit("{entry}"), metric.WithDescription("Entries in the tree."))
	errs[0] = err
	waiting, err := m.Float64ObservableGauge("tollgate.proof.unsequenced.time", metric.WithUnit("s"), metric.WithDescription("Age of the oldest entry of this process that is not in the tree."))
	errs[1] = err
	age, err := m.Float64ObservableGauge("tollgate.proof.checkpoint.age", metric.WithUnit("s"), metric.WithDescription("Time since the newest checkpoint was signed."))
	errs[2] = err
	alarms, err := m.Int64ObservableGauge("tollgate.proof.alarms", metric.WithUnit("{alarm}"), metric.WithDescription("What somebody has to look at: forks, gaps and refusals to sign, which keep entries from the proof, and journals that were salvaged."))
	errs[3] = err
	failures, err := m.Int64ObservableCounter("tollgate.proof.export.failures", metric.WithUnit("{attempt}"), metric.WithDescription("Attempts to export checkpoints that failed, by target."))
	errs[4] = err
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := p.log.Status()
		o.ObserveInt64(size, s.Size)
		o.ObserveFloat64(waiting, s.Unsequenced.Seconds())
		o.ObserveFloat64(age, s.CheckpointAge.Seconds())
		o.ObserveInt64(alarms, int64(s.Alarms))
		for _, t := range p.publisher.Status() {
			o.ObserveInt64(failures, t.Failures, metric.WithAttributes(attribute.String("target", t.Name)))
		}
		return nil
	}, size, waiting, age, alarms, failures)
	return err
}
