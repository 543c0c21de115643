package wire

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The protocol versions spoken to servers.
const (
	ModernVersion = "2026-07-28"
	newestLegacy  = "2025-11-25"
)

var legacyVersions = [...]string{"2024-11-05", "2025-03-26", "2025-06-18", newestLegacy}

// JSON-RPC and MCP error codes that decide how to go on.
const (
	CodeMethod          = -32601
	codeParams          = -32602
	CodeHeaderMismatch  = -32020
	CodeCapability      = -32021
	CodeVersion         = -32022
	CodeSessionNotFound = -32001 // with status 404, likewise
	CodeNoSession       = -32000 // what servers made with the reference SDKs say, with status 400, to a session they do not know
)

const (
	// AnswerBytesMax bounds one answer, a whole event stream included: the largest honest ones are images and files as
	// base64, below 10 MiB.
	AnswerBytesMax = 32 << 20
	// ProbeTimeout is how long a server may take to answer server/discover before it is taken for a legacy one.
	ProbeTimeout = 5 * time.Second
	// CallTimeout bounds a call whose context has no deadline.
	CallTimeout = 10 * time.Minute
)

// answerLimits bound the scan of what a server sends. Its bytes are bounded already; this only keeps a hostile shape from
// costing more than its size.
var answerLimits = strictjson.Limits{Depth: 256, Tokens: 8 << 20, LoneSurrogates: true}

const (
	atID = iota
	atMethod
	atParams
	atToken
	atLevel
	atResult
	atError
	atCode
	messageFields
)

var messagePaths = strictjson.Compile("id", "method", "params", "params.progressToken", "params.level", "result", "error", "error.code")

// Message is one scanned message of a server.
type Message struct {
	Raw    []byte
	Method string // empty: a response
	at     [messageFields]strictjson.Value
	answer upstream.Answer // what Answer returns
}

// Parse scans what a server sent: a request, a notification or a response.
func Parse(raw []byte) (*Message, error) {
	m := &Message{Raw: raw}
	if err := messagePaths.Scan(raw, answerLimits, m.at[:]); err != nil {
		return nil, err
	}
	if v := m.at[atMethod]; v.Present() {
		method, err := text(v, raw)
		if err != nil || method == "" {
			return nil, errors.New("a message whose method is no name")
		}
		m.Method = method
		return m, nil
	}
	result, failure := m.at[atResult], m.at[atError]
	switch {
	case result.Present() == failure.Present():
		return nil, errors.New("a response needs exactly one of result and error")
	case result.Present() && result.Kind != '{':
		return nil, errors.New("a result is an object")
	case failure.Present() && m.at[atCode].Kind != '0':
		return nil, errors.New("an error is an object with a code")
	}
	return m, nil
}

// ID is the raw id; nil: none.
func (m *Message) ID() []byte { return m.get(atID) }

// Token is the raw params.progressToken; nil: none.
func (m *Message) Token() []byte { return m.get(atToken) }

// Params is the raw params; nil: none.
func (m *Message) Params() []byte { return m.get(atParams) }

// Param is a raw member of params; nil: there is none.
func (m *Message) Param(name string) []byte {
	params := m.at[atParams]
	if params.Kind != '{' {
		return nil
	}
	if v := strictjson.Lookup(m.Raw, params, name); v.Present() {
		return v.In(m.Raw)
	}
	return nil
}

// Clone is m in memory of its own.
func (m *Message) Clone() *Message {
	c := *m
	c.Raw = slices.Clone(m.Raw)
	return &c
}

// Failed reports whether m is an error.
func (m *Message) Failed() bool { return m.at[atError].Present() }

func (m *Message) get(field int) []byte {
	if v := m.at[field]; v.Present() {
		return v.In(m.Raw)
	}
	return nil
}

// Request reports whether an answer is expected.
func (m *Message) Request() bool { return m.Method != "" && m.at[atID].Present() }

// Unrouted reports whether m is an error that names no request: the server could not tell which one it answers.
func (m *Message) Unrouted() bool {
	return m.at[atError].Present() && (!m.at[atID].Present() || m.at[atID].Kind == 'n')
}

// Answers reports whether m is the response to the request id.
func (m *Message) Answers(id int64) bool {
	return m.Method == "" && string(m.get(atID)) == strconv.FormatInt(id, 10)
}

// Answer is m, a response, as an Answer. It is a part of m and made by one call.
func (m *Message) Answer(status int) *upstream.Answer {
	if m.at[atResult].Present() {
		m.answer.Result = m.get(atResult)
		return &m.answer
	}
	code, err := strconv.Atoi(string(m.get(atCode)))
	if err != nil { // 1e3, or beyond an int: no code that anything is decided on
		code = 0
	}
	m.answer.Error = &upstream.RPCError{Code: code, Raw: m.get(atError), HTTP: status}
	return &m.answer
}

// text is the text of the string value v of raw.
func text(v strictjson.Value, raw []byte) (string, error) {
	if v.Kind != '"' {
		return "", errors.New("not a string")
	}
	return strictjson.Unquote(v.In(raw))
}

// Request is a request on its way, in the era of its server.
type Request struct {
	ID     int64
	Method string
	Name   string // for Mcp-Name
	Params []byte // raw object without _meta, or nil
	Meta   []byte // raw object, or nil
}

// Body is o as a JSON-RPC message.
func (o *Request) Body() []byte {
	b := make([]byte, 0, len(o.Method)+len(o.Params)+len(o.Meta)+80)
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendInt(b, o.ID, 10)
	b = append(b, `,"method":`...)
	b = strictjson.Quote(b, o.Method)
	if o.Params != nil || o.Meta != nil {
		b = append(b, `,"params":{`...)
		n := len(b)
		b = appendInside(b, o.Params)
		if o.Meta != nil {
			if len(b) > n {
				b = append(b, ',')
			}
			b = append(append(b, `"_meta":`...), o.Meta...)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendInside appends the members of obj without its braces.
func appendInside(b, obj []byte) []byte {
	v := strictjson.Whole(obj)
	if v.Kind != '{' {
		return b
	}
	inside := strictjson.Whole(obj[v.Start+1 : v.End-1])
	return append(b, obj[v.Start+1:][inside.Start:inside.End]...)
}

// metaBytes is room for what a hop adds.
const metaBytes = 448

// Meta is params._meta of the request id for x on this hop: the caller's own members, and what the era and the trace
// want. Nil: none.
func (p *Peer) Meta(ctx context.Context, x *upstream.Exchange, id int64, self []byte) []byte {
	b := appendInside(append(make([]byte, 0, metaBytes+len(x.Meta)+len(x.Capabilities)), '{'), x.Meta)
	add := func(name string, raw []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		b = append(b, raw...)
	}
	if p.Era == upstream.Modern {
		add("io.modelcontextprotocol/protocolVersion", []byte(`"`+ModernVersion+`"`))
		add("io.modelcontextprotocol/clientCapabilities", p.declared(x))
		add("io.modelcontextprotocol/clientInfo", self)
		if x.LogLevel != "" {
			add("io.modelcontextprotocol/logLevel", strictjson.Quote(nil, x.LogLevel))
		}
	}
	if x.ProgressToken != nil && x.Notify != nil {
		add("progressToken", strconv.AppendInt(nil, id, 10))
	}
	if parent, state := TraceOf(ctx); parent != "" {
		add("traceparent", strictjson.Quote(nil, parent))
		if state != "" {
			add("tracestate", strictjson.Quote(nil, state))
		}
	}
	if len(b) == 1 {
		return nil
	}
	return append(b, '}')
}

// declared is what is said of the caller's capabilities to a modern server. Between modern peers elicitation, sampling
// and roots travel inside results, so the caller's own word goes on; a legacy caller has to be one that can be asked. The
// gateway itself, when it lists, declares what shapes lists.
func (p *Peer) declared(x *upstream.Exchange) []byte {
	b := []byte{'{'}
	capabilities := x.Capabilities
	if x.Era == "" {
		capabilities = []byte(own)
	}
	var theirs strictjson.Value
	asks := x.Era == upstream.Modern || x.Ask != nil
	add := func(v strictjson.Value, value []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, capabilities[v.Name:v.Start]...), value...)
	}
	for name, v := range strictjson.Members(capabilities, strictjson.Whole(capabilities)) {
		switch string(name) {
		case "elicitation", "sampling":
			if asks {
				add(v, v.In(capabilities))
			}
		case "roots":
			if asks && v.Kind == '{' { // that they changed cannot be told to a modern server
				e := strictjson.Rewrite(capabilities, v, strictjson.Change{Name: "listChanged"})
				add(v, e.With)
			}
		case "extensions":
			theirs = v
		}
	}
	if e := extensions(capabilities, theirs, p.Capabilities, x.Tasks); e != nil {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, `"extensions":`...), e...)
	}
	return append(b, '}')
}

const traceParentBytes = len("00-") + 2*16 + len("-") + 2*8 + len("-00")

// TraceOf is the W3C trace context of ctx; empty: none.
func TraceOf(ctx context.Context) (parent, state string) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return "", ""
	}
	id, span := sc.TraceID(), sc.SpanID()
	var room [traceParentBytes]byte
	b := append(hex.AppendEncode(append(room[:0], "00-"...), id[:]), '-')
	b = append(hex.AppendEncode(b, span[:]), '-')
	b = hex.AppendEncode(b, []byte{byte(sc.TraceFlags())})
	return string(b), sc.TraceState().String()
}

// Notification is a notification to a server.
func Notification(method, params string) []byte {
	b := strictjson.Quote([]byte(`{"jsonrpc":"2.0","method":`), method)
	if params != "" {
		b = append(append(b, `,"params":`...), params...)
	}
	return append(b, '}')
}

// Cancelled tells a server that nobody waits for the request id any more.
func Cancelled(id int64) []byte {
	return Notification("notifications/cancelled", `{"requestId":`+strconv.FormatInt(id, 10)+`,"reason":"the caller is gone or out of time"}`)
}

// Response answers m, a request of the server's own.
func Response(m *Message, a *upstream.Answer) []byte {
	b := append(append([]byte(`{"jsonrpc":"2.0","id":`), m.ID()...), ',')
	if a.Error != nil {
		b = append(append(b, `"error":`...), a.Error.Raw...)
	} else {
		b = append(append(b, `"result":`...), a.Result...)
	}
	return append(b, '}')
}

// Refusal answers m, a request of the server's own, with an error.
func Refusal(m *Message, code int, why string) []byte {
	return Response(m, &upstream.Answer{Error: upstream.NewError(code, why)})
}

// levels are the log levels, lowest first.
var levels = [...]string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// LevelRank orders log levels: the higher, the worse; unknown ones are below all.
func LevelRank(level string) int { return slices.Index(levels[:], level) }

// Deliver hands a notification of x's own to its caller, in the caller's words: progress with the caller's token,
// messages from the wanted level up.
func Deliver(x *upstream.Exchange, m *Message, id int64) {
	if x.Notify == nil || m.at[atParams].Kind != '{' {
		return
	}
	params := m.at[atParams]
	switch m.Method {
	case "notifications/progress":
		token := m.at[atToken]
		if x.ProgressToken == nil || string(m.get(atToken)) != strconv.FormatInt(id, 10) {
			return
		}
		x.Notify(m.Method, strictjson.Splice(params.In(m.Raw), strictjson.Edit{
			Start: token.Start - params.Start, End: token.End - params.Start, With: x.ProgressToken,
		}))
	case "notifications/message":
		level, err := text(m.at[atLevel], m.Raw)
		if x.LogLevel == "" || err != nil || LevelRank(level) < LevelRank(x.LogLevel) {
			return
		}
		x.Notify(m.Method, params.In(m.Raw))
	}
}

// ChangeOf is the change that a notification announces.
func ChangeOf(method string) (upstream.Change, bool) {
	switch method {
	case "notifications/tools/list_changed":
		return upstream.ToolsChanged, true
	case "notifications/resources/list_changed":
		return upstream.ResourcesChanged, true
	case "notifications/prompts/list_changed":
		return upstream.PromptsChanged, true
	}
	return "", false
}

// Integer reads a raw JSON integer.
func Integer(raw []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// Text is the text of a raw JSON string.
func Text(raw []byte) (string, error) { return text(strictjson.Whole(raw), raw) }

// Texts are the strings of the array that is the member name of a raw object.
func Texts(raw []byte, name string) []string {
	return texts(raw, strictjson.Lookup(raw, strictjson.Whole(raw), name))
}

// SubscriptionID is the member of _meta that says which request for a subscription a notification belongs to.
const SubscriptionID = "io.modelcontextprotocol/subscriptionId"

// WithoutSubscription is params without the word that says which stream of this hop it came on.
func WithoutSubscription(params []byte) []byte {
	whole := strictjson.Whole(params)
	meta := strictjson.Lookup(params, whole, "_meta")
	id := strictjson.Lookup(params, meta, SubscriptionID)
	if !id.Present() {
		return params
	}
	e := strictjson.Rewrite(params, meta, strictjson.Change{Name: SubscriptionID})
	if string(e.With) == "{}" {
		e = strictjson.Rewrite(params, whole, strictjson.Change{Name: "_meta"})
	}
	return strictjson.Splice(params, e)
}

// Without is obj, a raw object, without the members of those names.
func Without(obj []byte, names ...string) []byte {
	changes := make([]strictjson.Change, len(names))
	for i, name := range names {
		changes[i].Name = name
	}
	return strictjson.Rewrite(obj, strictjson.Whole(obj), changes...).With
}

// Object is a raw object of one string member.
func Object(name, value string) []byte {
	b := strictjson.Quote([]byte{'{'}, name)
	return append(strictjson.Quote(append(b, ':'), value), '}')
}
