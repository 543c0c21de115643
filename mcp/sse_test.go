package mcp_test

import (
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/mcp"
)

// TestOldestTransport has the SDK's client of HTTP+SSE converse with servers of both eras, through /sse and /sse/{name}.
func TestOldestTransport(t *testing.T) {
	f := newFixture(t, allowAll,
		at("old", mcptest.SDK(t, sdk.LATEST_LEGACY_PROTOCOL_VERSION).URL),
		at("new", mcptest.SDK(t, mcptest.Modern).URL),
		mcp.Server{Name: "pipe", Command: mcptest.Command("sdk")},
	)
	dial := func(path, version string) *client.Client {
		wire, err := transport.NewSSE(strings.TrimSuffix(f.url, "/mcp")+path, transport.WithHeaders(map[string]string{"Authorization": "Bearer alice"}))
		if err != nil {
			t.Fatal(err)
		}
		c := client.NewClient(wire, client.WithProtocolVersion(version))
		t.Cleanup(func() { _ = c.Close() })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		req := sdk.InitializeRequest{}
		req.Params.ProtocolVersion = version
		if _, err := c.Initialize(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, version := range []string{"2024-11-05", sdk.LATEST_LEGACY_PROTOCOL_VERSION} {
		c := dial("/sse", version)
		for _, server := range []string{"old", "new", "pipe"} {
			converse(t, c, server)
		}
	}
	c := dial("/sse/old", "2024-11-05")
	tools, err := c.ListTools(t.Context(), sdk.ListToolsRequest{})
	if err != nil || len(tools.Tools) == 0 || strings.Contains(tools.Tools[0].Name, "__") {
		t.Errorf("%+v %v", tools, err)
	}
}
