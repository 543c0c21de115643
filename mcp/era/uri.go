package era

import (
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// WithURI returns a result of resources/read in which the contents that have the URI from have the URI to.
func WithURI(raw []byte, from, to string) []byte {
	var edits []strictjson.Edit
	for _, item := range strictjson.Elements(raw, member(raw, "contents")) {
		uri := strictjson.Lookup(raw, item, "uri")
		if s, ok := text(uri.In(raw)); ok && s == from {
			edits = append(edits, strictjson.Replace(uri, rpc.String(to)))
		}
	}
	if edits == nil {
		return raw
	}
	return strictjson.Splice(raw, edits...)
}
