package mcp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// Gateway serves MCP to agents and calls the servers behind it. All methods are safe for concurrent use.
type Gateway struct {
	cfg Config
}

// New makes a Gateway and begins to connect its servers in the background; it does not wait for them. It refuses a
// Config without gate or authenticator, and servers or profiles whose names collide or break the rules.
func New(cfg Config) (*Gateway, error) {
	if cfg.Gate == nil || cfg.Auth == nil {
		return nil, errors.New("mcp: Config needs Gate and Auth")
	}
	return &Gateway{cfg: cfg}, nil
}

// Handler serves /mcp and /mcp/{name}.
func (g *Gateway) Handler() http.Handler {
	return http.NotFoundHandler()
}

// Reload replaces servers and profiles, all or nothing. Servers whose definition is unchanged keep their connections;
// calls in flight on removed ones are finished within their grace.
func (g *Gateway) Reload(servers []Server, profiles []Profile) error { return nil }

// Close refuses new calls, waits for those in flight until ctx ends, then closes sessions and stops every child.
func (g *Gateway) Close(ctx context.Context) error { return nil }

// State is what a server is doing.
type State string

// The states of a server.
const (
	Connecting  State = "connecting"
	Ready       State = "ready"
	Unavailable State = "unavailable" // Reason says why; it is retried in the background
)

// ServerHealth is the state of one server, for health pages.
type ServerHealth struct {
	Name      string
	State     State
	Reason    string   // safe to show to an operator; names no address
	Era       string   // "legacy" or "modern"; empty until known
	Version   string   // protocol version spoken
	Tools     int      // listed tools
	Resources int      // listed resources
	Prompts   int      // listed prompts
	Withheld  []string // definitions that are not served, each with the reason
	Since     time.Time
	Stale     bool // the lists are of an earlier connection
}

// Health returns the state of every server, by name.
func (g *Gateway) Health() []ServerHealth { return nil }

// CallTool calls a tool by its exposed name (server__tool) with a raw JSON object of arguments, for p, and returns the
// raw result. It is the function the front itself uses: same decision, hold and entry. A visible tool that may not be
// called now yields a result with isError and the reason; an unknown or hidden one yields an error.
func (g *Gateway) CallTool(ctx context.Context, p *policy.Principal, name string, args []byte) ([]byte, error) {
	return nil, errors.New("mcp: not built yet")
}
