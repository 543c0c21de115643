package era

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// Keys of params._meta and of a result's _meta.
const (
	keyPrefix       = "io.modelcontextprotocol/"
	keyVersion      = keyPrefix + "protocolVersion"
	keyCapabilities = keyPrefix + "clientCapabilities"
	keyClient       = keyPrefix + "clientInfo"
	keyLogLevel     = keyPrefix + "logLevel"
	keyServer       = keyPrefix + "serverInfo"
	KeySubscription = keyPrefix + "subscriptionId" // on every message of a listen stream
	keyProgress     = "progressToken"
	keyTraceParent  = "traceparent"
	keyTraceState   = "tracestate"
	keyBaggage      = "baggage"
)

// governed are the keys a case variant of which is refused: two readers could disagree about them.
var governed = [...]string{keyVersion, keyCapabilities, keyClient, keyLogLevel, keyProgress, keyTraceParent, keyTraceState, keyBaggage}

// claimBytesMax bounds the name/version a client claims: it is kept, shown and matched.
const claimBytesMax = 128

// Context is what a caller said about its request beside the request itself.
type Context struct {
	Era           upstream.Era
	Version       string
	Meta          []byte // raw object: params._meta without the keys of the protocol; nil: none
	ProgressToken []byte // raw string or number; nil: no progress is wanted
	LogLevel      string // lowest level wanted; empty: none
	Capabilities  []byte // raw object the client declared; nil: none
	Client        string // name/version it claims

	// W3C trace context from params._meta; empty: none.
	TraceParent, TraceState, Baggage string
}

// Meta is the params._meta of one message, taken apart.
type Meta struct {
	version, capabilities, client, logLevel []byte // raw; nil: absent
	context                                 Context
}

// Read takes params._meta of m apart. It refuses what no era allows: what is no object, a progress token of another
// kind, a name that differs from one of the protocol's only by case.
func Read(m *rpc.Message) (*Meta, *rpc.Error) {
	x := &Meta{}
	raw := m.Get(rpc.Meta)
	if raw == nil {
		return x, nil
	}
	if m.Kind(rpc.Meta) != '{' {
		return nil, malformed("params._meta must be an object")
	}
	own, others := 0, 0
	for name, v := range strictjson.Members(raw, strictjson.Whole(raw)) {
		known, err := x.take(name, v, raw)
		switch {
		case err != nil:
			return nil, err
		case known:
			own++
		default:
			others++
		}
	}
	switch {
	case others == 0:
	case own == 0:
		x.context.Meta = raw
	default:
		x.context.Meta = withoutOwn(raw)
	}
	return x, nil
}

// take keeps the value of one member and reports whether the key is the protocol's own, so that it goes no further.
func (x *Meta) take(name []byte, v strictjson.Value, raw []byte) (own bool, err *rpc.Error) {
	value := v.In(raw)
	switch string(name) {
	case keyVersion:
		x.version = value
	case keyCapabilities:
		x.capabilities = value
	case keyClient:
		x.client = value
	case keyLogLevel:
		x.logLevel = value
	case keyProgress:
		if v.Kind != '"' && v.Kind != '0' || len(value) > claimBytesMax {
			return true, malformed("progressToken must be a string or a number of at most 128 bytes")
		}
		x.context.ProgressToken = value
	case keyTraceParent:
		x.context.TraceParent, _ = text(value)
	case keyTraceState:
		x.context.TraceState, _ = text(value)
	case keyBaggage:
		x.context.Baggage, _ = text(value)
	default:
		for _, g := range governed {
			if strings.EqualFold(string(name), g) {
				return false, malformed("a name in params._meta differs from " + g + " only by case")
			}
		}
		return strings.HasPrefix(string(name), keyPrefix), nil
	}
	return true, nil
}

// withoutOwn returns params._meta without the keys of the protocol.
func withoutOwn(raw []byte) []byte {
	var own []strictjson.Change
	for name := range rpc.Members(raw) {
		if strings.HasPrefix(string(name), keyPrefix) || slices.Contains(governed[:], string(name)) {
			own = append(own, strictjson.Change{Name: string(name)})
		}
	}
	return rpc.With(raw, own...)
}

// Era says which era a POST is in. A modern request says so itself, in params._meta or in its headers; what says nothing
// is legacy.
func (x *Meta) Era(h http.Header, m *rpc.Message) upstream.Era {
	v := h.Get("Mcp-Protocol-Version")
	if x.version != nil || v != "" && !IsLegacy(v) || v == "" && m.Method == "server/discover" {
		return upstream.Modern
	}
	return upstream.Legacy
}

// Legacy is the context of a request in a session of the given version.
func (x *Meta) Legacy(version string) *Context {
	x.context.Era, x.context.Version = upstream.Legacy, version
	return &x.context
}

// Modern validates what a modern request says of itself and the headers that mirror it; h nil: it came over a transport
// without headers. The error has the status the revision demands.
func (x *Meta) Modern(h http.Header, m *rpc.Message) (*Context, *rpc.Error) {
	c := &x.context
	c.Era = upstream.Modern
	if err := x.checkVersion(h); err != nil {
		return nil, err
	}
	if err := checkHeaders(h, m); err != nil {
		return nil, err
	}
	if len(x.capabilities) == 0 || x.capabilities[0] != '{' {
		return nil, malformed(keyCapabilities + " must be an object; {} declares none")
	}
	c.Capabilities = x.capabilities
	if x.logLevel != nil {
		level, ok := text(x.logLevel)
		if !ok || !IsLevel(level) {
			return nil, malformed(keyLogLevel + " must be a log level of RFC 5424")
		}
		c.LogLevel = level
	}
	c.Client = claim(x.client)
	return c, nil
}

func (x *Meta) checkVersion(h http.Header) *rpc.Error {
	head := h.Values("Mcp-Protocol-Version")
	version, ok := text(x.version)
	switch {
	case x.version == nil && len(head) == 1 && head[0] != V2026:
		return unsupported(head[0])
	case x.version == nil:
		return malformed(keyVersion + " is missing from params._meta")
	case !ok:
		return malformed(keyVersion + " must be a string")
	case h != nil && (len(head) != 1 || head[0] != version):
		return mismatch("MCP-Protocol-Version", "params._meta")
	case version != V2026:
		return unsupported(version)
	}
	x.context.Version = version
	return nil
}

func unsupported(asked string) *rpc.Error {
	b := append([]byte(`{"supported":["`+V2026+`"],"requested":`), rpc.String(clip(asked, claimBytesMax))...)
	return &rpc.Error{Code: rpc.CodeVersion, Message: "unsupported protocol version", Data: append(b, '}'), HTTP: http.StatusBadRequest}
}

func malformed(why string) *rpc.Error {
	return &rpc.Error{Code: rpc.CodeParams, Message: why, HTTP: http.StatusBadRequest}
}

// claim reads name/version of a clientInfo object.
func claim(info []byte) string {
	var name, version string
	for key, v := range strictjson.Members(info, strictjson.Whole(info)) {
		switch string(key) {
		case "name":
			name, _ = text(v.In(info))
		case "version":
			version, _ = text(v.In(info))
		}
	}
	return Claim(name, version)
}

// Claim is how a client's own word about itself is written: name/version, bounded.
func Claim(name, version string) string {
	switch {
	case name == "":
		return ""
	case version == "":
		return clip(name, claimBytesMax)
	}
	return clip(name+"/"+version, claimBytesMax)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func text(literal []byte) (string, bool) {
	if len(literal) == 0 || literal[0] != '"' {
		return "", false
	}
	s, err := strictjson.Unquote(literal)
	return s, err == nil
}

var levels = [...]string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// IsLevel reports whether s is a log level of MCP.
func IsLevel(s string) bool {
	return slices.Contains(levels[:], s)
}

// Reaches reports whether a message of that level is wanted by who wants the lowest level and those above it. Of a level
// that is none nobody can say that it is too low.
func Reaches(level, lowest string) bool {
	at := slices.Index(levels[:], level)
	return at < 0 || at >= slices.Index(levels[:], lowest)
}
