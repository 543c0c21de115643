package dial

import (
	"crypto/x509"
	"net/http"
	"time"
)

// Plumbing is a part of the program that dials by itself, outside any call and without a credential of the vault.
type Plumbing string

// The whole list. Whatever is not on it asks the gate.
const (
	Telemetry Plumbing = "telemetry" // OTLP exporters, to the address in OTEL_EXPORTER_OTLP_*
	Admin     Plumbing = "admin"     // the command line, to the socket of the running server
	Sinks     Plumbing = "sinks"     // copies of the ledger, to the addresses under sinks:
	Proof     Plumbing = "proof"     // signed checkpoints of the ledger, to the addresses under checkpoints:
	Database  Plumbing = "database"  // PostgreSQL, to the address in database:
	Replica   Plumbing = "replica"   // requests that belong to another replica, to its advertise: as the database has it
)

// The limits of plumbing.
const (
	plumbingTimeout = 10 * time.Second
	plumbingConns   = 8
	idleTimeout     = 90 * time.Second
)

// Dialer returns a dialer for p, for protocols that are not HTTP. The addresses are the operator's own.
func (p Plumbing) Dialer() *Dialer { return &Dialer{Private: true, Timeout: plumbingTimeout} }

// Client returns an HTTP client for p. instead, when not empty, is dialled whatever the URL says (unix:PATH). The
// addresses are the operator's own. Redirects are not followed.
func (p Plumbing) Client(instead string) *http.Client {
	return client(&Dialer{Private: true, Timeout: plumbingTimeout, Instead: instead})
}

// ClientTrusting is Client for servers that the operator's own certificate authorities vouch for; nil: the system's.
func (p Plumbing) ClientTrusting(roots *x509.CertPool) *http.Client {
	return client(&Dialer{Private: true, Timeout: plumbingTimeout, Roots: roots})
}

// Stream returns a dialer for p's connections that do not speak HTTP. roots as for ClientTrusting.
func (p Plumbing) Stream(roots *x509.CertPool) *Dialer {
	return &Dialer{Private: true, Timeout: plumbingTimeout, Roots: roots, Raw: true}
}

// ClientOf is Client for a part that needs many connections at a time: so many to one host, of which few are kept idle. Answers
// come as they were sent, without any compression that was not asked for.
func (p Plumbing) ClientOf(conns int) *http.Client {
	c := client(&Dialer{Private: true, Timeout: plumbingTimeout})
	t := c.Transport.(*http.Transport)
	t.MaxConnsPerHost, t.DisableCompression, t.ForceAttemptHTTP2 = conns, true, false
	return c
}

func client(d *Dialer) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, DialTLSContext: d.DialTLSContext, ForceAttemptHTTP2: true,
			MaxConnsPerHost: plumbingConns, MaxIdleConnsPerHost: plumbingConns, IdleConnTimeout: idleTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
