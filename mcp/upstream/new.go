package upstream

import (
	"errors"
	"log/slog"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// New makes a Server of cfg. It connects to nothing yet.
func New(cfg Config) (Server, error) {
	switch {
	case cfg.Gate == nil || cfg.Name == "":
		return nil, errors.New("mcp server: Config needs Gate and Name")
	case (cfg.URL == nil) == (len(cfg.Command) == 0):
		return nil, errors.New("mcp server " + cfg.Name + ": needs url or command, and not both")
	case cfg.Era != "" && cfg.Era != Legacy && cfg.Era != Modern:
		return nil, errors.New("mcp server " + cfg.Name + `: era is "legacy", "modern" or left out`)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	self := strictjson.Quote([]byte(`{"name":"tollgate","version":`), cfg.Version)
	self = append(self, '}')
	if cfg.URL != nil {
		return newHTTP(cfg, self), nil
	}
	return newStdio(cfg, self), nil
}
