package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp"
)

func TestOperatorsAreToldOfEveryServer(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	nowhere := &url.URL{Scheme: "http", Host: "127.0.0.1:1", Path: "/mcp"}
	if err := r.mcp.Reload([]mcp.Server{{Name: "gone", URL: nowhere, Private: true}}, nil); err != nil {
		t.Fatal(err)
	}
	admin := "http://" + r.doors.admin.Addr().String()
	for path, want := range map[string][]string{
		"/readyz":  {`"name":"gone","state":"`, `"since":"`, `"tools":0,"resources":0,"prompts":0,"sessions":0,"streams":0,"questions":0,"reconnects":0`},
		"/metrics": {`tollgate_mcp_server_state{server="gone",state="ready"} 0`, `tollgate_mcp_server_sessions{server="gone"} 0`},
	} {
		status, body := r.ask(t, admin+path, "", "")
		for _, text := range want {
			if status != 200 || !strings.Contains(body, text) {
				t.Errorf("%s: status %d, without %s: %s", path, status, text, body)
			}
		}
	}
}
