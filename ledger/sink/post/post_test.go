package post

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/sink"
)

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		status  int
		after   string
		refused bool
		wait    time.Duration
		want    string
	}{
		{status: 200}, {status: 204},
		{status: 400, refused: true, want: `answered 400: "why\nso"`},
		{status: 413, refused: true}, {status: 415, refused: true}, {status: 422, refused: true},
		{status: 401, want: "check the credential"}, {status: 403, want: "check the credential"},
		{status: 404, want: "check the url"}, {status: 405, want: "check the url"},
		{status: 302, want: "redirects are not followed"},
		{status: 408}, {status: 410}, {status: 429, after: "30", wait: 30 * time.Second}, {status: 500}, {status: 503, after: "-1"}, {status: 503, after: "soon"},
	} {
		err := Judge(&http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {tt.after}}}, "why\nso")
		if (err == nil) != (tt.status < 300) {
			t.Errorf("%d: %v", tt.status, err)
			continue
		}
		if err == nil {
			continue
		}
		_, refused := errors.AsType[*sink.RefusedError](err)
		busy, _ := errors.AsType[*sink.BusyError](err)
		if refused != tt.refused || (busy != nil) != (tt.wait > 0) || busy != nil && busy.After != tt.wait || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d: %v", tt.status, err)
		}
	}
	soon := retryAfter(time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), time.Now())
	if soon < 50*time.Second || soon > time.Minute {
		t.Errorf("a date a minute from now: %v", soon)
	}
	if text := Quoted(strings.Repeat("x", 1000)); len(text) > answerTextMax+10 {
		t.Errorf("%d bytes quoted", len(text))
	}
}

// An error names neither the address nor a secret, and a redirect is not followed.
func TestClient(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
	}))
	c, err := New(server.URL+"/path?token=canary", "", map[string]secret.String{"Authorization": secret.New("Bearer canary")})
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := c.Do(t.Context(), []byte("body"), http.Header{"X-More": {"yes"}})
	if err != nil || resp.StatusCode != http.StatusFound || got.Get("Authorization") != "Bearer canary" || got.Get("X-More") != "yes" {
		t.Errorf("%v, %v, %v", resp, err, got)
	}
	address := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	_, _, err = c.Do(t.Context(), nil, nil)
	if err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), address) {
		t.Errorf("%v", err)
	}
	if _, err := New("http://x", "no certificate", nil); err == nil {
		t.Error("took a ca that is none")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
