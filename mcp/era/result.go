package era

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// resultLimits bound the scan of a server's result: its bytes are bounded by package upstream already, so this only keeps
// a hostile shape from costing more than its size.
var resultLimits = strictjson.Limits{Depth: 256, Tokens: 8 << 20}

// The members of a result that eras differ in.
const (
	resultType = iota
	isError
	resultMeta
	structured
	content
	messages
	ttl
	scope
	resultFields
)

var resultPaths = strictjson.Compile("resultType", "isError", "_meta", "structuredContent", "content", "messages", "ttlMs", "cacheScope")

// The values of resultType. A result without one is complete.
const (
	Complete      = "complete"
	InputRequired = "input_required"
	Task          = "task" // of the extension Tasks, on tools/call only
)

// Result is a server's result, read once.
type Result struct {
	Raw     []byte
	Type    string
	IsError bool // of tools/call: the tool says it failed

	at [resultFields]strictjson.Value
}

// ReadResult scans a server's result. An error means that it is not one object read by all in the same way.
func ReadResult(raw []byte) (*Result, error) {
	r := &Result{Raw: raw, Type: Complete}
	if err := resultPaths.Scan(raw, resultLimits, r.at[:]); err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	if v := r.at[resultType]; v.Present() {
		t, ok := text(v.In(raw))
		if !ok {
			return nil, errors.New("reading a result: resultType is no string")
		}
		r.Type = t
	}
	if v := r.at[resultMeta]; v.Present() && v.Kind != '{' {
		return nil, errors.New("reading a result: _meta is no object")
	}
	r.IsError = r.at[isError].Kind == 't'
	return r, nil
}

// Carried reports whether a caller in the era of x can be given a result of this type: input_required belongs to modern
// callers, a task to those that declared the extension with this very request.
func (r *Result) Carried(x *Context) bool {
	switch r.Type {
	case Complete:
		return true
	case InputRequired:
		return x.Era == upstream.Modern
	case Task:
		return x.Era == upstream.Modern && x.Declares(Tasks)
	}
	return false
}

// For returns the result as a caller in the era of x reads it. Members unknown to the gateway stay as they are. self is
// the gateway's own serverInfo: which server is behind it is not the client's business. cacheable says that the
// revision wants ttlMs and cacheScope on it.
func (r *Result) For(x *Context, self []byte, cacheable bool) []byte {
	var changes []strictjson.Change
	if x.Era == upstream.Modern {
		changes = r.modern(self, cacheable)
	} else {
		changes = r.legacy(x.Version)
	}
	if len(changes) == 0 {
		return r.Raw
	}
	return rpc.With(r.Raw, changes...)
}

func (r *Result) modern(self []byte, cacheable bool) []strictjson.Change {
	changes := make([]strictjson.Change, 0, 4)
	if !r.at[resultType].Present() {
		changes = append(changes, strictjson.Change{Name: "resultType", Value: []byte(`"complete"`)})
	}
	if cacheable && r.Type == Complete {
		if !r.at[ttl].Present() {
			changes = append(changes, strictjson.Change{Name: "ttlMs", Value: []byte("0")})
		}
		// A cache shared by two callers would skip the decision of the second.
		changes = append(changes, strictjson.Change{Name: "cacheScope", Value: []byte(`"private"`)})
	}
	meta := []byte("{}")
	if v := r.at[resultMeta]; v.Present() {
		meta = v.In(r.Raw)
	}
	return append(changes, strictjson.Change{Name: "_meta", Value: rpc.With(meta, strictjson.Change{Name: keyServer, Value: self})})
}

func (r *Result) legacy(version string) (changes []strictjson.Change) {
	if r.at[resultType].Present() || r.at[ttl].Present() || r.at[scope].Present() {
		changes = append(changes, strictjson.Change{Name: "resultType"}, strictjson.Change{Name: "ttlMs"}, strictjson.Change{Name: "cacheScope"})
	}
	if v := r.at[structured]; v.Present() && v.Kind != '{' {
		// An object before 2026-07-28; the text in content says the same.
		changes = append(changes, strictjson.Change{Name: "structuredContent"})
	}
	if v := r.at[resultMeta]; v.Present() {
		meta := v.In(r.Raw)
		if strictjson.Lookup(r.Raw, v, keyServer).Present() {
			changes = append(changes, strictjson.Change{Name: "_meta", Value: rpc.With(meta, strictjson.Change{Name: keyServer})})
		}
	}
	if version < V2025Jun {
		if plain := plainContent(r.at[content].In(r.Raw), version); plain != nil {
			changes = append(changes, strictjson.Change{Name: "content", Value: plain})
		}
		if plain := plainMessages(r.at[messages].In(r.Raw), version); plain != nil {
			changes = append(changes, strictjson.Change{Name: "messages", Value: plain})
		}
	}
	return changes
}

// plainMessages does for the messages of a prompt what plainContent does for the result of a tool.
func plainMessages(arr []byte, version string) []byte {
	var edits []strictjson.Edit
	for _, v := range strictjson.Elements(arr, strictjson.Whole(arr)) {
		item := strictjson.Lookup(arr, v, "content")
		if plain := plainItem(item.In(arr), version); plain != nil {
			edits = append(edits, strictjson.Replace(item, plain))
		}
	}
	if edits == nil {
		return nil
	}
	return strictjson.Splice(arr, edits...)
}

// plainContent replaces the content items that a revision does not know by texts that say what was there; nil: all known.
func plainContent(arr []byte, version string) []byte {
	var edits []strictjson.Edit
	for _, v := range strictjson.Elements(arr, strictjson.Whole(arr)) {
		if plain := plainItem(v.In(arr), version); plain != nil {
			edits = append(edits, strictjson.Replace(v, plain))
		}
	}
	if edits == nil {
		return nil
	}
	return strictjson.Splice(arr, edits...)
}

// plainItem is the text that stands for a content item which a revision does not know; nil: it is known.
func plainItem(item []byte, version string) []byte {
	switch t, uri := itemType(item); {
	case t == "resource_link":
		return textItem("resource: " + uri)
	case t == "audio" && version < V2025Mar:
		return textItem("audio content, which protocol version " + version + " cannot carry")
	}
	return nil
}

func itemType(item []byte) (kind, uri string) {
	for name, v := range rpc.Members(item) {
		switch string(name) {
		case "type":
			kind, _ = text(v.In(item))
		case "uri":
			uri, _ = text(v.In(item))
		}
	}
	return kind, uri
}

func textItem(s string) []byte {
	return append(strictjson.Quote([]byte(`{"type":"text","text":`), s), '}')
}

var errorPaths = strictjson.Compile("code", "data")

// ErrorFor returns a server's error as a caller in the era of x reads it; uri is that of a resources/read. An error that
// is about the hop between gateway and server, or that needs what the gateway did not offer, is the gateway's to explain.
func ErrorFor(x *Context, e *upstream.RPCError, uri string) *rpc.Error {
	out := &rpc.Error{Code: e.Code, Message: e.Error(), Raw: e.Raw}
	switch e.Code {
	case rpc.CodeHeaderMismatch, rpc.CodeVersion:
		return &rpc.Error{Code: rpc.CodeInternal, Message: "the server and the gateway do not agree about the protocol"}
	case rpc.CodeCapability:
		if x.Era == upstream.Modern {
			out.HTTP = 400
		}
		return out
	case rpc.CodeURLElicitation:
		return pagesFor(x, out)
	case rpc.CodeNotFound:
		if x.Era == upstream.Modern {
			return recode(out, rpc.CodeParams, uri)
		}
	}
	return out
}

// recode changes the code in the raw error and adds data.uri when there is no data and uri is given.
func recode(e *rpc.Error, code int, uri string) *rpc.Error {
	at := make([]strictjson.Value, 2)
	if err := errorPaths.Scan(e.Raw, resultLimits, at); err != nil || !at[0].Present() {
		return &rpc.Error{Code: code, Message: e.Message}
	}
	changes := []strictjson.Change{{Name: "code", Value: strconv.AppendInt(nil, int64(code), 10)}}
	if !at[1].Present() && uri != "" {
		changes = append(changes, strictjson.Change{Name: "data", Value: append(strictjson.Quote([]byte(`{"uri":`), uri), '}')})
	}
	return &rpc.Error{Code: code, Message: e.Message, Raw: rpc.With(e.Raw, changes...)}
}
