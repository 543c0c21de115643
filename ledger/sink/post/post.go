package post

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/sink"
)

// answerBytesMax bounds what is read of an answer.
const answerBytesMax = 64 << 10

// answerTextMax bounds what an error quotes of a receiver's answer.
const answerTextMax = 200

// Judge judges an HTTP answer: nil for 2xx, a *sink.RefusedError for what says that the content is wrong, an error to repeat
// after for all else. text is what the answer says, quoted in bounds and in one line.
func Judge(resp *http.Response, text string) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("the receiver answered %d", resp.StatusCode)
	if text != "" {
		err = fmt.Errorf("%w: %s", err, Quoted(text))
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return &sink.RefusedError{Err: err}
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: check the credential of this sink", err)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: check the url of this sink", err)
	}
	if resp.StatusCode/100 == 3 {
		return fmt.Errorf("%w: redirects are not followed: write the final url", err)
	}
	if after := retryAfter(resp.Header.Get("Retry-After"), time.Now()); after > 0 {
		return &sink.BusyError{After: after, Err: err}
	}
	return err
}

// Quoted is text from outside as an error may show it: short, printable, one line.
func Quoted(text string) string {
	if len(text) > answerTextMax {
		text = text[:answerTextMax] + "..."
	}
	return strconv.QuoteToGraphic(text)
}

// retryAfter reads both forms of the header; 0 is none.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now)
	}
	return 0
}

// Client posts to one URL. Its requests follow no redirect and verify every certificate.
type Client struct {
	http   *http.Client
	url    string
	header http.Header
}

// New makes a Client. ca is PEM of the only authorities that may vouch for the server; empty: the system's. headers are set
// on every request.
func New(to, ca string, headers map[string]secret.String) (*Client, error) {
	roots, err := Roots(ca)
	if err != nil {
		return nil, err
	}
	c := &Client{dial.Sinks.ClientTrusting(roots), to, http.Header{}}
	for name, value := range headers {
		c.header.Set(name, value.Reveal())
	}
	return c, nil
}

// Roots reads certificates in PEM; none is nil, which stands for the system's.
func Roots(ca string) (*x509.CertPool, error) {
	if ca == "" {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("ca holds no certificate in PEM")
	}
	return roots, nil
}

// Close releases idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Do posts body and returns the answer and its text. The error is one of connection and names no address: how the answer is
// to be taken says Judge.
func (c *Client) Do(ctx context.Context, body []byte, header http.Header) (*http.Response, []byte, error) {
	return c.DoAt(ctx, c.url, body, header)
}

// DoAt is Do at another URL of the same receiver.
func (c *Client) DoAt(ctx context.Context, to string, body []byte, header http.Header) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, nil, errors.New("the url of this sink is not one")
	}
	for _, h := range []http.Header{c.header, header} {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, nil, fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return nil, nil, fmt.Errorf("read the receiver's answer: %w", err)
	}
	return resp, text, nil
}

// Gzip compresses body. The same body gives the same bytes.
func Gzip(body []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level is one
	_, _ = z.Write(body)                              // into memory
	_ = z.Close()
	return out.Bytes()
}
