package era

import (
	"net/http"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/mcp/rpc"
)

// named says which field of params the Mcp-Name header mirrors.
var named = map[string]rpc.Field{
	"tools/call": rpc.Name, "prompts/get": rpc.Name, "resources/read": rpc.URI,
	"tasks/get": rpc.TaskID, "tasks/update": rpc.TaskID, "tasks/cancel": rpc.TaskID,
}

// checkHeaders compares Mcp-Method and Mcp-Name with the body: what routes on headers and what reads the body must not
// see two different requests.
func checkHeaders(h http.Header, m *rpc.Message) *rpc.Error {
	if h == nil {
		return nil
	}
	if v := h.Values("Mcp-Method"); len(v) != 1 || v[0] != m.Method {
		return mismatch("Mcp-Method", "the method")
	}
	field, ok := named[m.Method]
	if !ok {
		return nil
	}
	want, ok := m.Text(field)
	if !ok {
		return nil // the method itself refuses a request without its name
	}
	v := h.Values("Mcp-Name")
	if len(v) != 1 {
		return mismatch("Mcp-Name", "params")
	}
	if got, ok := sdk.DecodeHeaderValue(v[0]); !ok || got != want {
		return mismatch("Mcp-Name", "params")
	}
	return nil
}

// CheckParams compares the Mcp-Param headers of a tools/call with the arguments that the tool's schema maps to headers; h
// nil: it came over a transport without headers.
func CheckParams(h http.Header, tool *sdk.Tool, m *rpc.Message) *rpc.Error {
	if h == nil {
		return nil
	}
	lookup := func(name string) (string, bool) {
		v := h.Values(name)
		if len(v) == 0 {
			return "", false
		}
		if len(v) > 1 {
			return "=?base64?!?=", true // repeated: a value that no body matches
		}
		return v[0], true
	}
	if err := sdk.ValidateParamHeadersLookup(lookup, tool, m.Get(rpc.Params)); err != nil {
		return mismatch("an Mcp-Param header", "the arguments")
	}
	return nil
}

func mismatch(header, body string) *rpc.Error {
	return &rpc.Error{
		Code: rpc.CodeHeaderMismatch, HTTP: http.StatusBadRequest,
		Message: header + " is missing, repeated or does not match " + body,
	}
}
