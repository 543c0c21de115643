package rpc

import (
	"bytes"
	"errors"
	"iter"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// Field is a member of a message that the gateway governs.
type Field int

// The fields, by their path in the message.
const (
	version Field = iota
	id
	method
	Result          // result, of a response
	Failure         // error, of a response
	Params          // params
	Meta            // params._meta
	Name            // params.name
	URI             // params.uri
	Arguments       // params.arguments
	Cursor          // params.cursor
	RequestID       // params.requestId, of notifications/cancelled
	Ref             // params.ref
	RefType         // params.ref.type
	RefName         // params.ref.name
	RefURI          // params.ref.uri
	Level           // params.level
	ProtocolVersion // params.protocolVersion
	Capabilities    // params.capabilities
	ClientName      // params.clientInfo.name
	ClientVersion   // params.clientInfo.version
	Task            // params.task, of the experimental tasks of 2025-11-25
	ListenTools     // params.notifications.toolsListChanged
	ListenPrompts   // params.notifications.promptsListChanged
	ListenResources // params.notifications.resourcesListChanged
	ListenTasks     // params.notifications.taskIds, of the tasks extension
	TaskID          // params.taskId, of the tasks extension
	RequestState    // params.requestState, of a request that is made again
	InputResponses  // params.inputResponses, of a request that is made again
	fields
)

var paths = strictjson.Compile("jsonrpc", "id", "method", "result", "error", "params", "params._meta", "params.name",
	"params.uri", "params.arguments", "params.cursor", "params.requestId", "params.ref", "params.ref.type",
	"params.ref.name", "params.ref.uri", "params.level", "params.protocolVersion", "params.capabilities",
	"params.clientInfo.name", "params.clientInfo.version", "params.task", "params.notifications.toolsListChanged",
	"params.notifications.promptsListChanged", "params.notifications.resourcesListChanged",
	"params.notifications.taskIds", "params.taskId",
	"params.requestState", "params.inputResponses")

// idBytesMax bounds a request id: it is echoed and kept while the request runs.
const idBytesMax = 256

// Message is one parsed message. It is not changed after Parse and may be read by any number of goroutines.
type Message struct {
	Raw    []byte
	ID     []byte // raw string or integer; nil: a notification
	Method string // empty: a response
	at     [fields]strictjson.Value
}

// Parse reads one message. The error is a parse error (-32700) for what is not JSON and an invalid request (-32600) for
// what is not a message or could be read in two ways; Message is then nil.
func Parse(raw []byte) (*Message, *Error) {
	m := &Message{Raw: raw}
	if err := paths.Scan(raw, strictjson.Limits{}, m.at[:]); err != nil {
		return nil, scanError(err)
	}
	if v := m.at[version]; v.Kind != '"' || string(v.In(raw)) != `"2.0"` {
		return nil, Invalid(`"jsonrpc" must be "2.0"`)
	}
	if v := m.at[id]; v.Present() {
		lit := v.In(raw)
		if v.Kind != '"' && v.Kind != '0' || len(lit) > idBytesMax || v.Kind == '0' && bytes.ContainsAny(lit, ".eE") {
			return nil, Invalid("an id is a string or an integer of at most 256 bytes")
		}
		m.ID = lit
	}
	if v := m.at[Params]; v.Present() && v.Kind != '{' {
		return nil, Invalid("params must be an object")
	}
	return m, m.classify()
}

// classify settles whether m is a request, a notification or a response.
func (m *Message) classify() *Error {
	v := m.at[method]
	answers := m.at[Result].Present() || m.at[Failure].Present()
	switch {
	case !v.Present() && !answers:
		return Invalid(`a message needs "method", or "result" or "error"`)
	case !v.Present() && m.ID == nil:
		return Invalid("a response needs the id of its request")
	case !v.Present():
		return nil
	case v.Kind != '"' || answers:
		return Invalid("a message is a request or a response, and its method is a string")
	}
	name, err := strictjson.Unquote(v.In(m.Raw))
	if err != nil || name == "" {
		return Invalid("a method is a non-empty string")
	}
	m.Method = name
	return nil
}

func scanError(err error) *Error {
	var e *strictjson.Error
	if errors.As(err, &e) && e.Syntax {
		return &Error{Code: CodeParse, Message: "the body is not JSON: " + e.Error(), HTTP: 400}
	}
	return Invalid("the body is refused: " + err.Error())
}

// Response reports whether m answers a request.
func (m *Message) Response() bool { return m.Method == "" }

// Notification reports whether m is a notification: no answer is expected.
func (m *Message) Notification() bool { return m.Method != "" && m.ID == nil }

// Get returns the raw value of f, or nil when the message does not have it.
func (m *Message) Get(f Field) []byte {
	if v := m.at[f]; v.Present() {
		return v.In(m.Raw)
	}
	return nil
}

// Kind returns the kind of f's value as in strictjson.Value; 0: absent.
func (m *Message) Kind(f Field) byte { return m.at[f].Kind }

// Text returns the string value of f; ok is false when it is absent or no string.
func (m *Message) Text(f Field) (text string, ok bool) {
	v := m.at[f]
	if v.Kind != '"' {
		return "", false
	}
	text, err := strictjson.Unquote(v.In(m.Raw))
	return text, err == nil
}

// True reports whether f is the literal true.
func (m *Message) True(f Field) bool { return m.at[f].Kind == 't' }

// ParamsWith returns a copy of params with members changed, or nil when there are none.
func (m *Message) ParamsWith(changes ...strictjson.Change) []byte {
	if p := m.Get(Params); p != nil {
		return With(p, changes...)
	}
	return nil
}

// With returns a copy of obj, a raw object that has been scanned, with members changed.
func With(obj []byte, changes ...strictjson.Change) []byte {
	return strictjson.Rewrite(obj, strictjson.Whole(obj), changes...).With
}

// Members walks a raw object that has been scanned; what is no object has no members.
func Members(obj []byte) iter.Seq2[[]byte, strictjson.Value] {
	return strictjson.Members(obj, strictjson.Whole(obj))
}
