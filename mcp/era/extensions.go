package era

import (
	"net/http"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The extensions that the gateway has a part in.
const (
	Tasks = keyPrefix + "tasks" // a tool call may become a task (SEP-2663)
	Apps  = keyPrefix + "ui"    // tools may have a page, a resource with a ui:// URI (SEP-1865)
)

// Declares reports whether the caller declared an extension: a modern one with this very request, a legacy one when it
// opened its session.
func (c *Context) Declares(extension string) bool {
	extensions := strictjson.Lookup(c.Capabilities, strictjson.Whole(c.Capabilities), "extensions")
	return strictjson.Lookup(c.Capabilities, extensions, extension).Kind == '{'
}

// Needs is the refusal of a request that makes no sense without an extension which its caller did not declare.
func Needs(extension string) *rpc.Error {
	b := strictjson.Quote([]byte(`{"requiredCapabilities":{"extensions":{`), extension)
	return &rpc.Error{
		Code: rpc.CodeCapability, HTTP: http.StatusBadRequest, Data: append(b, `:{}}}}`...),
		Message: "this needs the extension " + extension + " among the client capabilities of the request",
	}
}

// Carries reports whether callers of an era can be offered an extension: tasks need the requests of the modern era. What
// the gateway does not know passes in capabilities and _meta, and needs no era.
func Carries(extension string, e upstream.Era) bool {
	return extension != Tasks || e == upstream.Modern
}
