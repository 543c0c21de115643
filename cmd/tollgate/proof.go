package main

import (
	"context"
	"net/http"
	"path/filepath"

	"github.com/tollgate/tollgate/cmd/tollgate/evidence"
	"github.com/tollgate/tollgate/internal/postgres"
)

// openProof opens the proof of the ledger. Only a gateway works on it all the time; a command brings in what there is when
// it is asked to.
func (p *process) openProof(ctx context.Context) error {
	cfg := evidence.Config{Setup: p.inForce(), Journal: p.file(journalDir), Ledger: p.ledger, Database: p.database, Log: p.log}
	if p.telemetry != nil {
		cfg.Meter = p.telemetry.Meter
	}
	if p.lease != nil {
		cfg.Now = p.lease.Now // a machine whose clock is wrong must not sign for another day
	}
	open := func() (err error) {
		p.proof, err = evidence.Open(ctx, cfg)
		return err
	}
	var err error
	if p.database != nil {
		err = p.reach(ctx, open)
	} else {
		err = open()
	}
	if err != nil {
		return err
	}
	p.undoBy(p.proof.Close)
	if p.serving {
		p.proof.Run(ctx)
	}
	return nil
}

// proofRoutes lets an operator have everything signed that is written by now.
func (p *process) proofRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+evidence.SettlePath, func(w http.ResponseWriter, r *http.Request) {
		err := p.ledger.Sync(r.Context())
		if err == nil {
			err = p.proof.Settle(r.Context())
		}
		if err != nil {
			writeProblem(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		writeJSON(w, http.StatusOK, struct{}{})
	})
}

// logOf opens the log that the config means, for a command: see evidence.Opener.
func (o *options) logOf(ctx context.Context, settle bool) (part *evidence.Part, unsettled, err error) {
	if settle {
		op, err := o.operate(ctx)
		if err != nil {
			return nil, nil, err
		}
		unsettled = op.post(ctx, evidence.SettlePath, nil, nil)
		if err := op.close(); err != nil {
			return nil, nil, err
		}
	}
	src, err := o.source()
	if err != nil {
		return nil, nil, err
	}
	s, _, err := prepared(src)
	if err != nil {
		return nil, nil, err
	}
	cfg := evidence.Config{Setup: s, Journal: filepath.Join(s.Data, journalDir)}
	if s.Replica != nil {
		if cfg.Database, err = postgres.Open(ctx, postgres.Config{URL: s.Replica.Database}); err != nil {
			return nil, nil, err
		}
	}
	if part, err = evidence.Open(ctx, cfg); err != nil && cfg.Database != nil {
		cfg.Database.Pool.Close()
	}
	return part, unsettled, err
}
