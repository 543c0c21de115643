package dial

import (
	"net/http"
	"time"
)

// Plumbing is a part of the program that dials by itself, outside any call and without a credential of the vault.
type Plumbing string

// The whole list. Whatever is not on it asks the gate.
const (
	Telemetry Plumbing = "telemetry" // OTLP exporters, to the address in OTEL_EXPORTER_OTLP_*
	Admin     Plumbing = "admin"     // the command line, to the socket of the running server
)

// The limits of plumbing.
const (
	plumbingTimeout = 10 * time.Second
	plumbingConns   = 8
)

// Client returns an HTTP client for p. instead, when not empty, is dialled whatever the URL says (unix:PATH). The
// addresses are the operator's own. Redirects are not followed.
func (p Plumbing) Client(instead string) *http.Client {
	d := &Dialer{Private: true, Timeout: plumbingTimeout, Instead: instead}
	return &http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, DialTLSContext: d.DialTLSContext, MaxConnsPerHost: plumbingConns},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
