package rpc

import (
	"strconv"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// Codes of JSON-RPC and MCP. Refusals that no code stands for carry their HTTP status as code: codes outside
// -32768..-32000 are the implementation's own.
const (
	CodeParse          = -32700
	CodeInvalid        = -32600
	CodeMethod         = -32601
	CodeParams         = -32602
	CodeInternal       = -32603
	CodeHeaderMismatch = -32020
	CodeCapability     = -32021
	CodeVersion        = -32022
	CodeNotFound       = -32002 // resource not found, before 2026-07-28
	CodeURLElicitation = -32042 // 2025-11-25 only
)

// Error is an error answer. Its text is made for the caller.
type Error struct {
	Code    int
	Message string
	Data    []byte // raw JSON; nil: none
	Raw     []byte // a server's whole error object; when set it is answered as it is
	HTTP    int    // status to answer with; 0: 200
}

func (e *Error) Error() string { return e.Message }

// Invalid is an invalid request (-32600).
func Invalid(text string) *Error { return &Error{Code: CodeInvalid, Message: text, HTTP: 400} }

// BadParams is -32602 within a well-formed request.
func BadParams(text string) *Error { return &Error{Code: CodeParams, Message: text} }

// Refused is an error whose code is its HTTP status.
func Refused(status int, text string) *Error {
	return &Error{Code: status, Message: text, HTTP: status}
}

// AppendHead appends the beginning of the answer to the request with that id: the raw result and one } follow it, from
// wherever they are.
func AppendHead(b, id []byte) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	return append(appendID(b, id), `,"result":`...)
}

// AppendError appends the error answer to the request with that id; nil: the id could not be read.
func AppendError(b, id []byte, e *Error) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = appendID(b, id)
	b = append(b, `,"error":`...)
	return append(e.appendObject(b), '}')
}

// Object is the error object.
func (e *Error) Object() []byte { return e.appendObject(nil) }

func (e *Error) appendObject(b []byte) []byte {
	if e.Raw != nil {
		return append(b, e.Raw...)
	}
	b = append(b, `{"code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"message":`...)
	b = strictjson.Quote(b, e.Message)
	if e.Data != nil {
		b = append(b, `,"data":`...)
		b = append(b, e.Data...)
	}
	return append(b, '}')
}

// AppendRequest appends a request; id is raw, params nil: none.
func AppendRequest(b, id []byte, method string, params []byte) []byte {
	b = append(appendID(append(b, `{"jsonrpc":"2.0","id":`...), id), `,"method":`...)
	return appendCalled(b, method, params)
}

// AppendNotification appends a notification; params nil: none.
func AppendNotification(b []byte, method string, params []byte) []byte {
	return appendCalled(append(b, `{"jsonrpc":"2.0","method":`...), method, params)
}

// appendCalled appends the rest of a message that begins with its method.
func appendCalled(b []byte, method string, params []byte) []byte {
	b = strictjson.Quote(b, method)
	if params != nil {
		b = append(b, `,"params":`...)
		b = append(b, params...)
	}
	return append(b, '}')
}

func appendID(b, id []byte) []byte {
	if id == nil {
		return append(b, "null"...)
	}
	return append(b, id...)
}

// String returns s as a JSON string.
func String(s string) []byte { return strictjson.Quote(nil, s) }
