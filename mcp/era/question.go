package era

import (
	"bytes"
	"iter"
	"strconv"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The requests of a server to its client that the gateway carries.
const (
	Elicit    = "elicitation/create"
	Sample    = "sampling/createMessage"
	ListRoots = "roots/list"
)

// Declared is what counts of the capabilities that a client of a legacy version declares in initialize, a raw object that
// has been scanned: the rest is of later revisions, so neither is the client held to it nor a server told of it. The
// experimental tasks of 2025-11-25 end at the gateway.
func Declared(version string, capabilities []byte) []byte {
	var changes []strictjson.Change
	for name, v := range rpc.Members(capabilities) {
		var later []strictjson.Change
		switch n := string(name); {
		case n == "tasks", n == "elicitation" && version < V2025Jun:
			changes = append(changes, strictjson.Change{Name: n})
		case n == "elicitation" && version < V2025Nov:
			later = []strictjson.Change{{Name: "url"}}
		case n == "sampling" && version < V2025Nov:
			later = []strictjson.Change{{Name: "tools"}, {Name: "context"}}
		}
		if later != nil && v.Kind == '{' {
			changes = append(changes, strictjson.Change{Name: string(name), Value: rpc.With(v.In(capabilities), later...)})
		}
	}
	if changes == nil {
		return capabilities
	}
	return rpc.With(capabilities, changes...)
}

// Asks reports whether a client that declares these capabilities can be asked anything.
func Asks(capabilities []byte) bool {
	// Most callers declare nothing of it with every request, and walking an object costs more than looking at its bytes.
	if !bytes.Contains(capabilities, []byte("elicitation")) && !bytes.Contains(capabilities, []byte("sampling")) &&
		!bytes.Contains(capabilities, []byte("roots")) && bytes.IndexByte(capabilities, '\\') < 0 {
		return false
	}
	return asks(capabilities)
}

func asks(capabilities []byte) bool {
	for name, v := range rpc.Members(capabilities) {
		switch string(name) {
		case "elicitation", "sampling", "roots":
			if v.Kind == '{' {
				return true
			}
		}
	}
	return false
}

// Question is a server's question as a client of a legacy version with these capabilities (see Declared) can be asked it.
// params is a raw object that has been scanned; nil: none. The error, with the code that the revisions name, says why the
// client cannot be asked: it is for the server.
func Question(version string, capabilities []byte, method string, params []byte) ([]byte, *rpc.Error) {
	undeclared := &rpc.Error{Code: rpc.CodeMethod, Message: "the client has declared no capability for " + method}
	var changes []strictjson.Change
	var refused *rpc.Error
	switch method {
	case Elicit:
		can := member(capabilities, "elicitation")
		if can.Kind != '{' {
			return nil, undeclared
		}
		changes, refused = elicitation(version, can.In(capabilities), params)
	case Sample:
		can := member(capabilities, "sampling")
		if can.Kind != '{' {
			return nil, undeclared
		}
		changes, refused = sampling(version, can.In(capabilities), params)
	case ListRoots:
		if member(capabilities, "roots").Kind != '{' {
			return nil, undeclared
		}
	default:
		return nil, &rpc.Error{Code: rpc.CodeMethod, Message: "clients are not asked this"}
	}
	if refused != nil || params == nil {
		return nil, refused
	}
	return rpc.With(params, append(changes, strictjson.Change{Name: "task"})...), nil
}

// member is a member of a raw object, or the zero Value.
func member(obj []byte, name string) strictjson.Value {
	return strictjson.Lookup(obj, strictjson.Whole(obj), name)
}

// elicitation says what is changed of an elicitation for a client whose capability is can.
func elicitation(version string, can, params []byte) ([]strictjson.Change, *rpc.Error) {
	mode, given := text(member(params, "mode").In(params))
	form, url := member(can, "form").Kind == '{', member(can, "url").Kind == '{'
	switch {
	case given && mode == "url" && !url:
		return nil, rpc.BadParams("the client has not declared elicitation by URL")
	case given && mode != "url" && mode != "form":
		return nil, rpc.BadParams("elicitation has the modes form and url")
	case mode == "url":
		return nil, nil
	case url && !form:
		return nil, rpc.BadParams("the client has not declared elicitation by form")
	case version >= V2025Nov:
		return nil, nil
	}
	changes := []strictjson.Change{{Name: "mode"}} // form is all there was
	schema := member(params, "requestedSchema")
	if schema.Kind != '{' {
		return changes, nil
	}
	plain, refused := plainSchema(version, schema.In(params))
	if plain != nil {
		changes = append(changes, strictjson.Change{Name: "requestedSchema", Value: plain})
	}
	return changes, refused
}

// plainSchema writes the choices of a form as clients before 2025-11-25 know them: titles beside the values. A choice of
// several had no form at all. Nil: it is plain already.
func plainSchema(version string, schema []byte) ([]byte, *rpc.Error) {
	var edits []strictjson.Edit
	for name, field := range strictjson.Members(schema, member(schema, "properties")) {
		kind, _ := text(strictjson.Lookup(schema, field, "type").In(schema))
		choices := strictjson.Lookup(schema, field, "oneOf")
		if kind != "array" && !choices.Present() {
			continue
		}
		values, titles := choiceLists(schema, choices)
		if kind == "array" || values == nil {
			return nil, rpc.BadParams("the field " + clip(string(name), claimBytesMax) + " is of a kind that protocol version " + version + " does not have")
		}
		edits = append(edits, strictjson.Rewrite(schema, field, strictjson.Change{Name: "oneOf"},
			strictjson.Change{Name: "enum", Value: values}, strictjson.Change{Name: "enumNames", Value: titles}))
	}
	if edits == nil {
		return nil, nil
	}
	return strictjson.Splice(schema, edits...), nil
}

// choiceLists takes a list of {const, title} apart; nil: it is something else.
func choiceLists(doc []byte, choices strictjson.Value) (values, titles []byte) {
	for i, choice := range strictjson.Elements(doc, choices) {
		value, title := strictjson.Lookup(doc, choice, "const"), strictjson.Lookup(doc, choice, "title")
		if value.Kind != '"' || title.Kind != '"' {
			return nil, nil
		}
		separator := byte(',')
		if i == 0 {
			separator = '['
		}
		values = append(append(values, separator), value.In(doc)...)
		titles = append(append(titles, separator), title.In(doc)...)
	}
	if values == nil {
		return nil, nil
	}
	return append(values, ']'), append(titles, ']')
}

// sampling says what is changed of a request for a model's answer for a client whose capability is can.
func sampling(version string, can, params []byte) (changes []strictjson.Change, refused *rpc.Error) {
	tools := member(can, "tools").Kind == '{'
	if !tools && (member(params, "tools").Present() || member(params, "toolChoice").Present()) {
		return nil, rpc.BadParams("the client has not declared sampling with tools")
	}
	if version >= V2025Nov && member(can, "context").Kind != '{' && member(params, "includeContext").Present() {
		changes = append(changes, strictjson.Change{Name: "includeContext"}) // the client may leave it out of account anyway
	}
	for _, message := range strictjson.Elements(params, member(params, "messages")) {
		content := strictjson.Lookup(params, message, "content")
		if content.Kind == '[' && version < V2025Nov {
			return nil, rpc.BadParams("a message of several parts is nothing that protocol version " + version + " has")
		}
		for part := range parts(params, content) {
			switch kind, _ := text(strictjson.Lookup(params, part, "type").In(params)); {
			case !tools && (kind == "tool_use" || kind == "tool_result"):
				return nil, rpc.BadParams("the client has not declared sampling with tools")
			case kind == "audio" && version < V2025Mar:
				return nil, rpc.BadParams("audio is nothing that protocol version " + version + " has")
			}
		}
	}
	return changes, nil
}

// parts are the parts of a message: its content, or the elements of it.
func parts(doc []byte, content strictjson.Value) iter.Seq[strictjson.Value] {
	return func(yield func(strictjson.Value) bool) {
		if content.Kind != '[' {
			yield(content)
			return
		}
		for _, part := range strictjson.Elements(doc, content) {
			if !yield(part) {
				return
			}
		}
	}
}

// ReadAnswer reads a client's response to a question. ok is false when it holds neither a result nor an error, or both.
func ReadAnswer(m *rpc.Message) (a *upstream.Answer, ok bool) {
	result, failure := m.Get(rpc.Result), m.Get(rpc.Failure)
	switch {
	case failure == nil:
		return &upstream.Answer{Result: result}, m.Kind(rpc.Result) == '{'
	case result != nil || m.Kind(rpc.Failure) != '{':
		return nil, false
	}
	code, err := strconv.Atoi(string(member(failure, "code").In(failure)))
	return &upstream.Answer{Error: &upstream.RPCError{Code: code, Raw: failure}}, err == nil
}
