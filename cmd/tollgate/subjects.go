package main

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/cmd/tollgate/privacy"
	"github.com/tollgate/tollgate/ledger/subject"
)

// openSubjects opens who is behind the entries, before the ledger asks for it.
func (p *process) openSubjects(ctx context.Context) error {
	err := p.reach(ctx, func() (err error) {
		p.privacy, err = privacy.Open(ctx, privacy.Config{Setup: p.inForce(), Shared: p.shared, Database: p.database, Log: p.log})
		return err
	})
	if err == nil {
		p.undoBy(func(context.Context) error { return p.privacy.Close() })
	}
	return err
}

// openPayloads opens what is kept of payloads. What calls leave is stored until all of them have ended.
func (p *process) openPayloads(ctx context.Context) error {
	var meter metric.Meter
	if p.telemetry != nil {
		meter = p.telemetry.Meter
	}
	if err := p.reach(ctx, func() error { return p.privacy.Capture(ctx, p.ledger, p.mask, meter) }); err != nil {
		return err
	}
	storing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { p.privacy.Run(storing) })
	p.undoBy(func(context.Context) error { stop(); running.Wait(); return nil })
	return nil
}

// subjectRoutes are the admin API's part for subjects and payloads.
func (p *process) subjectRoutes(mux *http.ServeMux) {
	(&privacy.API{Part: p.privacy, Ledger: p.ledger, Keys: p.keys, Index: p.index, Setup: p.inForce, Log: p.log}).Register(mux)
}

// privacyCommands are those of audit about subjects and payloads.
func privacyCommands(o *options) []*cobra.Command {
	ask := func(ctx context.Context, method, path string, body, answer any) error {
		op, err := o.operate(ctx)
		if err != nil {
			return err
		}
		return errors.Join(op.do(ctx, method, path, body, answer), op.close())
	}
	list := func(c *cobra.Command, all []subject.Subject) error {
		return printRows(c.OutOrStdout(), o.format, all, []column[subject.Subject]{
			{"pseudonym", func(s subject.Subject) string { return s.ID }},
			{"kind", func(s subject.Subject) string { return s.Kind }},
			{"name", func(s subject.Subject) string { return s.Name }},
			{"held", func(s subject.Subject) string { return map[bool]string{true: "on hold"}[s.Held] }},
			{"since", func(s subject.Subject) string { return s.Since.Local().Format("2006-01-02 15:04:05") }},
		})
	}
	return privacy.Commands(ask, list, func(c *cobra.Command) *cobra.Command { return listing(c, o) })
}
