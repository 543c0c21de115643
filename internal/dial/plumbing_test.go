package dial

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A plumbing's client speaks with servers of either HTTP over TLS when the operator's roots vouch for them, with none
// otherwise, and follows no redirect.
func TestClientTrusting(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		server.EnableHTTP2 = h2
		server.StartTLS()
		t.Cleanup(server.Close)
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		resp, err := Sinks.ClientTrusting(roots).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusTemporaryRedirect || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("status %d by %s", resp.StatusCode, resp.Proto)
		}
		if resp, err := Sinks.ClientTrusting(nil).Get(server.URL); err == nil {
			t.Errorf("an unknown authority: status %d", resp.StatusCode)
		} else if !strings.Contains(err.Error(), "the certificate is not valid") {
			t.Error(err)
		}
	}
}

// A stream negotiates no protocol of HTTP.
func TestStream(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	negotiated := make(chan int, 1)
	server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		negotiated <- len(hello.SupportedProtos)
		return nil, nil
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	conn, err := Sinks.Stream(roots).DialTLSContext(t.Context(), "tcp", strings.TrimPrefix(server.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n := <-negotiated; n != 0 {
		t.Errorf("%d protocols offered", n)
	}
}
