package front

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/owned"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/front/views"
	"github.com/tollgate/tollgate/mcp/park"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/seal"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// Backend is what the front stands on. Safe for concurrent use.
type Backend interface {
	// Catalog is what the servers offer now.
	Catalog() *catalog.Catalog
	// Changed returns a channel that is closed when the catalog changes next.
	Changed() <-chan struct{}
	// Settle waits until each of the servers has been heard of or its first chance to be has passed.
	Settle(ctx context.Context, servers []string)
	// Visible returns what p may see.
	Visible(p *policy.Principal) catalog.Visible
	// Policy is the set of rules that Visible goes by now.
	Policy() *policy.Set
	// Degraded returns for each server a word on why it is not whole, a raw JSON object; nil: it is.
	Degraded(servers []string) [][]byte
	// Call makes a call. The error is ErrHidden or an *rpc.Error.
	Call(ctx context.Context, c *Call) (*era.Result, error)
	// Legacy reports whether a server is of the legacy era; one that has not been heard of is not.
	Legacy(server string) bool
	// Local reports whether a server is a child of this process, whose tasks no other replica knows.
	Local(server string) bool
	// Again decides anew whether a call that waits for its caller may go on. The result or error says why it may not, as
	// those of Call; nil and nil: it may.
	Again(ctx context.Context, c *Call) (*era.Result, error)
	// Subscribe watches a resource for the caller of c until stop is called; see upstream.Server. The error is ErrHidden or
	// an *rpc.Error.
	Subscribe(ctx context.Context, c *Call, updated func(params []byte)) (stop func(), err error)
	// Tell passes a client's notification on to the server of that name, if it keeps a session for the client; empty: to all
	// that do. It does not wait.
	Tell(server, client, method string, params []byte)
	// Leave says that a client's session has ended. It does not wait.
	Leave(client string)
	// Refuse records a request that did not become a call.
	Refuse(ctx context.Context, c policy.Call, reason string)
}

// ErrHidden means that the caller may not know of what it asked for.
var ErrHidden = errors.New("front: hidden")

// Call is one call on its way to a server.
type Call struct {
	Principal *policy.Principal
	Action    policy.Action
	Entry     *catalog.Entry
	Method    string
	Params    []byte // without _meta; names in it are the server's
	Args      []byte // raw arguments; nil: none
	Task      string // the server's id of the task that this is about; empty: none
	Whole     bool   // a task is of no use to the caller: the gateway follows it to its end, as for legacy ones
	Context   *era.Context
	Notify    func(method string, params []byte) // nil: nobody listens
	Ask       upstream.Ask                       // nil: the caller can be asked nothing
	Client    *upstream.Client                   // nil: the caller has no session
	Cancel    context.CancelFunc                 // ends the context that the call is made in; nil: that is not its own
}

// Authenticator says who a request is from. Its error is an *oauth.Refusal.
type Authenticator interface {
	Authenticate(r *http.Request) (*policy.Principal, error)
}

// Config makes a Front. Auth, Backend and Sealer are required.
type Config struct {
	Auth    Authenticator
	Backend Backend
	Sealer  *seal.Sealer // of what callers keep for the gateway; shared with Peers
	Peers   *peer.Net    // the other replicas; nil: there are none
	Guard   *edge.Guard  // nil: loopback names only
	Log     *slog.Logger
	Version string // of this program
}

// Front serves MCP over HTTP. Safe for concurrent use.
type Front struct {
	cfg      Config
	methods  map[string]method
	sessions *sessions
	links    *owned.Things[owner, *link]
	views    views.Views
	lot      *park.Lot
	self     []byte // serverInfo
	closing  context.Context
	close    context.CancelFunc
	quiet    context.Context // ends with closing or before: streams that only wait end
	drain    context.CancelFunc
}

// New makes a front.
func New(cfg Config) *Front {
	if cfg.Guard == nil {
		cfg.Guard = &edge.Guard{}
	}
	f := &Front{cfg: cfg, methods: methodTable(), lot: park.New(cfg.Sealer, placeOf(cfg.Peers))}
	f.links = owned.New[owner, *link](linksOwnerMax, f.newID)
	f.self = append([]byte(`{"name":"tollgate","version":`), rpc.String(cfg.Version)...)
	f.self = append(f.self, '}')
	f.closing, f.close = context.WithCancel(context.Background())
	f.quiet, f.drain = context.WithCancel(f.closing)
	f.sessions = newSessions(f.closing, cfg.Backend, f.newID)
	return f
}

// Drain ends what waits, so that a listener can be shut down: streams that something may be told on some day, calls that
// are parked, and the connections of HTTP+SSE and stdio as soon as what came over them is answered. Everything else goes
// on.
func (f *Front) Drain() {
	f.drain()
	f.lot.Close()
}

// Close ends all streams and sessions and cancels what is in flight; new requests are refused.
func (f *Front) Close() {
	f.close()
	f.lot.Close()
}

// exchange is one request, or what came with it, on its way through the front.
type exchange struct {
	*Front
	w       http.ResponseWriter
	r       *http.Request
	mirror  http.Header       // headers that must say what the body says; nil: the transport has none
	base    *policy.Principal // as authenticated
	space   *catalog.Space
	session *session // nil: modern, or not opened yet
	link    *link    // the connection it came over; nil: it came by streamable HTTP
	out     *reply.Reply
	cancel  context.CancelFunc // ends the context that the request is served in
	body    []byte             // of r, when it was read whole
	page    []byte             // begins the result; others may have it, so it is not changed. nil: the result is all there is
}

// ServeHTTP serves /mcp and /mcp/{name}, and /sse and /sse/{name} for clients of 2024-11-05.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Front: f, w: w, r: r, mirror: r.Header}
	if name, ok := spaceName(r.URL.Path, "/sse"); ok {
		if x.enter(name, true) {
			x.sse()
		}
		return
	}
	name, ok := spaceName(r.URL.Path, "/mcp")
	if x.enter(name, ok) {
		x.streamable()
	}
}

// enter lets a request in that passes the edge, has a key and asks for a namespace that there is; else it is answered.
func (x *exchange) enter(name string, ok bool) bool {
	if p := x.guard(); p != nil {
		x.turnAway(nil, rpc.Refused(p.Status, p.Text))
		return false
	}
	if x.closing.Err() != nil {
		x.refuse(nil, rpc.Refused(http.StatusServiceUnavailable, "the gateway is shutting down"))
		return false
	}
	base, err := x.cfg.Auth.Authenticate(x.r)
	if err != nil {
		x.unauthorized(err)
		return false
	}
	x.base = base
	if ok {
		x.space = x.cfg.Backend.Catalog().Space(name)
	}
	if x.space == nil || name != "" && !x.knows() {
		x.turnAway(nil, rpc.Refused(http.StatusNotFound, "there is no MCP endpoint of this name"))
		return false
	}
	return true
}

// guard says what is wrong with the request at the edge. One that another replica has passed on has been at the edge there,
// under that one's names.
func (x *exchange) guard() *edge.Problem {
	if peer.Forwarded(x.r) {
		return nil
	}
	return x.cfg.Guard.Check(x.r)
}

// streamable serves streamable HTTP.
func (x *exchange) streamable() {
	switch {
	case x.r.Method == http.MethodPost:
		x.post()
	case x.r.Method == http.MethodGet && x.inSession():
		x.get()
	case x.r.Method == http.MethodDelete && x.inSession():
		x.delete()
	default:
		x.w.Header().Set("Allow", http.MethodPost)
		x.refuse(nil, rpc.Refused(http.StatusMethodNotAllowed, "use POST; GET and DELETE belong to the sessions that initialize opens"))
	}
}

// spaceName reads the namespace from a path below prefix.
func spaceName(path, prefix string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	name = strings.TrimPrefix(rest, "/")
	return name, !strings.Contains(name, "/")
}

// caller returns who is calling, with the client that the request claims.
func (x *exchange) caller(client string) *views.Caller {
	return x.views.Caller(x.cfg.Backend, x.base, client)
}

// knows reports whether the caller may know that the namespace exists: it sees something of one of its servers, or might
// once the server has been heard of.
func (x *exchange) knows() bool {
	view := x.caller("").View(x.space)
	for _, s := range x.space.Servers {
		if view.Sees(s) {
			return true
		}
		heard := slices.ContainsFunc(x.space.Shelves, func(shelf *catalog.Shelf) bool { return shelf.Server == s })
		if !heard && x.cfg.Backend.Visible(x.base)(unheard(s)) {
			return true
		}
	}
	return false
}

// unheard stands for the tools of a server that has not said yet which it has: the most harmless one.
func unheard(server string) *policy.Tool {
	return &policy.Tool{Server: server, Name: "*", Kind: "tool", ReadOnly: true, Idempotent: true}
}

// inSession reports whether the request names a session rather than being modern.
func (x *exchange) inSession() bool {
	v := x.r.Header.Get("Mcp-Protocol-Version")
	return x.r.Header.Get("Mcp-Session-Id") != "" && (v == "" || era.IsLegacy(v))
}

func (x *exchange) post() {
	body, problem := edge.Body(x.w, x.r, edge.Limits{})
	if problem != nil {
		x.turnAway(nil, rpc.Refused(problem.Status, problem.Text))
		return
	}
	x.body = body
	x.out = reply.New(x.w, x.r)
	defer x.out.End()
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) > 0 && b[0] == '[' {
		x.batch(body)
		return
	}
	m, meta := x.message(body)
	switch {
	case m == nil:
	case meta.Era(x.mirror, m) == upstream.Modern:
		x.modern(m, meta)
	default:
		x.legacy(m, meta)
	}
}

// message reads a message and what it says of itself; nil: it could not be read, which has been answered.
func (x *exchange) message(raw []byte) (*rpc.Message, *era.Meta) {
	m, err := rpc.Parse(raw)
	if err != nil {
		x.turnAway(nil, err)
		return nil, nil
	}
	meta, err := era.Read(m)
	if err != nil {
		x.turnAway(m, err)
		return nil, nil
	}
	return m, meta
}

// modern serves one request of 2026-07-28: it stands alone.
func (x *exchange) modern(m *rpc.Message, meta *era.Meta) {
	switch {
	case m.Response():
		x.turnAway(m, rpc.Invalid("protocol version "+era.V2026+" has no requests that a client answers"))
		return
	case m.Notification():
		x.w.WriteHeader(http.StatusAccepted)
		return
	}
	if to, gone, ok := x.elsewhere(m); ok {
		x.passOn(to, m, gone)
		return
	}
	c, err := meta.Modern(x.mirror, m)
	if err != nil {
		x.turnAway(m, err)
		return
	}
	// The client leaving is its way to cancel.
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(x.closing, cancel)()
	x.cancel = cancel
	x.serve(ctx, m, c)
}

// unauthorized answers a request without a valid key.
func (x *exchange) unauthorized(err error) {
	var refusal *oauth.Refusal
	if !errors.As(err, &refusal) {
		if x.cfg.Log != nil {
			x.cfg.Log.Error("a request could not be authenticated", "err", err)
		}
		refusal = &oauth.Refusal{Status: http.StatusInternalServerError, Text: "the request could not be authenticated"}
	}
	if refusal.Status == http.StatusUnauthorized {
		x.w.Header().Set("WWW-Authenticate", "Bearer")
	}
	x.turnAway(nil, rpc.Refused(refusal.Status, refusal.Text))
}

// turnAway records that the request did not become a call, and refuses it; m nil: it could not be read.
func (x *exchange) turnAway(m *rpc.Message, e *rpc.Error) {
	method := ""
	if m != nil {
		method = m.Method
	}
	x.record(x.base, method, "", e.Message)
	x.refuse(idOf(m), e)
}

// record writes down a refusal.
func (x *exchange) record(p *policy.Principal, method, target, reason string) {
	c := policy.Call{Principal: p, Action: x.methods[method].action, Target: clip(target), Source: edge.Source(x.r)}
	if c.Action == "" {
		c.Action = policy.ToolCall // what could not be read might have been one
	}
	x.cfg.Backend.Refuse(x.r.Context(), c, reason)
}

// nameShownMax bounds what is repeated of a name that nothing answers to.
const nameShownMax = 128

func clip(name string) string {
	if len(name) <= nameShownMax {
		return name
	}
	return strings.ToValidUTF8(name[:nameShownMax], "") + "…"
}

// refuse answers with an error and nothing else.
func (x *exchange) refuse(id []byte, e *rpc.Error) {
	if x.out == nil {
		x.out = reply.New(x.w, x.r)
		defer x.out.End()
	}
	if e.HTTP == http.StatusServiceUnavailable {
		x.w.Header().Set("Retry-After", "1")
	}
	x.out.Fail(id, e)
}

// The rhythm of streams.
const (
	recheckEvery = 5 * time.Second        // a stream of a revoked key or under a new policy ends or changes within it
	changeWithin = 100 * time.Millisecond // changes that come together are told once
)
