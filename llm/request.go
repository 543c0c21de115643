package llm

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// request is one inbound request from when its body was read: its format, its raw bytes and what is governed in them stay
// together. It is not changed once made.
type request struct {
	format    *dialect.Format
	fields    dialect.Fields
	body      []byte
	header    http.Header
	query     string
	principal *policy.Principal
	source    string
	name      string // of the model, as asked
	stream    bool
}

// call is the part of a policy.Call that is the same whatever becomes of the request.
func (r *request) call() policy.Call {
	return policy.Call{Principal: r.principal, Action: r.format.Action, Target: r.name, Stream: r.stream, Source: r.source}
}

// read makes a request of r, or says why it is refused. What is refused is recorded.
func (p *Proxy) read(w http.ResponseWriter, r *http.Request, format *dialect.Format) (*request, *dialect.Error) {
	req := &request{format: format, header: r.Header, query: r.URL.RawQuery}
	var err *dialect.Error
	if req.principal, req.source, err = p.caller(r, format.Action); err != nil {
		return nil, err
	}
	refuse := func(err *dialect.Error) (*request, *dialect.Error) {
		p.gate.Refuse(r.Context(), req.call(), err.Message)
		return nil, err
	}
	limits := edge.Limits{Bytes: p.limits.BodyBytesMax, Timeout: p.limits.BodyTimeout}
	if format.Dialect == vendor.Embeddings {
		limits.Bytes = min(limits.Bytes, embedBytesMax)
	}
	body, problem := edge.Body(w, r, limits)
	if problem != nil {
		return refuse(&dialect.Error{Status: problem.Status, Code: "invalid_request", Message: problem.Text})
	}
	req.body = body
	var fault error
	if req.fields, fault = format.Scan(body); fault != nil {
		return refuse(asError(fault))
	}
	if req.name, fault = req.fields.ModelName(); fault != nil {
		return refuse(asError(fault))
	}
	if req.fields.True(dialect.Background) {
		return refuse(&dialect.Error{Status: http.StatusBadRequest, Code: "invalid_request", Param: "background",
			Message: "background answers are not served: their cost would be known to nobody; leave background out"})
	}
	req.stream = format.Streams && req.fields.True(dialect.Streaming)
	return req, nil
}

// caller finds out who makes r, or says why nobody may be told anything. Refusals are recorded.
func (p *Proxy) caller(r *http.Request, action policy.Action) (*policy.Principal, string, *dialect.Error) {
	source := r.RemoteAddr
	if host, _, err := net.SplitHostPort(source); err == nil {
		source = host
	}
	refuse := func(status int, text string) (*policy.Principal, string, *dialect.Error) {
		p.gate.Refuse(r.Context(), policy.Call{Action: action, Source: source}, text)
		return nil, source, &dialect.Error{Status: status, Code: codeOf(status), Message: text}
	}
	if problem := p.edge.Check(r); problem != nil {
		return refuse(problem.Status, problem.Text)
	}
	principal, err := p.auth.Authenticate(r)
	var refusal *oauth.Refusal
	switch {
	case errors.As(err, &refusal):
		return refuse(refusal.Status, refusal.Text)
	case err != nil || principal == nil:
		p.log.Error("a key could not be checked", "err", err)
		return refuse(http.StatusServiceUnavailable, "the key could not be checked; try again")
	}
	return p.clients.with(principal, clientName(r.Header)), source, nil
}

func codeOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "invalid_api_key"
	case http.StatusServiceUnavailable:
		return "unavailable"
	}
	return "invalid_request"
}

func asError(err error) *dialect.Error {
	var e *dialect.Error
	if errors.As(err, &e) {
		return e
	}
	return &dialect.Error{Status: http.StatusBadRequest, Code: "invalid_request", Message: err.Error()}
}

// clients keeps principals with the name their client claims, so that it is not put together again for each request. The
// zero value is ready. Safe for concurrent use.
type clients struct {
	mu sync.RWMutex
	of map[client]*policy.Principal
}

type client struct {
	principal *policy.Principal
	name      string
}

// with returns principal with its client's name. When too many are kept, the cache starts anew.
func (c *clients) with(principal *policy.Principal, name string) *policy.Principal {
	if name == "" || principal.Client == name {
		return principal
	}
	key := client{principal, name}
	c.mu.RLock()
	known := c.of[key]
	c.mu.RUnlock()
	if known != nil {
		return known
	}
	named := *principal
	named.Client = strings.Clone(name)
	key.name = named.Client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= clientsKept {
		c.of = map[client]*policy.Principal{}
	}
	c.of[key] = &named
	return &named
}

// clientName is the first product of User-Agent, "claude-cli/2.1.330". It is a claim.
func clientName(h http.Header) string {
	agent := h["User-Agent"]
	if len(agent) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(agent[0], " ")
	if len(name) > clientBytesMax {
		return ""
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return ""
		}
	}
	return name
}
