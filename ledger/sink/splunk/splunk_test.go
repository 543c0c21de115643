package splunk

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

// What the collector answers is told apart: an event that is wrong, a sink that is set up wrongly, something else entirely.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status  int
		body    string
		acks    bool
		refused bool
		want    string // empty: acknowledged
	}{
		{status: 200, body: `{"text":"Success","code":0}`},
		{status: 400, body: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`, refused: true, want: "Invalid data format"},
		{status: 400, body: `{"text":"Incorrect index","code":7}`, want: "may not write to this index"},
		{status: 400, body: `{"text":"Data channel is missing","code":10}`, want: "write acks: true"},
		{status: 400, body: `{"text":"ACK is disabled","code":14}`, acks: true, want: "acks: false"},
		{status: 403, body: `{"text":"Invalid token","code":4}`, want: "check the credential"},
		{status: 503, body: `{"text":"Server is busy","code":9}`, want: "Server is busy"},
		{status: 200, body: `<html>`, want: "is not Splunk's"},
		{status: 200, body: `{"text":"odd","code":3}`, want: "is not Splunk's"},
		{status: 200, body: `{"text":"Success","code":0}`, acks: true, want: "gives no acknowledgements"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		r, err := (Config{Shape: shape.CEF, URL: server.URL, Token: secret.New("canary"), Acks: tt.acks}).Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = r.Send(t.Context(), []sink.Line{{Text: []byte(`CEF:0|"quoted"|`)}})
		_, refused := errors.AsType[*sink.RefusedError](err)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || refused != tt.refused || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
		_ = r.Close()
		server.Close()
	}
}
