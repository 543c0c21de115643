package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	sdk "github.com/mark3labs/mcp-go/mcp"
)

// The SDK's client spawns the program, in both eras, as the only thing it knows of the gateway.
func TestClientsSpawnIt(t *testing.T) {
	program, err := exec.LookPath("tollgate") // testscript has put it there
	if err != nil {
		t.Fatal(err)
	}
	home := dataDir(t)
	env := append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CONFIG_HOME="+home)
	for _, version := range []string{sdk.LATEST_LEGACY_PROTOCOL_VERSION, "2024-11-05", "2026-07-28"} {
		c := client.NewClient(transport.NewStdio(program, env, "stdio"), client.WithProtocolVersion(version))
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		req := sdk.InitializeRequest{}
		req.Params.ProtocolVersion = version
		if _, err := c.Initialize(t.Context(), req); err != nil {
			t.Fatal(version, err)
		}
		if got := c.ProtocolVersion(); got != version {
			t.Errorf("the client speaks %s, want %s", got, version)
		}
		call := sdk.CallToolRequest{}
		call.Params.Name, call.Params.Arguments = "demo__calculate", map[string]any{"expression": "6*7"}
		result, err := c.CallTool(t.Context(), call)
		if err != nil || !strings.Contains(result.Content[0].(sdk.TextContent).Text, "42") {
			t.Errorf("%s: %+v %v", version, result, err)
		}
		if err := c.Close(); err != nil {
			t.Error(version, err)
		}
	}
}
