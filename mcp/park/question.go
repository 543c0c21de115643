package park

import (
	"bytes"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// keyOf is what the key of a question begins with.
func keyOf(method string) string {
	switch method {
	case era.Elicit:
		return "elicitation"
	case era.Sample:
		return "sampling"
	}
	return "roots"
}

// questionFor is a legacy server's question as a modern caller with these capabilities is asked it; the error is for the
// server. The id of an elicitation has no place there: the answer comes back to the question, and what is done behind a URL
// shows when the call goes on.
func questionFor(capabilities []byte, method string, params []byte) ([]byte, *rpc.Error) {
	params, refused := era.Question(era.V2026, capabilities, method, params)
	if refused != nil || params == nil {
		return nil, refused
	}
	return withoutIDs(params), nil
}

// withoutIDs is params without what belongs to the session of a legacy server.
func withoutIDs(params []byte) []byte {
	changes := []strictjson.Change{{Name: "elicitationId"}}
	for name, v := range rpc.Members(params) {
		if string(name) == "_meta" && v.Kind == '{' {
			changes = append(changes, strictjson.Change{Name: "_meta", Value: rpc.With(v.In(params), strictjson.Change{Name: "progressToken"})})
		}
	}
	return rpc.With(params, changes...)
}

// readResponses reads inputResponses for the open questions: one answer or nil for each. Answers that nothing was asked
// for are ignored.
func readResponses(raw []byte, open []*question) ([][]byte, *rpc.Error) {
	answers := make([][]byte, len(open))
	if raw != nil && raw[0] != '{' {
		return nil, rpc.BadParams("inputResponses must be an object")
	}
	for name, v := range rpc.Members(raw) {
		for i, q := range open {
			if q.key != string(name) {
				continue
			}
			a := bytes.Clone(v.In(raw)) // it outlives the request it came in
			if !fits(q.method, a) {
				return nil, rpc.BadParams("inputResponses." + q.key + " is no result of " + q.method)
			}
			answers[i] = a
		}
	}
	return answers, nil
}

// fits reports whether an answer has the outer form of a result of method; what is in it is for the server to judge.
func fits(method string, answer []byte) bool {
	if answer[0] != '{' {
		return false
	}
	whole := strictjson.Whole(answer)
	switch method {
	case era.Elicit:
		_, ok := action(answer)
		return ok
	case era.Sample:
		return strictjson.Lookup(answer, whole, "role").Kind == '"' && strictjson.Lookup(answer, whole, "content").Present()
	}
	return strictjson.Lookup(answer, whole, "roots").Kind == '['
}

// action is what a person did with an elicitation.
func action(answer []byte) (string, bool) {
	v := strictjson.Lookup(answer, strictjson.Whole(answer), "action")
	if v.Kind != '"' {
		return "", false
	}
	s, err := strictjson.Unquote(v.In(answer))
	return s, err == nil && (s == "accept" || s == "decline" || s == "cancel")
}
