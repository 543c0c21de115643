package llmtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/llm/vendor"
)

// Provider is the fake. Its methods may be called from anywhere.
type Provider struct {
	URL string // of the server, without a path

	mu       sync.Mutex // guards all below
	scripts  map[string][]Script
	requests []*Request
	arrived  chan *Request
	models   []string
}

// Request is one request as it arrived.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
	Dialect             vendor.Dialect
	Model               string
	Stream              bool

	Canceled chan struct{} // closed when the client gave the request up before it was answered
	Done     chan struct{} // closed when the fake is through with it, after Canceled

	askedUsage bool
}

// arrivedMax bounds how many requests may wait to be taken by Next; more are only kept.
const arrivedMax = 1024

// New starts a fake and ends it with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{scripts: map[string][]Script{}, arrived: make(chan *Request, arrivedMax), models: []string{"fake"}}
	server := httptest.NewServer(p)
	p.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections() // a stalled answer would wait for its client
		server.Close()
	})
	return p
}

// Script sets the answers to the next requests for model, in order; the last one is kept for all that follow. Model ""
// scripts every model that has none of its own.
func (p *Provider) Script(model string, answers ...Script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scripts[model] = answers
}

// SetModels sets what the list of models holds.
func (p *Provider) SetModels(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.models = ids
}

// Requests returns all requests so far, in the order of their arrival.
func (p *Provider) Requests() []*Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*Request(nil), p.requests...)
}

// Arrived gives the requests as they arrive.
func (p *Provider) Arrived() <-chan *Request { return p.arrived }

// Contains returns the requests in which text occurs anywhere: path, query, a header or the body.
func (p *Provider) Contains(text string) []*Request {
	var found []*Request
	for _, r := range p.Requests() {
		if r.contains(text) {
			found = append(found, r)
		}
	}
	return found
}

func (r *Request) contains(text string) bool {
	if strings.Contains(r.Path+"\n"+r.Query+"\n"+string(r.Body), text) {
		return true
	}
	for name, values := range r.Header {
		if strings.Contains(name+": "+strings.Join(values, "\n"), text) {
			return true
		}
	}
	return false
}

// bodyBytesMax bounds what the fake keeps of a request.
const bodyBytesMax = 64 << 20

func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyBytesMax))
	if err != nil {
		return // the client broke off within its request: nothing arrived
	}
	req := parse(r, body)
	p.keep(req)
	defer func() {
		if r.Context().Err() != nil {
			close(req.Canceled)
		}
		close(req.Done)
	}()
	script := p.take(req.Model)
	switch req.Dialect {
	case vendor.Models:
		p.listModels(w)
	case "":
		http.Error(w, `{"error":{"message":"no such path","type":"not_found_error"}}`, http.StatusNotFound)
	default:
		(&answering{w: w, r: r, req: req, script: script, done: r.Context().Done()}).run()
	}
}

// parse reads what the fake must know of a request.
func parse(r *http.Request, body []byte) *Request {
	req := &Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body,
		Canceled: make(chan struct{}), Done: make(chan struct{}),
	}
	req.Header.Set("Host", r.Host)
	for _, d := range []vendor.Dialect{vendor.CountTokens, vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings, vendor.Models} {
		if strings.HasSuffix(r.URL.Path, strings.TrimPrefix(d.Path(), "/v1")) {
			req.Dialect = d
			break
		}
	}
	var known struct {
		Model         string `json:"model"`
		Stream        bool   `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	_ = json.Unmarshal(body, &known) // what is no JSON names no model and gets the script of ""
	req.Model, req.Stream, req.askedUsage = known.Model, known.Stream, known.StreamOptions.IncludeUsage
	return req
}

func (p *Provider) keep(req *Request) {
	p.mu.Lock()
	p.requests = append(p.requests, req)
	p.mu.Unlock()
	select {
	case p.arrived <- req:
	default:
	}
}

// take returns the next script for model.
func (p *Provider) take(model string) Script {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers, ok := p.scripts[model]
	if !ok {
		if s, ok := ByName(model); ok {
			return s
		}
		model = ""
		answers = p.scripts[model]
	}
	if len(answers) == 0 {
		return Script{}
	}
	if len(answers) > 1 {
		p.scripts[model] = answers[1:]
	}
	return answers[0]
}
