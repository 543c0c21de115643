package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/policy"
)

// The defaults of an Upstream's limits.
const (
	connectTimeout   = 5 * time.Second
	firstByteTimeout = 10 * time.Minute // thinking models take minutes to their first byte
	connsMax         = 1024             // streams hold one each over HTTP/1.1
	idleTimeout      = 90 * time.Second
	headerBytesMax   = 256 << 10
)

// Upstream is one destination that calls can be made to. URL nil means it is not reached by HTTP (stdio, local).
type Upstream struct {
	Side        policy.Side
	Name        string
	URL         *url.URL      // requests of a permit may go to this scheme, host and port only
	Private     bool          // the address was written by the operator and may be private
	Connect     time.Duration // 0: 5 s
	FirstByte   time.Duration // until the response header; 0: 10 min
	ConnsMax    int           // 0: 1024; calls beyond wait for one to be free
	DialAddress string        // tests and unix sockets only: dial this instead (host:port, or unix:PATH)
}

// pool is an upstream with its connections.
type pool struct {
	upstream  Upstream
	host      string          // URL's host with its port
	transport *http.Transport // nil: not reached by HTTP
}

type upstreamKey struct {
	side policy.Side
	name string
}

// pools are the upstreams in force.
type pools struct {
	mu  sync.RWMutex
	all map[upstreamKey]*pool
}

func (ps *pools) find(side policy.Side, name string) *pool {
	if side == policy.Local {
		return nil
	}
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	return ps.all[upstreamKey{side, name}]
}

func (ps *pools) replace(upstreams []Upstream) error {
	ps.mu.RLock()
	old := maps.Clone(ps.all)
	ps.mu.RUnlock()
	next := make(map[upstreamKey]*pool, len(upstreams))
	for _, u := range upstreams {
		k := upstreamKey{u.Side, u.Name}
		if next[k] != nil {
			return fmt.Errorf("gate: upstream %q is declared twice", u.Name)
		}
		p, err := newPool(u)
		if err != nil {
			return err
		}
		if before := old[k]; before != nil && before.same(p) {
			p = before
			delete(old, k)
		}
		next[k] = p
	}
	ps.mu.Lock()
	ps.all = next
	ps.mu.Unlock()
	for _, p := range old {
		p.closeIdle() // calls in flight keep their connections until they end
	}
	return nil
}

func (ps *pools) closeIdle() {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	for _, p := range ps.all {
		p.closeIdle()
	}
}

func newPool(u Upstream) (*pool, error) {
	p := &pool{upstream: u}
	if u.Side == policy.Local {
		return nil, fmt.Errorf("gate: upstream %q has no side", u.Name)
	}
	if u.URL == nil {
		return p, nil
	}
	if u.URL.Scheme != "https" && u.URL.Scheme != "http" || u.URL.Hostname() == "" {
		return nil, fmt.Errorf("gate: the URL of upstream %q must be http:// or https:// with a host", u.Name)
	}
	p.host = hostPort(u.URL)
	d := &dial.Dialer{Private: u.Private, Timeout: or(u.Connect, connectTimeout), Instead: u.DialAddress}
	conns := or(u.ConnsMax, connsMax)
	p.transport = &http.Transport{
		DialContext:            d.DialContext,
		DialTLSContext:         d.DialTLSContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what the upstream sends is what the caller gets
		MaxConnsPerHost:        conns,
		MaxIdleConns:           conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  or(u.FirstByte, firstByteTimeout),
		MaxResponseHeaderBytes: headerBytesMax,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         8 << 10,
	}
	return p, nil
}

func (p *pool) same(q *pool) bool {
	a, b := p.upstream, q.upstream
	if (a.URL == nil) != (b.URL == nil) || (a.URL != nil && a.URL.String() != b.URL.String()) {
		return false
	}
	a.URL, b.URL = nil, nil
	return a == b
}

func (p *pool) closeIdle() {
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

// Client returns an HTTP client bound to p: it goes only to p's upstream, follows no redirect, fails once p is dead.
func (g *Gate) Client(p *Permit) *http.Client {
	return &http.Client{
		Transport:     bound{g, p},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bound is a permit as a transport.
type bound struct {
	gate   *Gate
	permit *Permit
}

func (b bound) RoundTrip(req *http.Request) (*http.Response, error) {
	return b.gate.RoundTrip(b.permit, req)
}

// RoundTrip sends one request under p: the same guards as Client without making one. It takes req over and may change its
// headers. It returns once the answer's header is there and the reservation may be answered (see ledger.Durability). When
// p dies the exchange is cancelled, whatever context req carries. A request that has left is never sent again, but for a
// GET, which net/http repeats when a used connection breaks: those read lists and streams and cost nothing.
func (g *Gate) RoundTrip(p *Permit, req *http.Request) (*http.Response, error) {
	if err := g.mayGo(p, req); err != nil {
		closeBody(req.Body)
		return nil, err
	}
	release := func() {}
	if FromContext(req.Context()) != p {
		ctx, cancel := context.WithCancel(req.Context())
		stop := context.AfterFunc(&p.ctx, cancel)
		release = func() { stop(); cancel() }
		req = req.WithContext(&callContext{ctx, p})
	}
	empty := req.Body == nil || req.Body == http.NoBody
	sendOnce(req.Header)
	resp, err := p.pool.transport.RoundTrip(req)
	if failed, ok := errors.AsType[*dial.Error](err); ok {
		release()
		return nil, &unreachable{failed}
	}
	if empty {
		p.Sent() // nothing tells when; only a failed dial is known to have sent nothing
	}
	if err != nil {
		release()
		return nil, err
	}
	if err := p.Synced(req.Context()); err != nil {
		_ = resp.Body.Close()
		release()
		return nil, err
	}
	resp.Body = &answer{resp.Body, p, release}
	return resp, nil
}

// sendOnce keeps the transport from sending a request again that has left: when a connection breaks that was used before,
// net/http repeats what a client has marked as repeatable, and the upstream would see calls that were never reserved. It
// looks for the mark by the canonical name of the header; to the upstream another spelling is the same.
func sendOnce(h http.Header) {
	for _, name := range [...][2]string{{"Idempotency-Key", "idempotency-key"}, {"X-Idempotency-Key", "x-idempotency-key"}} {
		if v, ok := h[name[0]]; ok {
			delete(h, name[0])
			h[name[1]] = v
		}
	}
}

// mayGo holds that a permit is used alive, for its own upstream and no other host.
func (g *Gate) mayGo(p *Permit, req *http.Request) error {
	if !p.Live() || p.gate != g || p.pool == nil || p.pool.transport == nil {
		return ErrNoPermit
	}
	to, u := p.pool.upstream.URL, req.URL
	if u.Scheme != to.Scheme || u.Host != to.Host && hostPort(u) != p.pool.host || u.User != nil {
		return fmt.Errorf("%w: the request is for another host", ErrNoPermit)
	}
	if req.Host != "" && !strings.EqualFold(req.Host, req.URL.Host) {
		return fmt.Errorf("%w: the Host header names another host", ErrNoPermit)
	}
	return nil
}

func closeBody(b io.ReadCloser) {
	if b != nil {
		_ = b.Close()
	}
}

// answer is a response body that cannot be read under a dead permit.
type answer struct {
	io.ReadCloser
	permit  *Permit
	release func()
}

func (a *answer) Read(buf []byte) (int, error) {
	if !a.permit.Live() {
		return 0, ErrNoPermit
	}
	return a.ReadCloser.Read(buf)
}

func (a *answer) Close() error {
	defer a.release()
	return a.ReadCloser.Close()
}
