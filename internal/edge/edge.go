package edge

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Problem is a refusal by the edge. Its text is made for the caller and says how to mend the request.
type Problem struct {
	Status int // HTTP status
	Text   string
}

func (p *Problem) Error() string { return p.Text }

// Guard checks what must hold of every request. Immutable, safe for concurrent use.
//
// It believes nothing that a client can write beside Host: X-Forwarded-* and Forwarded are not read. A proxy in front
// keeps the Host header, and its public name stands in Hosts.
type Guard struct {
	Hosts   []string // allowed Host header values, without port, lower case; loopback names are always allowed on a loopback listener
	Origins []string // allowed Origin values; loopback origins of an allowed host are always allowed
}

// Check returns nil or why the request is refused: 403 for Host and Origin, 400 for two Authorization headers, two
// different credentials, or CR, LF or NUL in a header, 415 for a Content-Encoding.
//
// An Origin is allowed when Origins names it, when it is the host and port the request itself is for, or when both sides
// are loopback names on a connection from this machine. A request without Origin comes from no web page.
func (g *Guard) Check(r *http.Request) *Problem {
	host, ok := splitHost(r.Host)
	if !ok {
		return &Problem{http.StatusForbidden, "the Host header is missing or malformed"}
	}
	local := isLoopbackName(host) && Loopback(r)
	if !local && !slices.Contains(g.Hosts, host) {
		return &Problem{http.StatusForbidden, "the Host header names a host that is not served here: use the address the gateway is configured with (public_url)"}
	}
	if p := g.checkOrigin(r, local); p != nil {
		return p
	}
	for name, values := range r.Header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				return &Problem{http.StatusBadRequest, "the header " + safeName(name) + " contains a line break or NUL"}
			}
		}
	}
	for _, v := range r.Header["Content-Encoding"] {
		if !strings.EqualFold(v, "identity") {
			return &Problem{http.StatusUnsupportedMediaType, "encoded request bodies are not accepted: send it without Content-Encoding"}
		}
	}
	_, p := Credential(r.Header)
	return p
}

func (g *Guard) checkOrigin(r *http.Request, local bool) *Problem {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return nil
	}
	if len(origins) > 1 {
		return &Problem{http.StatusBadRequest, "send one Origin header"}
	}
	origin := strings.ToLower(origins[0])
	if slices.Contains(g.Origins, origin) && origin != "null" {
		return nil
	}
	refused := &Problem{http.StatusForbidden, "requests from this web origin are not accepted: the gateway's config can allow it (origins)"}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || origin != u.Scheme+"://"+u.Host {
		return refused
	}
	name, ok := splitHost(u.Host)
	if !ok {
		return refused
	}
	if local && isLoopbackName(name) || withoutDefaultPort(u.Host) == withoutDefaultPort(strings.ToLower(r.Host)) {
		return nil
	}
	return refused
}

// splitHost returns the host of a Host header in lower case, without port and brackets. What is not plainly a name or an
// address, with or without a port, is refused.
func splitHost(hostport string) (string, bool) {
	host, port := strings.ToLower(hostport), ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i+1:]
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return "", false
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return inner, ok && err == nil && a.Is6() && a.Zone() == ""
	}
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return "", false
	}
	return host, true
}

// withoutDefaultPort cuts :80 and :443 off. The two are not told apart: behind a proxy that ends TLS the request says
// nothing of the scheme the page had.
func withoutDefaultPort(hostport string) string {
	return strings.TrimSuffix(strings.TrimSuffix(hostport, ":80"), ":443")
}

// isLoopbackName reports whether host can mean nothing but this machine, whatever a name server says.
func isLoopbackName(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Loopback reports whether r came over a connection that only this machine can make: to a loopback address or a unix
// socket.
func Loopback(r *http.Request) bool {
	switch a := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// Source returns the remote address of r without its port, for entries about callers without a key. Headers that claim
// another are not read.
func Source(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// safeName cuts a header's name for an error text.
func safeName(name string) string {
	const nameMax = 64
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), nameMax)]
}
