package era

import (
	"errors"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// Input is what a modern server requires before it gives a result.
type Input struct {
	Requests []InputRequest
	State    []byte // requestState, a raw string to be sent back as it is; nil: none
}

// InputRequest is one question of it.
type InputRequest struct {
	Key    string
	Method string
	Params []byte // raw object; nil: none
}

// inputsMax bounds the questions of one result.
const inputsMax = 32

// Input reads a result of type InputRequired.
func (r *Result) Input() (*Input, error) {
	in := &Input{}
	if v := member(r.Raw, "requestState"); v.Present() {
		if v.Kind != '"' {
			return nil, errors.New("reading required input: requestState is no string")
		}
		in.State = v.In(r.Raw)
	}
	requests := member(r.Raw, "inputRequests")
	if requests.Present() && requests.Kind != '{' {
		return nil, errors.New("reading required input: inputRequests is no object")
	}
	for key, v := range strictjson.Members(r.Raw, requests) {
		q := InputRequest{Key: string(key)}
		q.Method, _ = text(strictjson.Lookup(r.Raw, v, "method").In(r.Raw))
		if params := strictjson.Lookup(r.Raw, v, "params"); params.Kind == '{' {
			q.Params = params.In(r.Raw)
		}
		switch {
		case q.Method == "":
			return nil, errors.New("reading required input: a request has no method")
		case len(in.Requests) == inputsMax:
			return nil, errors.New("reading required input: too many requests")
		}
		in.Requests = append(in.Requests, q)
	}
	if in.Requests == nil && in.State == nil {
		return nil, errors.New("reading required input: neither inputRequests nor requestState")
	}
	return in, nil
}

// Retry returns the params of a call with the answers to what was required: responses is a raw object.
func (in *Input) Retry(params, responses []byte) []byte {
	return rpc.With(params, strictjson.Change{Name: "inputResponses", Value: responses}, strictjson.Change{Name: "requestState", Value: in.State})
}
