package kafka

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"testing"
)

// certificate is one for 127.0.0.1, and in PEM who vouches for it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	server.Close()
	return server.TLS.Certificates[0], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}
