package mcp_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/telemetry"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/policy"
)

func TestServersAreOnTheMetricsPage(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(t.Context()) }()
	servers := []mcp.Server{
		at("old", mcptest.Raw(t, mcptest.Script{Version: mcptest.Legacy, Sessions: true, Tools: []string{}, Changes: true}).URL),
		at("new", mcptest.SDK(t, mcptest.Modern).URL),
	}
	f := gatetest.New(t, gatetest.Options{Rules: allowAll, Upstreams: mcp.Upstreams(servers)})
	g, err := mcp.New(mcp.Config{
		Gate: f.Gate, Auth: &alice{policy.Principal{Key: "alice", KeyID: "k1"}}, Servers: servers, Meter: tel.Meter,
	})
	if err != nil {
		t.Fatal(err)
	}
	page := func() string {
		w := httptest.NewRecorder()
		tel.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	missing := func() string {
		got := page()
		for _, want := range []string{
			`tollgate_mcp_server_state{server="old",state="ready"} 1`, `tollgate_mcp_server_state{server="old",state="unavailable"} 0`,
			`tollgate_mcp_server_state{server="new",state="ready"} 1`,
			`tollgate_mcp_server_sessions{server="old"} 1`, `tollgate_mcp_server_sessions{server="new"} 0`, `tollgate_mcp_server_streams{server="old"} 1`,
			`tollgate_mcp_server_questions_total{server="old"} 0`, `tollgate_mcp_server_reconnects_total{server="new"} 0`,
		} {
			if !strings.Contains(got, want) {
				return want
			}
		}
		return ""
	}
	for ready := 0; ready < len(servers); { // the test's deadline bounds it
		ready = 0
		for _, h := range g.Health() {
			if h.State == mcp.Ready && h.Streams == 1 { // on which changes are told
				ready++
			}
		}
	}
	if want := missing(); want != "" {
		t.Errorf("%s is not on the page:\n%s", want, page())
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := page(); strings.Contains(got, "tollgate_mcp_server_state") {
		t.Error("a closed gateway is still on the page")
	}
}
