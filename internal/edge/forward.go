package edge

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Forwardable reports whether a request header, by its canonical name, may go on to an upstream at all. Never: the
// caller's credentials and cookies, whatever looks like one, hop-by-hop headers, those that describe the connection or the
// way here, and the gateway's own. What is forwardable is not thereby wanted: each front decides among the rest.
func Forwardable(name string) bool {
	if slices.Contains(plainRequestHeaders, name) {
		return true
	}
	return !slices.Contains(connectionHeaders, name) && !slices.Contains(arrivalHeaders, name) &&
		!hasAnyPrefix(name, arrivalPrefixes) && !smellsOfCredential(name)
}

// Returnable reports whether an upstream's response header, by its canonical name, may go back to the caller. Never:
// cookies, authentication challenges, what concerns the upstream's connection, encoding or web origin.
func Returnable(name string) bool {
	return !slices.Contains(connectionHeaders, name) && !slices.Contains(answerHeaders, name) &&
		!strings.HasPrefix(name, "Access-Control-") && !strings.HasPrefix(name, "X-Tollgate-")
}

// CopyForwardable copies from src to dst the request headers that are Forwardable, not named in src's Connection header,
// and wanted; wanted nil wants all.
func CopyForwardable(dst, src http.Header, wanted func(name string) bool) {
	copyHeaders(dst, src, Forwardable, wanted)
}

// CopyReturnable copies from src to dst the response headers that are Returnable, not named in src's Connection header,
// and wanted; wanted nil wants all.
func CopyReturnable(dst, src http.Header, wanted func(name string) bool) {
	copyHeaders(dst, src, Returnable, wanted)
}

// CopyAnswer copies from src to dst every header of an answer but those that belong to the connection it came by; what
// describes its body stays. It is for an answer of our own that is passed on.
func CopyAnswer(dst, src http.Header) {
	hops := src["Connection"]
	for name, values := range src {
		if name == "Content-Length" || !slices.Contains(connectionHeaders, name) && !namedIn(hops, name) {
			dst[name] = slices.Clone(values)
		}
	}
}

func copyHeaders(dst, src http.Header, may, wanted func(string) bool) {
	hops := src["Connection"]
	for name, values := range src {
		if !may(name) || wanted != nil && !wanted(name) || len(hops) > 0 && namedIn(hops, name) {
			continue
		}
		dst[name] = slices.Clone(values)
	}
}

// namedIn reports whether a Connection header names the header name, which makes it hop-by-hop.
func namedIn(connection []string, name string) bool {
	for _, line := range connection {
		for option := range strings.SplitSeq(line, ",") {
			if textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(option)) == name {
				return true
			}
		}
	}
	return false
}

func hasAnyPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// plainRequestHeaders are those most requests have: asked first, so that they cost little.
var plainRequestHeaders = []string{
	"Accept", "Accept-Language", "Content-Type", "User-Agent", "Idempotency-Key",
	"Anthropic-Version", "Anthropic-Beta", "Openai-Beta", "Openai-Organization", "Openai-Project",
}

// connectionHeaders belong to one hop (RFC 9110, section 7.6.1) or to how a body is framed on it.
var connectionHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length", "Content-Encoding", "Http2-Settings",
}

// arrivalHeaders say to whom or by which way a request came to us; upstream they would be wrong or too much.
var arrivalHeaders = []string{
	"Host", "Origin", "Referer", "Expect", "Accept-Encoding", "Range", "Forwarded", "Via", "True-Client-Ip",
	"X-Real-Ip", "X-Client-Ip", "Mcp-Session-Id", "Traceparent", "Tracestate", "Baggage", "Dnt", "Date",
}

var arrivalPrefixes = []string{"X-Forwarded-", "X-Tollgate-", "X-Bf-", "Sec-", "Cf-", "X-Envoy-", "Access-Control-", "If-"}

// answerHeaders of an upstream are not for our callers.
var answerHeaders = []string{
	"Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Server", "Via", "Alt-Svc", "Strict-Transport-Security", "Date",
	"Nel", "Report-To", "Clear-Site-Data", "Refresh", "Location", "Content-Location", "Public-Key-Pins",
}

// credentialWords mark a header that probably carries a secret of the caller, whatever its exact name.
var credentialWords = []string{"auth", "cookie", "token", "secret", "password", "credential", "signature", "api-key", "apikey", "access-key", "subscription-key"}

func smellsOfCredential(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(credentialWords, func(w string) bool { return strings.Contains(name, w) })
}
