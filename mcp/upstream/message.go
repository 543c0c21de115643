package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// The protocol versions spoken to servers.
const (
	modernVersion = "2026-07-28"
	newestLegacy  = "2025-11-25"
)

var legacyVersions = [...]string{"2024-11-05", "2025-03-26", "2025-06-18", newestLegacy}

// JSON-RPC and MCP error codes that decide how to go on.
const (
	codeMethod         = -32601
	codeHeaderMismatch = -32020
	codeCapability     = -32021
	codeVersion        = -32022
	codeNoSession      = -32000 // what servers made with the reference SDKs say, with status 400, to a session they do not know
)

// tasksExtension is not declared to any server: its task ids would have to be routed.
const tasksExtension = "io.modelcontextprotocol/tasks"

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

// message is one scanned message of a server.
type message struct {
	raw    []byte
	method string // empty: a response
	at     [messageFields]strictjson.Value
}

// parseMessage scans what a server sent: a request, a notification or a response.
func parseMessage(raw []byte) (*message, error) {
	m := &message{raw: raw}
	if err := messagePaths.Scan(raw, answerLimits, m.at[:]); err != nil {
		return nil, err
	}
	if v := m.at[atMethod]; v.Present() {
		method, err := text(v, raw)
		if err != nil || method == "" {
			return nil, errors.New("a message whose method is no name")
		}
		m.method = method
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

func (m *message) get(field int) []byte {
	if v := m.at[field]; v.Present() {
		return v.In(m.raw)
	}
	return nil
}

// request reports whether an answer is expected.
func (m *message) request() bool { return m.method != "" && m.at[atID].Present() }

// unrouted reports whether m is an error that names no request: the server could not tell which one it answers.
func (m *message) unrouted() bool {
	return m.at[atError].Present() && (!m.at[atID].Present() || m.at[atID].Kind == 'n')
}

// answers reports whether m is the response to the request id.
func (m *message) answers(id int64) bool {
	return m.method == "" && string(m.get(atID)) == strconv.FormatInt(id, 10)
}

// answer is m, a response, as an Answer.
func (m *message) answer(status int) *Answer {
	if m.at[atResult].Present() {
		return &Answer{Result: m.get(atResult)}
	}
	code, err := strconv.Atoi(string(m.get(atCode)))
	if err != nil { // 1e3, or beyond an int: no code that anything is decided on
		code = 0
	}
	return &Answer{Error: &RPCError{Code: code, Raw: m.get(atError), HTTP: status}}
}

// text is the text of the string value v of raw.
func text(v strictjson.Value, raw []byte) (string, error) {
	if v.Kind != '"' {
		return "", errors.New("not a string")
	}
	return strictjson.Unquote(v.In(raw))
}

// outgoing is a request on its way, in the era of its server.
type outgoing struct {
	id     int64
	method string
	name   string // for Mcp-Name
	params []byte // raw object without _meta, or nil
	meta   []byte // raw object, or nil
}

// body is o as a JSON-RPC message.
func (o *outgoing) body() []byte {
	b := make([]byte, 0, len(o.method)+len(o.params)+len(o.meta)+80)
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendInt(b, o.id, 10)
	b = append(b, `,"method":`...)
	b = strictjson.Quote(b, o.method)
	if o.params != nil || o.meta != nil {
		b = append(b, `,"params":{`...)
		n := len(b)
		b = appendInside(b, o.params)
		if o.meta != nil {
			if len(b) > n {
				b = append(b, ',')
			}
			b = append(append(b, `"_meta":`...), o.meta...)
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

// metaOf is params._meta of the request id for x on this hop: the caller's own members, and what the era and the trace
// want. Nil: none.
func (p *peer) metaOf(ctx context.Context, x *Exchange, id int64, self []byte) []byte {
	b := appendInside([]byte{'{'}, x.Meta)
	add := func(name string, raw []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		b = append(b, raw...)
	}
	if p.era == Modern {
		add("io.modelcontextprotocol/protocolVersion", []byte(`"`+modernVersion+`"`))
		add("io.modelcontextprotocol/clientCapabilities", declared(x))
		add("io.modelcontextprotocol/clientInfo", self)
		if x.LogLevel != "" {
			add("io.modelcontextprotocol/logLevel", strictjson.Quote(nil, x.LogLevel))
		}
	}
	if x.ProgressToken != nil && x.Notify != nil {
		add("progressToken", strconv.AppendInt(nil, id, 10))
	}
	if parent, state := traceOf(ctx); parent != "" {
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
// and roots travel inside results, so the caller's own word goes on; for a legacy caller there is none.
func declared(x *Exchange) []byte {
	b := []byte{'{'}
	if x.Era != Modern {
		return append(b, '}')
	}
	add := func(v strictjson.Value, value []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, x.Capabilities[v.Name:v.Start]...), value...)
	}
	for name, v := range strictjson.Members(x.Capabilities, strictjson.Whole(x.Capabilities)) {
		switch string(name) {
		case "elicitation", "sampling", "roots":
			add(v, v.In(x.Capabilities))
		case "extensions":
			if v.Kind == '{' {
				e := strictjson.Rewrite(x.Capabilities, v, strictjson.Change{Name: tasksExtension})
				add(v, e.With)
			}
		}
	}
	return append(b, '}')
}

// traceOf is the W3C trace context of ctx; empty: none.
func traceOf(ctx context.Context) (parent, state string) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return "", ""
	}
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags()), sc.TraceState().String()
}

// notification is a notification to a server.
func notification(method, params string) []byte {
	b := strictjson.Quote([]byte(`{"jsonrpc":"2.0","method":`), method)
	if params != "" {
		b = append(append(b, `,"params":`...), params...)
	}
	return append(b, '}')
}

// cancelled tells a server that nobody waits for the request id any more.
func cancelled(id int64) []byte {
	return notification("notifications/cancelled", `{"requestId":`+strconv.FormatInt(id, 10)+`,"reason":"the caller is gone or out of time"}`)
}

// refusal answers a server's own request: ping with a sign of life, all else with -32601.
func refusal(m *message) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","id":`), m.get(atID)...)
	if m.method == "ping" {
		return append(b, `,"result":{}}`...)
	}
	return append(b, `,"error":{"code":-32601,"message":"the gateway declared no such capability"}}`...)
}

// levels are the log levels, lowest first.
var levels = [...]string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

func levelRank(level string) int { return slices.Index(levels[:], level) }

// deliver hands a notification of x's own to its caller, in the caller's words: progress with the caller's token,
// messages from the wanted level up.
func (x *Exchange) deliver(m *message, id int64) {
	if x.Notify == nil || m.at[atParams].Kind != '{' {
		return
	}
	params := m.at[atParams]
	switch m.method {
	case "notifications/progress":
		token := m.at[atToken]
		if x.ProgressToken == nil || string(m.get(atToken)) != strconv.FormatInt(id, 10) {
			return
		}
		x.Notify(m.method, strictjson.Splice(params.In(m.raw), strictjson.Edit{
			Start: token.Start - params.Start, End: token.End - params.Start, With: x.ProgressToken,
		}))
	case "notifications/message":
		level, err := text(m.at[atLevel], m.raw)
		if x.LogLevel == "" || err != nil || levelRank(level) < levelRank(x.LogLevel) {
			return
		}
		x.Notify(m.method, params.In(m.raw))
	}
}

// changeOf is the change that a notification announces.
func changeOf(method string) (Change, bool) {
	switch method {
	case "notifications/tools/list_changed":
		return ToolsChanged, true
	case "notifications/resources/list_changed":
		return ResourcesChanged, true
	case "notifications/prompts/list_changed":
		return PromptsChanged, true
	}
	return "", false
}
