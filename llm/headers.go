package llm

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate/tollgate/llm/vendor"
)

// notForwarded are request headers that are for the gateway alone: credentials, addresses, what belongs to a connection,
// and what would choose an account under the provider's key. All others are the provider's business.
var notForwarded = map[string]bool{
	"Authorization": true, "X-Api-Key": true, "Api-Key": true, "X-Goog-Api-Key": true, "X-Bf-Vk": true, "Cookie": true,
	"Proxy-Authorization": true, "Openai-Organization": true, "Openai-Project": true, "X-Goog-User-Project": true,
	"Host": true, "Content-Length": true, "Content-Encoding": true, "Accept-Encoding": true, "Expect": true, "Origin": true, "Referer": true,
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Forwarded": true, "Via": true, "X-Real-Ip": true, "True-Client-Ip": true, "Traceparent": true, "Tracestate": true, "Baggage": true,
	"X-Http-Method-Override": true,
}

// notForwardedPrefixes are the beginnings of more of them.
var notForwardedPrefixes = [...]string{"X-Forwarded-", "X-Tollgate-", "Sec-", "Cf-", "X-Amz-", "Proxy-"}

// forwarded copies what of a client's headers goes to a provider.
func forwarded(in http.Header) http.Header {
	out := make(http.Header, len(in)+2)
	for name, values := range in {
		if !notForwarded[name] && !prefixed(name) && !listed(in["Connection"], name) {
			out[name] = values
		}
	}
	return out
}

func prefixed(name string) bool {
	for _, prefix := range notForwardedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// listed reports whether a Connection header names name as belonging to the connection.
func listed(connection []string, name string) bool {
	for _, line := range connection {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), name) {
				return true
			}
		}
	}
	return false
}

// notReturned are response headers that belong to the provider's connection or its site, not to its answer.
var notReturned = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Trailer": true, "Transfer-Encoding": true,
	"Upgrade": true, "Te": true, "Set-Cookie": true, "Content-Length": true, "Content-Encoding": true, "Alt-Svc": true,
	"Strict-Transport-Security": true, "Www-Authenticate": true, "Server": true, "Via": true, "Date": true, "Vary": true,
	"Report-To": true, "Nel": true, "Clear-Site-Data": true, "Location": true, "Refresh": true,
}

// returned copies what of a provider's headers goes to the client.
func returned(out, in http.Header) {
	for name, values := range in {
		if !notReturned[name] && !strings.HasPrefix(name, "Access-Control-") && !listed(in["Connection"], name) {
			out[name] = values
		}
	}
}

// forwardedQuery are the parameters that Anthropic's and Azure's clients send and their servers know.
var forwardedQuery = [...]string{"beta", "api-version"}

// query keeps of a client's query what goes to a provider; a key may stand in the rest.
func query(raw string) string {
	if raw == "" {
		return ""
	}
	in, err := url.ParseQuery(raw)
	if err != nil {
		return ""
	}
	out := url.Values{}
	for _, name := range forwardedQuery {
		if v := in.Get(name); v != "" {
			out.Set(name, v)
		}
	}
	return out.Encode()
}

// keepOne removes from h the forms of the provider's key that this endpoint does not take.
func keepOne(h http.Header, auth vendor.Auth) {
	for _, form := range [...]struct {
		name string
		auth vendor.Auth
	}{{"Authorization", vendor.Bearer}, {"X-Api-Key", vendor.XAPIKey}, {"Api-Key", vendor.APIKey}} {
		if form.auth != auth {
			delete(h, form.name)
		}
	}
}
