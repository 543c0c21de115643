package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/cmd/tollgate/privacy"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/ledger/subject"
)

// The files of the data directory about people and payloads.
const (
	subjectsFile = "subjects.db"
	payloadsFile = "payloads.db"
	kekFile      = "kek" // the default key-encryption key of a gateway that stands alone
)

// openSubjects opens who is behind the entries, before the ledger asks for it. The users of the config are known from then
// on, so that no call waits for one of them.
func (p *process) openSubjects(ctx context.Context) error {
	s := p.inForce()
	kek, err := p.kek()
	if err != nil {
		return err
	}
	cfg := subject.Config{Path: p.file(subjectsFile), Database: p.database, KEK: kek, Before: s.Privacy.KEKBefore, Log: p.log}
	err = p.reach(ctx, func() (err error) {
		p.subjects, err = subject.Open(ctx, cfg)
		return err
	})
	if err != nil {
		return err
	}
	hear := p.beside(ctx, p.subjects.Run)
	p.undoBy(func(context.Context) error { hear(); return p.subjects.Close() })
	if old, err := p.subjects.Outdated(ctx); err == nil && old {
		p.log.Warn("names and payloads are sealed with the key-encryption key before: run tollgate audit rekey")
	}
	for name := range s.Users {
		if _, err := p.subjects.Pseudonym(name); err != nil {
			return fmt.Errorf("giving users pseudonyms: %w", err)
		}
	}
	return nil
}

// kek is the key-encryption key: the config's, or one derived from what the replicas share, or a file.
func (p *process) kek() ([]byte, error) {
	switch {
	case p.inForce().Privacy.KEK != nil:
		return p.inForce().Privacy.KEK, nil
	case p.shared != nil:
		return p.shared.Payload, nil
	}
	return secret.KeyFile(p.file(kekFile), "the key-encryption key", subject.KeyBytes)
}

// openPayloads opens what is kept of payloads, after the ledger, whose digests it takes.
func (p *process) openPayloads(ctx context.Context) error {
	var meter metric.Meter
	if p.telemetry != nil {
		meter = p.telemetry.Meter
	}
	cfg := payload.Config{
		Path: p.file(payloadsFile), Database: p.database, Subjects: p.subjects, Digest: p.ledger.NewDigest, Mask: p.mask, Log: p.log, Meter: meter,
	}
	err := p.reach(ctx, func() (err error) {
		p.payloads, err = payload.Open(ctx, cfg)
		return err
	})
	if err != nil {
		return err
	}
	p.capture()
	store := p.beside(ctx, p.payloads.Run)
	p.undoBy(func(context.Context) error { store(); return p.payloads.Close() })
	return nil
}

// capture puts the config's word on payloads in force.
func (p *process) capture() {
	s := p.inForce()
	p.payloads.SetRules(s.Privacy.Rules, s.Privacy.Retention)
}

// beside runs fn until the returned function is called, which waits for its end.
func (p *process) beside(ctx context.Context, fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { fn(ctx) })
	return func() { cancel(); running.Wait() }
}

// userID is what stands in entries for the user whom an operator names.
func (p *process) userID(ctx context.Context, name string) (string, error) {
	return privacy.Lookup(ctx, p.subjects, name)
}

// userNames writes the names of users in the place of their pseudonyms in texts for operators.
func (p *process) userNames(ctx context.Context, texts ...*string) error {
	return privacy.Spell(ctx, p.subjects, texts...)
}

// subjectRoutes are the admin API's part for subjects and payloads.
func (p *process) subjectRoutes(mux *http.ServeMux) {
	api := privacy.API{
		Subjects: p.subjects, Payloads: p.payloads, Ledger: p.ledger, Log: p.log,
		KeyID: func(text string) (string, bool) {
			for _, k := range p.keys.List() {
				if k.Name == text || k.ID == text {
					return k.ID, true
				}
			}
			return "", false
		},
		Acting: func(user string) (names []string) {
			for _, k := range p.keys.List() {
				if k.User == user && !k.Declared && k.Revoked.IsZero() {
					names = append(names, k.Name)
				}
			}
			slices.Sort(names)
			return names
		},
		Unname:   p.keys.Unname,
		Declared: func(user string) bool { return p.inForce().Users[user] },
		Plain: func(ctx context.Context, user string) (bool, error) {
			found, err := p.index.Calls(ctx, index.Filter{User: user, Limit: 1})
			return len(found.Items) > 0, err
		},
	}
	api.Register(mux)
}

// privacyCommands are those of audit about subjects and payloads.
func privacyCommands(o *options) []*cobra.Command {
	ask := func(ctx context.Context, method, path string, body, answer any) error {
		op, err := o.operate(ctx)
		if err != nil {
			return err
		}
		err = op.do(ctx, method, path, body, answer)
		if closed := op.close(); err == nil {
			err = closed
		}
		return err
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
	all := privacy.Commands(ask, list)
	for _, c := range all {
		if c.Name() == "subjects" {
			listing(c, o)
		}
	}
	return all
}
