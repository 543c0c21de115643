package llm

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/usage"
	"github.com/tollgate/tollgate/llm/vendor"
)

// exchange is one request to one provider and its answer, under one permit.
type exchange struct {
	p      *Proxy
	a      *answering
	req    *request
	t      *target
	price  *price.Price
	permit *gate.Permit

	reader   usage.Reader
	size     usage.Size
	expected int64 // input tokens
	charged  int64 // bytes of text when the stream was last charged

	silence *time.Timer // cancels the exchange when the provider says nothing for too long
	rc      *http.ResponseController
	begun   bool        // the client has the header, and perhaps more
	dirty   bool        // and something that was not flushed yet
	header  http.Header // of an answer that is given whole
	tail    []byte      // of the answer, given when the call is settled
	gone    bool        // the client has left
	left    int64       // bytes that came after that
	until   time.Time   // when the client must have taken what was written
}

// What ends an exchange beside the client and the provider.
var (
	errSilent  = errors.New("the provider said nothing for too long")
	errEndless = errors.New("the answer is larger or longer than is allowed")
	errCoding  = errors.New("the provider sent an encoding nobody asked for")
)

// injectsUsage reports whether req is given the wish for usage on its way to t.
func (t *target) injectsUsage(req *request) bool {
	q := &t.provider.Vendor.Quirks
	return req.stream && req.format.Dialect == vendor.Chat && !req.fields.True(dialect.IncludeUsage) &&
		!q.NoStreamOptions && !q.UsageUnasked && !t.provider.NoUsage
}

// spliced is the body that t gets: as it came, but for t's own name for the model and the wish for usage.
func (p *Proxy) spliced(req *request, t *target) []byte {
	edits := req.fields.WithModel(t.model.Name)
	if t.injectsUsage(req) {
		edits = append(edits, req.fields.WithUsage()...)
	}
	if len(edits) == 2 && edits[0].Start > edits[1].Start {
		edits[0], edits[1] = edits[1], edits[0]
	}
	if len(edits) == 0 {
		return req.body
	}
	return strictjson.Splice(req.body, edits...)
}

// run makes the exchange. Nil means that the client has its answer, or as much of it as there will be.
func (x *exchange) run(ctx context.Context) *failure {
	if !x.t.provider.Speaks(x.req.format.Dialect) {
		return x.estimateCount()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.silence = time.AfterFunc(or(x.t.provider.FirstToken, firstTokenTimeout), func() { cancel(errSilent) })
	defer x.silence.Stop()
	out, err := x.request(ctx)
	if err != nil {
		x.p.log.Error("a provider has no credential", "provider", x.t.provider.Name, "err", err)
		return x.fail(http.StatusBadGateway, "the gateway holds no credential for provider "+x.t.provider.Name)
	}
	resp, err := x.p.gate.RoundTrip(x.permit, out)
	if err != nil {
		return x.unanswered(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or is of no use any more
	body, err := decoded(resp)
	switch {
	case err != nil:
		return x.garbage(err.Error())
	case resp.StatusCode >= http.StatusBadRequest:
		return x.refusedBy(resp, body)
	case resp.StatusCode != http.StatusOK:
		x.permit.Done(ledger.Failed, resp.StatusCode, "unexpected status")
		return x.fail(http.StatusBadGateway, fmt.Sprintf("provider %s answered with the unexpected status %d", x.t.provider.Name, resp.StatusCode))
	case x.req.streamed(resp.Header):
		return x.stream(ctx, resp, body)
	}
	return x.whole(ctx, resp, body)
}

// streamed reports whether an answer is read as a stream: when it says so, or was asked to be one and is not JSON. Some
// servers label their streams wrongly, others answer a request for a stream with a body.
func (r *request) streamed(h http.Header) bool {
	kind := strings.ToLower(h.Get("Content-Type"))
	return strings.HasPrefix(kind, "text/event-stream") || r.stream && !strings.HasPrefix(kind, "application/json")
}

// request makes the request to the provider. Its body is in memory and sent whole, never piped: net/http may drop the
// answer of a server that replies before it has read a piped body.
func (x *exchange) request(ctx context.Context) (*http.Request, error) {
	p, d := x.t.provider, x.req.format.Dialect
	u := *p.urls[d]
	if q := query(x.req.query); q != "" {
		u.RawQuery = q
	}
	body := x.permit.Call().Args
	out := (&http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Header: forwarded(x.req.header), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	return out, x.p.credit(x.permit, p, d, out.Header)
}

// credit puts onto h what the provider wants to see: its credential, and what says that we ask.
func (p *Proxy) credit(permit *gate.Permit, to *provider, d vendor.Dialect, h http.Header) error {
	if err := p.vault.Apply(permit, h); err != nil {
		return err
	}
	e, _ := to.Endpoint(d)
	keepOne(h, e.Auth)
	if anthropic := d == vendor.Messages || d == vendor.CountTokens || e.Auth == vendor.XAPIKey; anthropic && h["Anthropic-Version"] == nil {
		h["Anthropic-Version"] = []string{vendor.AnthropicVersion}
	}
	h["Accept-Encoding"] = []string{"identity"}
	if h["User-Agent"] == nil {
		h["User-Agent"] = []string{"tollgate/" + p.version}
	}
	return nil
}

// withoutCredential is a provider's error without the gateway's credential, which it may repeat; it is taken out of the
// header, too.
func (p *Proxy) withoutCredential(permit *gate.Permit, header http.Header, text []byte) []byte {
	sent := http.Header{}
	if p.vault.Apply(permit, sent) != nil {
		return text // none was
	}
	for _, values := range header {
		for i := range values {
			values[i] = string(redact.Sent([]byte(values[i]), sent))
		}
	}
	return redact.Sent(text, sent)
}

// decoded undoes the one encoding that proxies in between apply unasked.
func decoded(resp *http.Response) (io.Reader, error) {
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity":
		return resp.Body, nil
	case "gzip":
		r, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, errCoding
		}
		return r, nil
	}
	return nil, errCoding
}

// fail is a failure of the provider, told by the gateway.
func (x *exchange) fail(status int, text string) *failure {
	if status >= http.StatusInternalServerError {
		x.p.rests.failed(x.t.model, false, 0, x.p.now())
	}
	code := "upstream_error"
	if status == http.StatusGatewayTimeout {
		code = "upstream_timeout"
	}
	return &failure{err: &dialect.Error{Status: status, Code: code, Message: text}, another: true, asked: true}
}

// garbage is an answer that is none. What it cost is not known: the hold stands.
func (x *exchange) garbage(what string) *failure {
	return x.fail(http.StatusBadGateway, fmt.Sprintf("provider %s sent no usable answer: %s", x.t.provider.Name, what))
}

// unanswered is the failure of an exchange that brought no header.
func (x *exchange) unanswered(ctx context.Context, err error) *failure {
	name := x.t.provider.Name
	var timeout net.Error
	switch {
	case x.a.client.Err() != nil:
		return &failure{asked: true, err: &dialect.Error{Status: statusClientGone, Message: "the client left"}}
	case errors.Is(err, ledger.ErrUnwritable), errors.Is(err, ledger.ErrOffline):
		return x.p.refused(x.req, err)
	case errors.Is(context.Cause(ctx), errSilent), errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, gate.ErrUnreachable):
		return x.fail(http.StatusGatewayTimeout, fmt.Sprintf("provider %s did not answer in time", name))
	case errors.Is(err, gate.ErrUnreachable):
		return x.fail(http.StatusBadGateway, fmt.Sprintf("provider %s cannot be reached", name))
	}
	x.p.log.Warn("a provider broke off", "provider", name, "err", err)
	return x.fail(http.StatusBadGateway, fmt.Sprintf("provider %s closed the connection without an answer", name))
}

// refusedBy takes a provider's error answer: it goes to the client as it came, unless another target answers.
func (x *exchange) refusedBy(resp *http.Response, body io.Reader) *failure {
	now := x.p.now()
	text, err := readAll(body, resp.ContentLength, errorBytesMax)
	text = x.p.withoutCredential(x.permit, resp.Header, text)
	x.permit.Answered(text)
	x.permit.Done(ledger.Failed, resp.StatusCode, "")
	after := retryAfter(resp.Header, now)
	f := &failure{status: resp.StatusCode, header: resp.Header, body: text, asked: true, another: another(resp.StatusCode)}
	if f.another {
		x.p.rests.failed(x.t.model, busy(resp.StatusCode), after, now)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusProxyAuthRequired:
		// It speaks of the gateway's key, to which the caller's has no relation, and may quote parts of it.
		x.p.log.Error("a provider refused the gateway's credential", "provider", x.t.provider.Name, "status", resp.StatusCode)
		f.err = &dialect.Error{Status: http.StatusBadGateway, Code: "upstream_credential", Message: "provider " + x.t.provider.Name +
			" refused the gateway's own credential: whoever runs the gateway must check its api_key"}
	case err != nil || len(text) == 0:
		f.err = &dialect.Error{Status: resp.StatusCode, Code: "upstream_error", RetryAfter: after, Message: fmt.Sprintf(
			"provider %s refused the request with status %d and no readable reason", x.t.provider.Name, resp.StatusCode)}
	}
	return f
}

// another reports whether a status says something of the provider, not of the request, so that another may do better.
func another(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// busy reports whether a status says that the provider has too much to do.
func busy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == dialect.StatusOverloaded
}

// readAll reads at most most bytes; more is errEndless. size is what is announced, or -1.
func readAll(r io.Reader, size, most int64) ([]byte, error) {
	if size > most {
		return nil, errEndless
	}
	buf := make([]byte, 0, max(size+1, 2<<10)) // one byte more than announced, so that the end is seen without growing
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > most:
			return nil, errEndless
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) == cap(buf):
			buf = append(buf, 0)[:len(buf)]
		}
	}
}
