package main

import "net/http"

// apiRoutes is the admin API: what the command line and operators' programs use.
func (p *process) apiRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
	})
	p.keyRoutes(mux)
}
