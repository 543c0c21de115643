package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/evidence"
	"github.com/tollgate/tollgate/cmd/tollgate/privacy"
	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/internal/telemetry"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/lease"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/watch"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/mcp/seal"
	"github.com/tollgate/tollgate/oauth"
)

// drainTime is how long a stop waits for calls under way. What is cut then is charged as an estimate.
const drainTime = 30 * time.Second

// How long to wait for another process to leave the data directory, and how often to look.
const (
	lockWait = 5 * time.Second
	lockPoll = 50 * time.Millisecond
)

// The files of the data directory.
const (
	journalDir  = "journal"
	keysFile    = "keys.db"
	pepperFile  = "pepper"
	sealFile    = "seal.key" // of what callers keep for the gateway: parked calls and tasks
	tokenFile   = "admin.token"
	socketFile  = "admin.sock"
	stdioFile   = "mcp.sock"
	dataDirMode = 0o700
	secretMode  = 0o600
	tokenBytes  = 24
)

// process is a running gateway. start makes its parts in order, close undoes them in reverse.
type process struct {
	version string
	log     *slog.Logger
	mask    *redact.Mask
	catalog *price.Catalog
	wait    time.Duration // for another process to leave the data directory
	serving bool          // it takes calls
	network bool          // it serves over the network, and so may wait for a database that is not there yet

	database *postgres.DB         // shared with other replicas; nil: this gateway stands alone
	contact  *postgres.DB         // the same with connections of its own, for what calls depend on
	shared   *settings.SharedKeys // likewise
	lease    *lease.Client        // likewise
	roster   *peer.Roster         // of the replicas that can be reached; nil likewise, and where this one cannot be
	peers    *peer.Net            // likewise
	waiting  atomic.Pointer[error]
	draining atomic.Bool // no new requests are taken; what would go on for ever ends

	telemetry *telemetry.Telemetry
	privacy   *privacy.Part
	ledger    *ledger.Ledger
	index     *index.Index
	sinks     *sink.Set
	proof     *evidence.Part
	keys      *oauth.Keys
	vault     oauth.Vault
	gate      *gate.Gate
	llm       *llm.Proxy
	mcp       *mcp.Gateway
	doors     doors

	setup     atomic.Pointer[settings.Setup] // in force
	reloading sync.Mutex                     // one reload at a time
	undo      []func(context.Context) error
}

func (p *process) inForce() *settings.Setup { return p.setup.Load() }

// start wires a gateway for s and listens. On an error everything is undone.
func start(ctx context.Context, s *settings.Setup, catalog *price.Catalog, version string, log *slog.Logger, mask *redact.Mask) (*process, error) {
	p := &process{version: version, log: log, mask: mask, catalog: catalog, wait: lockWait, network: true}
	return p, p.start(ctx, s, p.openDoors, p.openSockets)
}

// start wires p for s, its doors last. On an error everything is undone.
func (p *process) start(ctx context.Context, s *settings.Setup, doors ...func(context.Context) error) (err error) {
	p.mask.Know(s.Secrets...)
	p.setup.Store(s)
	p.serving = true
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range slices.Concat([]func(context.Context) error{
		p.startTelemetry, p.openDatabase, p.openLedger, p.openPayloads, p.openSinks, p.openProof, p.openKeys, p.openGate, p.openModels, p.joinReplicas, p.openTools, p.startRetention,
	}, doors) {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close stops taking requests, waits for those under way until ctx ends, and closes every part.
func (p *process) close(ctx context.Context) error {
	var errs []error
	for i := len(p.undo) - 1; i >= 0; i-- {
		errs = append(errs, p.undo[i](ctx))
	}
	p.undo = nil
	return errors.Join(errs...)
}

func (p *process) undoBy(fn func(context.Context) error) { p.undo = append(p.undo, fn) }

func (p *process) file(name string) string { return filepath.Join(p.inForce().Data, name) }

func (p *process) startTelemetry(ctx context.Context) (err error) {
	if p.telemetry, err = telemetry.Start(ctx, p.version); err != nil {
		return err
	}
	p.undoBy(p.telemetry.Shutdown)
	return nil
}

func (p *process) openLedger(ctx context.Context) (err error) {
	if err := os.MkdirAll(p.inForce().Data, dataDirMode); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if err := p.openSubjects(ctx); err != nil {
		return err
	}
	cfg := ledger.Config{Dir: p.file(journalDir), Durability: p.inForce().Durability, Location: p.inForce().Location, Subjects: p.privacy.Subjects}
	if p.database != nil {
		if err := p.openLease(ctx); err != nil {
			return err
		}
		cfg.DigestKey = p.shared.Digest
		if p.serving {
			cfg.Pools = p.lease
		}
	}
	if p.telemetry != nil {
		if cfg.SyncTook, err = watch.Syncs(p.telemetry.Meter); err != nil {
			return err
		}
	}
	if p.ledger, err = unlocked(ctx, p.wait, func() (*ledger.Ledger, error) { return ledger.Open(cfg) }); err != nil {
		return err
	}
	p.undoBy(func(context.Context) error { return p.ledger.Close() })
	if p.telemetry != nil {
		stop, err := watch.Observe(p.telemetry.Meter, p.ledger)
		if err != nil {
			return err
		}
		p.undoBy(func(context.Context) error { return stop() })
	}
	if r := p.ledger.Recovery(); r.Interrupted > 0 || r.Journal.CutBytes > 0 || len(r.Journal.Damaged) > 0 {
		p.log.Warn("the ledger was mended", "calls_posted_as_interrupted", r.Interrupted, "bytes_cut", r.Journal.CutBytes, "segment", r.Journal.Segment, "reason", r.Journal.Reason, "put_aside", r.Journal.Damaged)
	}
	return p.openIndex(ctx)
}

// unlocked opens what one process has at a time. A process that is on its way out, or a command that reads the files, may
// have it for a moment more.
func unlocked[T any](ctx context.Context, wait time.Duration, open func() (T, error)) (T, error) {
	until := time.Now().Add(wait)
	for {
		opened, err := open()
		if err == nil || !errors.Is(err, durable.ErrLocked) || time.Now().After(until) {
			return opened, err
		}
		select {
		case <-ctx.Done():
			return opened, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

func (p *process) openKeys(ctx context.Context) error {
	cfg := oauth.KeysConfig{Declared: p.inForce().Keys, Teams: p.inForce().Teams, Log: p.log, OnChange: p.attachLimits}
	if p.database != nil {
		cfg.Database, cfg.Pepper, cfg.Offline, cfg.Serving = p.contact, p.shared.Pepper, p.inForce().Replica.Offline, p.serving
		cfg.Now = p.lease.Now
	} else {
		pepper, err := oauth.Pepper(p.file(pepperFile))
		if err != nil {
			return err
		}
		cfg.Path, cfg.Pepper = p.file(keysFile), pepper
	}
	err := p.reach(ctx, func() (err error) {
		p.keys, err = oauth.OpenKeys(ctx, cfg)
		return err
	})
	if err != nil {
		return err
	}
	p.undoBy(func(context.Context) error { return p.keys.Close() })
	p.attachLimits()
	return p.vault.Replace(p.inForce().Credentials)
}

// attachLimits gives the ledger the limits of the config and of all keys. The keys call it when they change.
func (p *process) attachLimits() {
	if p.keys != nil {
		p.ledger.SetLimits(p.inForce().AllLimits(p.keys.List(), p.log))
	}
}

func (p *process) openGate(context.Context) error {
	upstreams, err := p.inForce().Upstreams()
	if err != nil {
		return err
	}
	cfg := gate.Config{
		Ledger: p.ledger, Payloads: p.privacy.Payloads, Policy: p.inForce().Policy, Upstreams: upstreams, Log: p.log,
		Tracer: p.telemetry.Tracer, Meter: p.telemetry.Meter,
	}
	if p.lease != nil {
		cfg.Now = p.lease.Now // rules look at one clock, as limits do
	}
	p.gate, err = gate.New(cfg)
	if err != nil {
		return err
	}
	p.undoBy(func(context.Context) error { p.gate.Close(); return nil })
	return nil
}

func (p *process) openModels(context.Context) (err error) {
	auth := oauth.NewAuthenticator(p.keys, p.inForce().Anonymous)
	p.llm, err = llm.New(llm.Config{
		Gate: p.gate, Auth: auth, Vault: &p.vault, Edge: &p.inForce().Guard, Routes: p.inForce().Routes, Log: p.log, Version: p.version,
	})
	if err != nil {
		return err
	}
	p.undoBy(p.llm.Close)
	return nil
}

func (p *process) openTools(context.Context) (err error) {
	if err := makeHomes(p.inForce()); err != nil {
		return err
	}
	sealKey, err := p.sealKey()
	if err != nil {
		return err
	}
	auth := oauth.NewAuthenticator(p.keys, p.inForce().Anonymous)
	p.mcp, err = mcp.New(mcp.Config{
		Gate: p.gate, Auth: auth, Vault: &p.vault, Guard: &p.inForce().Guard, Servers: p.inForce().Servers, Profiles: p.inForce().Profiles,
		SealKey: sealKey, Peers: p.peers,
		Log: p.log, Meter: p.telemetry.Meter, Version: p.version,
	})
	if err != nil {
		return err
	}
	p.undoBy(p.mcp.Close)
	return nil
}

func (p *process) sealKey() ([]byte, error) {
	if p.shared != nil {
		return p.shared.Seal, nil
	}
	return secret.KeyFile(p.file(sealFile), "the seal key", seal.KeyBytes)
}

// makeHomes makes the home directories of servers with a command.
func makeHomes(s *settings.Setup) error {
	for _, srv := range s.Servers {
		if len(srv.Command) == 0 {
			continue
		}
		if err := os.MkdirAll(s.Home(srv.Name), dataDirMode); err != nil {
			return fmt.Errorf("making the home of server %s: %w", srv.Name, err)
		}
	}
	return nil
}

// reload puts next in force, all or nothing: on an error every part is put back as it was. The gate learns new destinations
// before any route leads there and forgets old ones after; a key's limits are in force before the key is.
func (p *process) reload(ctx context.Context, next *settings.Setup) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	before := p.inForce()
	if err := before.Restart(next); err != nil {
		return err
	}
	if err := p.replace(ctx, before, next); err != nil {
		return errors.Join(err, p.replace(ctx, next, before))
	}
	return nil
}

// replace puts next in the place of before, part by part.
func (p *process) replace(ctx context.Context, before, next *settings.Setup) error {
	old, err := before.Upstreams()
	if err != nil {
		return err
	}
	upstreams, err := next.Upstreams()
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error {
			p.mask.Know(slices.Concat(before.Secrets, next.Secrets)...)
			return p.vault.Replace(next.Credentials)
		},
		func() error { return p.gate.Reload(next.Policy, union(upstreams, old)) },
		func() error { return p.llm.Reload(next.Routes) },
		func() error { return errors.Join(makeHomes(next), p.mcp.Reload(next.Servers, next.Profiles)) },
		func() error {
			p.setup.Store(next)
			p.sinks.Apply(next.Sinks)
			p.privacy.Apply(next)
			p.attachLimits()
			return p.keys.Declare(ctx, next.Keys, next.Teams)
		},
		func() error { return p.gate.Reload(next.Policy, upstreams) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	p.attachLimits()
	return nil
}

// union is all of a, and those of b that are not in a.
func union(a, b []gate.Upstream) []gate.Upstream {
	all := slices.Clone(a)
	for _, u := range b {
		if !slices.ContainsFunc(a, func(v gate.Upstream) bool { return v.Side == u.Side && v.Name == u.Name }) {
			all = append(all, u)
		}
	}
	return all
}
