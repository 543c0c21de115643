package mcp

import (
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/policy"
)

// Authenticator says who a request is from. Its error is an *oauth.Refusal.
type Authenticator interface {
	Authenticate(r *http.Request) (*policy.Principal, error)
}

// Vault puts the credentials of an upstream where they belong. It refuses without a live permit for that upstream.
type Vault interface {
	// Apply sets the credential headers of an HTTP server.
	Apply(p *gate.Permit, h http.Header) error
	// Env returns the credential variables, as NAME=value, of a stdio server.
	Env(p *gate.Permit) ([]string, error)
}

// callTimeout is the default bound of one call. Tools that work longer than this without a task to poll are rare, and a
// caller that waits for nothing holds its place in concurrency limits.
const callTimeout = 10 * time.Minute

// Config makes a Gateway. Gate and Auth are required.
type Config struct {
	Gate     *gate.Gate
	Auth     Authenticator
	Vault    Vault // nil: no server has credentials
	Servers  []Server
	Profiles []Profile
	Guard    *edge.Guard  // which Host and Origin requests may have; nil: loopback names only
	Log      *slog.Logger // nil: discarded
	Version  string       // of this program, told to clients and servers
	Meter    metric.Meter // tells of the servers when it is read; nil: no metrics

	// SealKey seals what callers keep for the gateway between two requests: ids of tasks, states of calls that wait for an
	// answer. It has seal.KeyBytes; replicas share it. Nil: one that ends with the process.
	SealKey []byte

	// Peers are the other replicas, which this one passes requests on to that belong there; they share SealKey. Nil: there
	// are none.
	Peers *peer.Net

	// CallTimeout bounds one call from leaving until its result; 0: 10 minutes. Server.Timeout goes before it.
	CallTimeout time.Duration
}

// Server is one MCP server behind the gateway. Exactly one of URL and Command is set.
type Server struct {
	Name    string   // lower-case letters, digits, - and _; no "__", no - or _ at either end; the prefix of its names
	URL     *url.URL // streamable HTTP endpoint
	Private bool     // the URL was written by the operator and may have a private address
	Command []string // argv of a stdio server; no shell is involved
	Dir     string   // working directory of Command; empty: a temporary one
	Env     map[string]secret.String
	Shared  bool // one child of Command serves all callers; else those it may ask or tell something have their own

	Era     string        // "legacy" or "modern" forces the protocol era; empty or "auto": probe
	Timeout time.Duration // of one call; 0: Config.CallTimeout

	Trusted      bool // its tool annotations count in policy
	Tools        map[string]ToolOverride
	PricePerCall ledger.Nano // of a tool call; 0: free
}

// ToolOverride says about one tool, by the server's own name for it, what the server does not say or is not believed to
// say: ReadOnly, Destructive, Idempotent, OpenWorld and Price per call. Nil fields override nothing.
type ToolOverride = catalog.Override

// Profile is a named selection of servers, served at /mcp/{name} with prefixed names.
type Profile struct {
	Name    string
	Servers []string
}

// Upstreams are the gate's upstreams for servers.
func Upstreams(servers []Server) []gate.Upstream {
	out := make([]gate.Upstream, 0, len(servers))
	for _, s := range servers {
		out = append(out, gate.Upstream{Side: policy.Tools, Name: s.Name, URL: s.URL, Private: s.Private})
	}
	return out
}
