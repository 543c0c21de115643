package privacy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/ledger/subject"
)

// The files of the data directory.
const (
	subjectsFile = "subjects.db"
	payloadsFile = "payloads.db"
	kekFile      = "kek" // the default key-encryption key of a gateway that stands alone
)

// Config is what a Part stands on.
type Config struct {
	Setup    *settings.Setup
	Shared   *settings.SharedKeys // nil: this gateway stands alone
	Database *postgres.DB         // likewise
	Log      *slog.Logger
}

// Part is who is behind the entries of one process, and what their calls carried. All methods are safe for concurrent use.
type Part struct {
	Subjects *subject.Subjects
	Payloads *payload.Recorder // nil before Capture

	cfg Config
}

// Open opens who is behind the entries, before the ledger asks for it. The users of the config are known from then on, so
// that no call waits for one of them.
func Open(ctx context.Context, cfg Config) (*Part, error) {
	kek, err := cfg.kek()
	if err != nil {
		return nil, err
	}
	p := &Part{cfg: cfg}
	p.Subjects, err = subject.Open(ctx, subject.Config{
		Path: cfg.file(subjectsFile), Database: cfg.Database, KEK: kek, Before: cfg.Setup.Privacy.KEKBefore, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	if old, err := p.Subjects.Outdated(ctx); err == nil && old {
		cfg.Log.Warn("names and payloads are sealed with the key-encryption key before: run tollgate audit rekey")
	}
	for name := range cfg.Setup.Users {
		if _, err := p.Subjects.Pseudonym(name); err != nil {
			return nil, errors.Join(fmt.Errorf("giving users pseudonyms: %w", err), p.Close())
		}
	}
	return p, nil
}

func (c *Config) file(name string) string { return filepath.Join(c.Setup.Data, name) }

// kek is the key-encryption key: the config's, or one derived from what the replicas share, or a file.
func (c *Config) kek() ([]byte, error) {
	switch {
	case c.Setup.Privacy.KEK != nil:
		return c.Setup.Privacy.KEK, nil
	case c.Shared != nil:
		return c.Shared.Payload, nil
	}
	return secret.KeyFile(c.file(kekFile), "the key-encryption key", subject.KeyBytes)
}

// Capture opens what is kept of payloads, after the ledger, whose digests it takes. meter nil: it is not measured.
func (p *Part) Capture(ctx context.Context, l *ledger.Ledger, mask *redact.Mask, meter metric.Meter) (err error) {
	p.Payloads, err = payload.Open(ctx, payload.Config{
		Path: p.cfg.file(payloadsFile), Database: p.cfg.Database, Subjects: p.Subjects, Digest: l.NewDigest, Mask: mask, Log: p.cfg.Log, Meter: meter,
	})
	if err == nil {
		p.Apply(p.cfg.Setup)
	}
	return err
}

// Apply puts a config's word on payloads in force.
func (p *Part) Apply(s *settings.Setup) { p.Payloads.SetRules(s.Privacy.Rules, s.Privacy.Retention) }

// Run stores payloads and hears of what other gateways erase, until ctx ends.
func (p *Part) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { p.Subjects.Run(ctx) })
	running.Go(func() { p.Payloads.Run(ctx) })
	running.Wait()
}

// Close closes the files. Run must have ended.
func (p *Part) Close() error {
	var err error
	if p.Payloads != nil {
		err = p.Payloads.Close()
	}
	return errors.Join(err, p.Subjects.Close())
}
