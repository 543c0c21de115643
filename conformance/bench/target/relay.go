package target

import (
	"net"
	"net/http"

	"github.com/tollgate/tollgate/internal/mcptest/relay"
)

// ServeRelay is the ungoverned relay of MCP: the mock's tool servers, each at its own path, behind package relay.
func ServeRelay(addr, mock string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: shared()}
	mux := http.NewServeMux()
	for path := range behind {
		mux.Handle(path, relay.New("http://"+mock+path, client))
	}
	mux.HandleFunc(metricsPath, func(w http.ResponseWriter, _ *http.Request) { tellMallocs(w) })
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	return (&http.Server{Handler: mux}).Serve(l)
}
