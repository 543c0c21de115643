package era

import (
	"bytes"
	"errors"
	"fmt"

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
	ttl
	scope
	resultFields
)

var resultPaths = strictjson.Compile("resultType", "isError", "_meta", "structuredContent", "content", "ttlMs", "cacheScope")

// The values of resultType. A result without one is complete.
const (
	Complete      = "complete"
	InputRequired = "input_required"
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

// For returns the result as a caller in the era of x reads it. Members unknown to the gateway stay as they are. self is
// the gateway's own serverInfo: which server is behind it is not the client's business. cacheable says that the
// revision wants ttlMs and cacheScope on it.
func (r *Result) For(x *Context, self []byte, cacheable bool) []byte {
	var cuts rpc.Cuts
	var add []byte
	if x.Era == upstream.Modern {
		add = r.modern(&cuts, self, cacheable)
	} else {
		r.legacy(&cuts, x.Version)
	}
	out := r.Raw
	if !cuts.Empty() {
		out = cuts.Apply(out)
	}
	if add != nil {
		out = extend(out, add)
	}
	return out
}

func (r *Result) modern(cuts *rpc.Cuts, self []byte, cacheable bool) (add []byte) {
	if !r.at[resultType].Present() {
		add = append(add, `"resultType":"complete",`...)
	}
	if cacheable && r.Type == Complete {
		if !r.at[ttl].Present() {
			add = append(add, `"ttlMs":0,`...)
		}
		// A shared cache between two callers would skip the decision of the second.
		if v := r.at[scope]; v.Present() {
			cuts.Set(v, []byte(`"private"`))
		} else {
			add = append(add, `"cacheScope":"private",`...)
		}
	}
	if v := r.at[resultMeta]; v.Present() {
		cuts.Set(v, withServer(v.In(r.Raw), self))
	} else {
		add = append(add, `"_meta":{"`+keyServer+`":`...)
		add = append(add, self...)
		add = append(add, `},`...)
	}
	return add
}

func (r *Result) legacy(cuts *rpc.Cuts, version string) {
	for _, f := range [...]int{resultType, ttl, scope} {
		if v := r.at[f]; v.Present() {
			cuts.Drop(v)
		}
	}
	if v := r.at[structured]; v.Present() && v.Kind != '{' {
		cuts.Drop(v) // an object before 2026-07-28; the text in content says the same
	}
	if v := r.at[resultMeta]; v.Present() {
		if m := v.In(r.Raw); bytes.Contains(m, []byte(keyServer)) {
			cuts.Set(v, withServer(m, nil))
		}
	}
	if v := r.at[content]; v.Kind == '[' && version < V2025Jun {
		c := v.In(r.Raw)
		if plain := plainContent(c, version); plain != nil {
			cuts.Set(v, plain)
		}
	}
}

// withServer returns a result's _meta with self as its serverInfo, or without any when self is nil.
func withServer(m, self []byte) []byte {
	var cuts rpc.Cuts
	for name, v := range rpc.Members(m) {
		if string(name) == keyServer {
			cuts.Drop(v)
		}
	}
	if !cuts.Empty() {
		m = cuts.Apply(m)
	}
	if self == nil {
		return m
	}
	return extend(m, append([]byte(`"`+keyServer+`":`), append(bytes.Clone(self), ',')...))
}

// extend puts members, each with a comma behind it, in front of those of obj.
func extend(obj, members []byte) []byte {
	open := bytes.IndexByte(obj, '{') + 1
	rest := bytes.TrimLeft(obj[open:], " \t\r\n")
	if rest[0] == '}' {
		members = members[:len(members)-1]
	}
	out := make([]byte, 0, len(members)+len(rest)+1)
	out = append(out, '{')
	out = append(out, members...)
	return append(out, rest...)
}

// plainContent replaces the content items that a revision does not know by texts that say what was there; nil: all known.
func plainContent(arr []byte, version string) []byte {
	var cuts rpc.Cuts
	for v := range rpc.Elements(arr) {
		if v.Kind != '{' {
			continue
		}
		item := v.In(arr)
		switch t, name := itemType(item); {
		case t == "resource_link":
			cuts.Set(v, textItem("resource: "+name))
		case t == "audio" && version < V2025Mar:
			cuts.Set(v, textItem("audio content, which protocol version "+version+" cannot carry"))
		}
	}
	if cuts.Empty() {
		return nil
	}
	return cuts.Apply(arr)
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
	return append(rpc.AppendString([]byte(`{"type":"text","text":`), s), '}')
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
		if x.Era == upstream.Modern || x.Version < V2025Nov {
			return recode(out, rpc.CodeInternal, "")
		}
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
	var cuts rpc.Cuts
	cuts.Set(at[0], fmt.Append(nil, code))
	raw := cuts.Apply(e.Raw)
	if !at[1].Present() && uri != "" {
		raw = extend(raw, append(rpc.AppendString([]byte(`"data":{"uri":`), uri), "},"...))
	}
	return &rpc.Error{Code: code, Message: e.Message, Raw: raw}
}
