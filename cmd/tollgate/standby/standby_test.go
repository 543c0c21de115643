package standby

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDoorAnswersUntilItIsOpen(t *testing.T) {
	d := New(func() string { return "no database" })
	get := func(path string, local bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		ip := net.IPv4(10, 0, 0, 1)
		if local {
			ip = net.IPv4(127, 0, 0, 1)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: ip})))
		return w
	}
	for _, c := range []struct {
		path   string
		local  bool
		status int
		body   string
	}{
		{"/healthz", false, 200, `{"alive":true}`},
		{"/readyz", true, 503, `{"ready":false,"reasons":["no database"]}`},
		{"/readyz", false, 503, `{"ready":false}`},
		{"/mcp", false, 503, `{"jsonrpc":"2.0","id":null,"error":{"code":503,"message":"` + refusal + `"}}`},
		{"/mcp/files", false, 503, `"jsonrpc":"2.0"`},
		{"/sse", false, 503, `"jsonrpc":"2.0"`},
		{"/mcpx", false, 503, `"type":"overloaded_error"`},
		{"/v1/messages", false, 503, `"type":"error"`},
		{"/v1/chat/completions", false, 503, `"message":"` + refusal + `"`},
	} {
		w := get(c.path, c.local)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
		if retry := w.Header().Get("Retry-After"); (retry == "") != (c.path == "/healthz" || c.path == "/readyz") {
			t.Errorf("%s: Retry-After %q", c.path, retry)
		}
	}
	d.Open(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	if w := get("/readyz", true); w.Code != http.StatusTeapot {
		t.Errorf("behind the open door: %d", w.Code)
	}
}
