package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// keepAliveInterval is how often an idle connection is probed, so that a silently dropped one is noticed.
const keepAliveInterval = 30 * time.Second

// ErrAddress means that the resolved address is one this dialer may not connect to.
var ErrAddress = errors.New("the address is not one that may be reached; an address that is private must be written in the config file")

// Error is a connection that could not be made: nothing was sent over it.
type Error struct{ Err error }

// Error names no address: it may be shown to a caller.
func (e *Error) Error() string {
	switch {
	case errors.Is(e.Err, ErrAddress):
		return ErrAddress.Error()
	case errors.Is(e.Err, context.DeadlineExceeded):
		return "no connection in time"
	}
	var dns *net.DNSError
	if errors.As(e.Err, &dns) {
		return "the host name cannot be resolved"
	}
	var cert *tls.CertificateVerificationError
	if errors.As(e.Err, &cert) {
		return "the certificate is not valid for the host"
	}
	return "no connection"
}

// Unwrap returns the cause, which does name addresses: it is for the log.
func (e *Error) Unwrap() error { return e.Err }

// Dialer opens TCP and TLS connections. Immutable, safe for concurrent use.
type Dialer struct {
	Private bool          // the operator wrote the address: private ones are allowed
	Timeout time.Duration // until the connection stands, TLS included
	Instead string        // dial this instead of what is asked for: host:port, or unix:PATH. No address check

	Roots *x509.CertPool // who may vouch for a server; nil: whom the system trusts
	Raw   bool           // it is not HTTP that is spoken: no protocol is negotiated with TLS
}

// DialContext connects to address. Its error is an *Error.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, &Error{err}
	}
	return conn, nil
}

// DialTLSContext connects to address and completes a TLS handshake for its host. Its error is an *Error.
func (d *Dialer) DialTLSContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{err}
	}
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, &Error{err}
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: d.Roots}
	if !d.Raw {
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &Error{err}
	}
	return conn, nil
}

func (d *Dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: keepAliveInterval}
	if d.Instead != "" {
		if path, ok := strings.CutPrefix(d.Instead, "unix:"); ok {
			return dialer.DialContext(ctx, "unix", path)
		}
		return dialer.DialContext(ctx, network, d.Instead)
	}
	dialer.Control = func(network, address string, _ syscall.RawConn) error { return Check(address, d.Private) }
	return dialer.DialContext(ctx, network, address)
}

// public refuses what is not a public unicast address.
var public = ssrf.New(ssrf.WithAnyPort())

// never are the addresses that even an operator's own config cannot mean: link-local (the metadata services of clouds
// answer there), metadata over IPv6, multicast, broadcast.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("192.0.0.192/32"),
}

// Check refuses a resolved ip:port with an error wrapping ErrAddress. With private only what is never right is refused.
func Check(address string, private bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
	for _, ip := range readings(ap.Addr()) {
		if !private {
			if err := public.SafeAddr(ip); err != nil {
				return fmt.Errorf("%w: %s", ErrAddress, ip)
			}
			continue
		}
		if ip.IsUnspecified() {
			return fmt.Errorf("%w: %s", ErrAddress, ip)
		}
		for _, p := range never {
			if p.Contains(ip) {
				return fmt.Errorf("%w: %s", ErrAddress, ip)
			}
		}
	}
	return nil
}

// readings returns ip and the IPv4 address that it may be translated to on its way.
func readings(ip netip.Addr) []netip.Addr {
	ip = ip.WithZone("").Unmap()
	if ip.Is4() {
		return []netip.Addr{ip}
	}
	b := ip.As16()
	switch {
	case b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b: // NAT64, 64:ff9b::/96 and 64:ff9b:1::/48
		return []netip.Addr{ip, netip.AddrFrom4([4]byte(b[12:16]))}
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return []netip.Addr{ip, netip.AddrFrom4([4]byte(b[2:6]))}
	}
	return []netip.Addr{ip}
}
