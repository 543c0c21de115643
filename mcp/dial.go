package mcp

import (
	"github.com/tollgate/tollgate/mcp/stdio"
	"github.com/tollgate/tollgate/mcp/streamable"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// dial makes the upstream.Server of cfg, by the transport its address is for. It connects to nothing yet.
func dial(cfg upstream.Config) (upstream.Server, error) {
	if cfg.URL != nil {
		return streamable.New(cfg)
	}
	return stdio.New(cfg)
}
