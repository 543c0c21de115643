package relay

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/client/transport"
	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// Relay serves what the server at an URL serves. It is an http.Handler.
type Relay struct {
	url    string
	client *http.Client
	ids    atomic.Int64
}

// New makes a Relay in front of the server at url, which it reaches by client.
func New(url string, client *http.Client) *Relay { return &Relay{url: url, client: client} }

// The members of an envelope.
const (
	id = iota
	method
	params
	fields
)

var envelope = strictjson.Compile("id", "method", "params")

// ServeHTTP implements http.Handler.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := make([]byte, max(0, req.ContentLength))
	var at [fields]strictjson.Value
	_, err := io.ReadFull(req.Body, body)
	if err == nil {
		err = envelope.Scan(body, strictjson.Limits{}, at[:])
	}
	if err == nil {
		err = r.forward(w, req, body, &at)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

func (r *Relay) forward(w http.ResponseWriter, req *http.Request, body []byte, at *[fields]strictjson.Value) error {
	t, err := transport.NewStreamableHTTP(r.url, transport.WithHTTPBasicClient(r.client),
		transport.WithSession(req.Header.Get(sdk.HeaderSessionID)), transport.WithHTTPLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	if version := req.Header.Get(sdk.HeaderProtocolVersion); version != "" {
		t.SetProtocolVersion(version)
	}
	var called string
	if err := json.Unmarshal(at[method].In(body), &called); err != nil {
		return err
	}
	if !at[id].Present() {
		w.WriteHeader(http.StatusAccepted)
		return nil // nothing that a notification says matters to a server that is measured
	}
	out := transport.JSONRPCRequest{JSONRPC: "2.0", ID: sdk.NewRequestId(r.ids.Add(1)), Method: called, Header: mirrored(req.Header)}
	if at[params].Present() {
		out.Params = json.RawMessage(at[params].In(body))
	}
	answer, err := t.SendRequest(req.Context(), out)
	if err != nil {
		return err
	}
	if s := t.GetSessionId(); s != "" {
		w.Header().Set(sdk.HeaderSessionID, s)
	}
	return write(w, at[id].In(body), answer)
}

// mirrored are the headers that repeat what a request of 2026-07-28 says.
func mirrored(from http.Header) http.Header {
	h := http.Header{}
	for _, name := range [...]string{"Mcp-Method", "Mcp-Name"} {
		if v := from[name]; v != nil {
			h[name] = v
		}
	}
	return h
}

func write(w http.ResponseWriter, id []byte, answer *transport.JSONRPCResponse) error {
	b := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	if answer.Error != nil {
		text, err := json.Marshal(answer.Error)
		if err != nil {
			return err
		}
		b = append(append(b, `,"error":`...), text...)
	} else {
		b = append(append(b, `,"result":`...), answer.Result...)
	}
	b = append(b, '}')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // whoever asked is gone: nobody is left to tell
	return nil
}
