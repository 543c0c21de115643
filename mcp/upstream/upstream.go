package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/internal/strictjson"
)

// Era is a family of protocol versions.
type Era string

// The two eras.
const (
	Legacy Era = "legacy" // 2024-11-05 to 2025-11-25
	Modern Era = "modern" // 2026-07-28
)

// Vault puts the credentials of an upstream where they belong; see mcp.Vault.
type Vault interface {
	Apply(p *gate.Permit, h http.Header) error
	Env(p *gate.Permit) ([]string, error)
}

// Config makes a Server. Gate, Name and exactly one of URL and Command are required.
type Config struct {
	Gate  *gate.Gate
	Vault Vault // nil: no credentials

	Name    string   // of the server in the config, and of its gate.Upstream
	URL     *url.URL // streamable HTTP endpoint
	Command []string // argv of a stdio server
	Dir     string   // working directory of Command; empty: a temporary one
	Env     map[string]secret.String
	Shared  bool // one child of Command serves all callers, whatever they can be asked or told

	Era     Era    // forces one; empty: probe
	Version string // of this program, told to the server in clientInfo
	Log     *slog.Logger

	// Changed is called, from any goroutine and never while a method of the Server holds a lock, when the server says that
	// a list changed or its connection is lost. It returns at once. Nil: nobody listens.
	Changed func(Change)
}

// Change is what Config.Changed is told.
type Change string

// The changes. After Lost the lists may still be right, but calls will fail until Discover succeeds again.
const (
	ToolsChanged     Change = "tools"
	ResourcesChanged Change = "resources"
	PromptsChanged   Change = "prompts"
	Lost             Change = "lost"
)

// Server is one MCP server. All methods are safe for concurrent use.
//
// A legacy server asks its client in mid-call, by requests of its own (elicitation, sampling, roots): they go to the Ask of
// the exchange they belong to, and what belongs to none, or could belong to several callers' exchanges, is refused with
// -32601. Ping is answered here. A modern server asks by a result of type input_required, which Call returns as it came.
type Server interface {
	// Discover connects if need be, settles the era and fetches all lists, all pages, within bounds. It makes its own
	// gate.Do of policy.ServerDiscover (and policy.SessionOpen for what outlives it), on nobody's behalf. It may be called
	// again at any time; it then reconnects what is dead and lists anew. The error is a *Fault.
	Discover(ctx context.Context) (*Offer, error)

	// Ping asks a connected server for a sign of life under its own gate.Do of policy.ServerPing (legacy: ping; modern:
	// server/discover). The error is a *Fault.
	Ping(ctx context.Context) error

	// Call carries x under x.Permit, which must be live, and returns the server's answer. It does not settle: what the
	// answer costs is for the caller to say. When ctx ends the server is told (legacy and stdio: notifications/cancelled;
	// modern HTTP: the stream is closed) and Call returns. A lost session is opened anew, and the request repeated once,
	// only where the server cannot have acted on it (404 for the session, -32020 or -32022). An error is a *Fault or
	// ctx's or the gate's own.
	Call(ctx context.Context, x *Exchange) (*Answer, error)

	// Subscribe watches the resource x.Name for the caller of x: updated is called with the raw params of each
	// notifications/resources/updated about it, from one goroutine at a time, until stop is called, which may be done more
	// than once and does not wait. What the server has to be asked for it is asked under x.Permit, which is not settled
	// here. An Answer is an error of the server's; the caller is then not subscribed and stop is nil. Watchers of one
	// resource share what can be shared without one principal seeing another's. With the method TasksGet it is the task of
	// the id x.Name that is watched, and each notifications/tasks about it that is told.
	Subscribe(ctx context.Context, x *Exchange, updated func(params []byte)) (stop func(), a *Answer, err error)

	// Tell passes a notification of a client (notifications/roots/list_changed) on to the sessions that are kept for it. It
	// does not wait; where there is no such session there is nothing to tell.
	Tell(client, method string, params []byte)

	// Leave ends the sessions kept for a client whose own has ended. It does not wait.
	Leave(client string)

	// Counts are the server's figures now.
	Counts() Counts

	// Close ends sessions and stops the child: SIGTERM, then SIGKILL when ctx ends.
	Close(ctx context.Context) error
}

// Counts are figures of a server, for metrics and health.
type Counts struct {
	Sessions int // with a legacy server, open now; a child that runs is one too
	Streams  int // on which a server speaks by itself, open now

	Questions  int64 // carried to callers, since the start
	Reconnects int64 // sessions, streams and children opened again after they were lost, since the start
}

// TasksGet is the method by which a modern server tells of a task.
const TasksGet = "tasks/get"

// Exchange is one request on its way to a server, with all that its caller said about it.
type Exchange struct {
	Permit *gate.Permit // names upstream, target and principal; sessions with legacy servers are kept per principal

	Method string // "tools/call"
	Name   string // tool, prompt or resource URI as the server names it, for Mcp-Name; empty: the method has none
	Params []byte // raw JSON object without the member _meta; names in it are already the server's; nil: none

	Era           Era    // of the caller
	Version       string // protocol version of the caller
	Meta          []byte // raw JSON object: the caller's params._meta without the keys of the protocol; nil: none
	ProgressToken []byte // the caller's, a raw JSON string or number; nil: no progress is wanted
	LogLevel      string // lowest level wanted by the caller; empty: no notifications/message
	Capabilities  []byte // raw JSON object: what the caller declared

	// Tasks says that the answer may be a task (io.modelcontextprotocol/tasks), which whoever made the exchange follows up. A
	// server that has the extension is told so; others are not.
	Tasks bool

	// Timed says that whoever made the exchange ends its context in time, though that has no deadline.
	Timed bool

	// Ask carries what the server asks in the middle of this exchange to its caller; it is not called after Call has
	// returned. Nil: the caller can be asked nothing, and the server is told so by declaring no such capability to it.
	Ask Ask

	// Client is the session in which a legacy caller sent this; nil: it has none, as modern callers.
	Client *Client

	// Notify receives the notifications/progress and notifications/message of this exchange, in order, all before Call
	// returns, from one goroutine at a time. params is a raw object, valid during the call, in which progressToken is
	// already the caller's. Nil: they are dropped.
	Notify func(method string, params []byte)
}

// Ask asks a caller something on behalf of a server: elicitation/create, sampling/createMessage or roots/list, with the raw
// params object as the server sent it (nil: none). It blocks until the caller has answered or ctx has ended, because the
// server takes its question back or its exchange is over. The answer, never nil, is the caller's result, or an error: the
// caller's own, or why it cannot be asked. It may be called by several goroutines at a time.
type Ask func(ctx context.Context, method string, params []byte) *Answer

// Client is a legacy caller's session with the gateway. A legacy server that keeps sessions gets one of its own for it, so
// that what is said in one belongs to the other.
type Client struct {
	ID string // of the session, unique in this process

	// Ask carries what a server asks in the client's session outside of any exchange; nil: such requests are refused.
	Ask Ask
	// Notify takes notifications of that session that belong to no exchange: notifications/message and
	// notifications/elicitation/complete. Nil: they are dropped. params is valid during the call.
	Notify func(method string, params []byte)
}

// Answer is a server's whole answer: Result or Error.
type Answer struct {
	Result []byte // raw JSON object as it came
	Error  *RPCError
}

// RPCError is a JSON-RPC error of a server.
type RPCError struct {
	Code int
	Raw  []byte // the whole error object as it came: code, message, data and whatever else
	HTTP int    // status it came with; 0: not over HTTP
}

// NewError is a JSON-RPC error in the gateway's own words.
func NewError(code int, message string) *RPCError {
	raw := strictjson.Quote(fmt.Appendf(nil, `{"code":%d,"message":`, code), message)
	return &RPCError{Code: code, Raw: append(raw, '}')}
}

func (e *RPCError) Error() string { return fmt.Sprintf("the server answered error %d", e.Code) }

// FaultKind says how an exchange failed without an answer.
type FaultKind string

// The kinds of faults.
const (
	Unreachable FaultKind = "unreachable" // no connection, refused credentials, HTTP error without JSON-RPC body, child will not start
	Garbage     FaultKind = "garbage"     // not MCP: bad JSON, wrong id, no result, wrong content type
	TooLarge    FaultKind = "too_large"   // answer, event or line beyond its bound
	Gone        FaultKind = "gone"        // the connection broke or the child exited before the answer
	Late        FaultKind = "late"        // no answer in time
)

// Fault is why there is no answer.
type Fault struct {
	Kind FaultKind
	Text string // for the caller: lower case, no addresses, no credentials, nothing of the server's body
	HTTP int    // status, when there was one
	Err  error  // for the log; may be nil
}

func (f *Fault) Error() string { return f.Text }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Offer is what a server says of itself. Slices are not changed after Discover has returned.
type Offer struct {
	Era          Era
	Version      string   // protocol version spoken
	Versions     []string // all it supports, when it said so
	Info         []byte   // serverInfo, a raw object; nil: not told
	Capabilities []byte   // raw object
	Instructions string

	Tools     [][]byte // raw items, as listed
	Resources [][]byte
	Templates [][]byte
	Prompts   [][]byte

	// Faults says which lists could not be fetched whole ("tools", "resources", "templates", "prompts") and why; such a
	// list holds what came before the fault. A server that offers no tools at all and says so has no fault.
	Faults map[string]string

	TTL    time.Duration // shortest ttlMs of its lists; 0: none told
	Public bool          // all its lists came with cacheScope public
}
