package wire

import (
	"bytes"
	"net/http"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// ParamHeaders knows which tools of a modern server want arguments mirrored in Mcp-Param headers, by tool name.
type ParamHeaders map[string]*sdk.Tool

// SortTools splits the tools of a modern server's list into those that may be called and the names of those whose
// x-mcp-header annotations are invalid, which a client must drop.
func SortTools(tools [][]byte) (kept [][]byte, headers ParamHeaders, dropped []string) {
	headers = ParamHeaders{}
	for _, raw := range tools {
		if !bytes.Contains(raw, []byte("x-mcp-header")) {
			kept = append(kept, raw)
			continue
		}
		whole := strictjson.Whole(raw)
		schema := strictjson.Lookup(raw, whole, "inputSchema")
		name, err := text(strictjson.Lookup(raw, whole, "name"), raw)
		if err != nil || schema.Kind != '{' {
			kept = append(kept, raw) // not this function's fault to find
			continue
		}
		tool := &sdk.Tool{Name: name, RawInputSchema: schema.In(raw)}
		if err := sdk.ValidateParamHeaderAnnotations(tool); err != nil {
			dropped = append(dropped, name)
			continue
		}
		kept = append(kept, raw)
		if len(sdk.ExtractParamHeaderBindings(tool)) > 0 {
			headers[name] = tool
		}
	}
	return kept, headers, dropped
}

// Set sets the headers that mirror the request o.
func (p ParamHeaders) Set(h http.Header, o *Request) {
	values := []string{o.Method, ""} // one allocation for both
	h[sdk.HeaderMethod] = values[:1:1]
	if o.Name == "" {
		return
	}
	if v, ok := sdk.EncodeHeaderValue(o.Name); ok {
		values[1] = v
		h[sdk.HeaderName] = values[1:]
	}
	if tool := p[o.Name]; tool != nil && o.Method == "tools/call" {
		for name, v := range sdk.GenerateParamHeaders(tool, o.Params) {
			h.Set(name, v)
		}
	}
}
