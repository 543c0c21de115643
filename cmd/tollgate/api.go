package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/limits"
)

// tailWait is how long a tail waits for a new entry before it looks whether its reader is still there.
const tailWait = time.Second

// apiRoutes is the admin API: what the command line and operators' programs use.
func (p *process) apiRoutes(mux *http.ServeMux) {
	p.keyRoutes(mux)
	p.sinkRoutes(mux)
	p.proofRoutes(mux)
	p.subjectRoutes(mux)
	(&queries.API{Index: p.index, Log: p.log, Ready: p.ledger.Ready, Users: p.privacy.Lookup, Names: p.privacy.Spell}).Register(mux)
	mux.HandleFunc("GET /api/v1/limits", func(w http.ResponseWriter, r *http.Request) {
		all, err := p.standings(r.Context())
		if err != nil {
			p.log.Error("limits cannot be listed", "err", err)
			writeProblem(w, http.StatusServiceUnavailable, "the names of users cannot be looked up now: see the log")
			return
		}
		writeJSON(w, http.StatusOK, all)
	})
	mux.HandleFunc("GET /api/v1/tail", p.tail)
}

// standing is how one limit stands. Amounts are integers in the limit's unit, money in nano-USD; the texts say the same.
type standing struct {
	Scope string      `json:"scope"`
	Limit string      `json:"limit"`
	On    []string    `json:"on,omitempty"`
	Unit  limits.Unit `json:"unit"`
	Used  int64       `json:"used"`
	Held  int64       `json:"held"`
	Left  int64       `json:"left"`
	Reset time.Time   `json:"resets,omitzero"`
	Texts struct {
		Used, Held, Left string
	} `json:"texts"`
}

// standings lists every limit; those of keys say the key's name, those of users theirs.
func (p *process) standings(ctx context.Context) ([]standing, error) {
	keyNames := map[string]string{}
	for _, k := range p.keys.List() {
		keyNames[k.ID] = k.Name
	}
	out := []standing{}
	for _, b := range p.ledger.Balances() {
		s := standing{Scope: b.Scope.String(), Limit: b.Limit.Text, On: b.Limit.On, Unit: b.Limit.Unit, Used: b.Used, Held: b.Held, Left: b.Left, Reset: b.Reset}
		if name := keyNames[b.Scope.Name]; b.Scope.Level == ledger.KeyLevel && name != "" {
			s.Scope = "key " + name
		}
		s.Texts.Used, s.Texts.Held, s.Texts.Left = b.Spell(b.Used), b.Spell(b.Held), b.Spell(b.Left)
		out = append(out, s)
	}
	for i := range out {
		if err := p.privacy.Spell(ctx, &out[i].Scope); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tail streams entries that are written from now on, one JSON object per line, until the reader leaves or the
// gateway stops.
func (p *process) tail(w http.ResponseWriter, r *http.Request) {
	reader := p.ledger.Reader(p.ledger.End())
	defer reader.Close()
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	_ = out.Flush()
	for r.Context().Err() == nil && !p.draining.Load() && p.ledger.Ready() == nil {
		e, err := reader.Next()
		if errors.Is(err, io.EOF) {
			_ = out.Flush()
			reader.Wait(r.Context(), tailWait)
			continue
		}
		if err != nil {
			p.log.Error("reading the journal for a tail", "err", err)
			return
		}
		if err := p.privacy.Spell(r.Context(), &e.Who.User, &e.Detail); err != nil {
			p.log.Error("a tail shows pseudonyms: names cannot be looked up", "err", err)
		}
		if enc.Encode(&e) != nil {
			return
		}
	}
}
