package main

import (
	"net/http"
	"time"

	"github.com/tollgate/tollgate/internal/edge"
)

// health is the answer of /readyz.
type health struct {
	Ready     bool             `json:"ready"`
	Reasons   []string         `json:"reasons,omitempty"`
	Policy    string           `json:"policy_revision,omitempty"`
	Replica   *replicaHealth   `json:"replica,omitempty"` // nil: this gateway stands alone
	Servers   []serverHealth   `json:"servers,omitempty"`
	Providers []providerHealth `json:"providers,omitempty"`
}

type serverHealth struct {
	Name       string    `json:"name"`
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	Reason     string    `json:"reason,omitempty"`
	Era        string    `json:"era,omitempty"`
	Version    string    `json:"version,omitempty"`
	Tools      int       `json:"tools"`
	Resources  int       `json:"resources"`
	Prompts    int       `json:"prompts"`
	Withheld   []string  `json:"withheld,omitempty"`
	Stale      bool      `json:"stale,omitempty"`
	Sessions   int       `json:"sessions"`
	Streams    int       `json:"streams"`
	Questions  int64     `json:"questions"`
	Reconnects int64     `json:"reconnects"`
}

type providerHealth struct {
	Name    string   `json:"name"`
	Models  int      `json:"models"`
	Resting []string `json:"resting,omitempty"`
	Failed  string   `json:"failed,omitempty"`
}

// healthRoutes adds /healthz (the process is alive) and /readyz (it may be sent requests). Which servers there are is told
// only to this machine.
func (p *process) healthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		h := p.health()
		status := http.StatusOK
		if !h.Ready {
			status = http.StatusServiceUnavailable
		}
		if !edge.Loopback(r) {
			h = health{Ready: h.Ready}
		}
		writeJSON(w, status, h)
	})
}

// health asks every part. A server that is down does not make the gateway unready: it is missing from lists, no more.
func (p *process) health() health {
	h := health{Policy: p.gate.Policy().Revision()}
	parts := []error{p.ledger.Ready(), p.keys.Ready(), p.llm.Ready()}
	if p.lease != nil {
		parts = append(parts, p.lease.Alive())
	}
	if p.roster != nil {
		h.Replica = &replicaHealth{p.roster.Others(), p.index.Lag().Seconds()}
	}
	for _, err := range parts {
		if err != nil {
			h.Reasons = append(h.Reasons, err.Error())
		}
	}
	h.Ready = len(h.Reasons) == 0
	for _, s := range p.mcp.Health() {
		h.Servers = append(h.Servers, serverHealth{
			Name: s.Name, State: string(s.State), Since: s.Since, Reason: s.Reason, Era: s.Era, Version: s.Version,
			Tools: s.Tools, Resources: s.Resources, Prompts: s.Prompts, Withheld: s.Withheld, Stale: s.Stale,
			Sessions: s.Sessions, Streams: s.Streams, Questions: s.Questions, Reconnects: s.Reconnects,
		})
	}
	for _, v := range p.llm.Health() {
		one := providerHealth{Name: v.Provider, Models: v.Models, Resting: v.Resting}
		if v.Failed != nil {
			one.Failed = v.Failed.Error()
		}
		h.Providers = append(h.Providers, one)
	}
	return h
}
