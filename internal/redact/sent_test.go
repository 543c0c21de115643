package redact

import (
	"net/http"
	"testing"
)

func TestSentCredentialsAreMaskedInErrors(t *testing.T) {
	h := http.Header{"Authorization": {"Bearer a-credential-1"}, "X-Api-Key": {"a-credential-2"}, "X-Short": {"yes"}}
	got := string(Sent([]byte(`{"message":"bad key a-credential-1 (Bearer a-credential-1), a-credential-2; yes"}`), h))
	if got != `{"message":"bad key [redacted] (Bearer [redacted]), [redacted]; yes"}` {
		t.Error(got)
	}
	if got := string(Sent([]byte("nothing"), nil)); got != "nothing" {
		t.Error(got)
	}
}
