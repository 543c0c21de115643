package relay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/mcptest/relay"
)

// A relay that lost something would make the comparison with it unfair.
func TestRelayPassesCallsOfBothEras(t *testing.T) {
	for _, version := range []string{mcptest.Modern, mcptest.Legacy} {
		upstream := mcptest.SDK(t, version)
		srv := httptest.NewServer(relay.New(upstream.URL.String(), http.DefaultClient))
		defer srv.Close()
		tr, err := transport.NewStreamableHTTP(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := client.NewClient(tr)
		defer c.Close()
		call(t.Context(), t, c, version)
	}
}

func call(ctx context.Context, t *testing.T, c *client.Client, version string) {
	t.Helper()
	init := sdk.InitializeRequest{}
	init.Params.ProtocolVersion = version
	init.Params.ClientInfo = sdk.Implementation{Name: "test", Version: "1"}
	if _, err := c.Initialize(ctx, init); err != nil {
		t.Fatalf("%s: %v", version, err)
	}
	req := sdk.CallToolRequest{}
	req.Params.Name, req.Params.Arguments = "echo", map[string]any{"text": "hi"}
	got, err := c.CallTool(ctx, req)
	if err != nil || got.IsError || len(got.Content) != 1 || sdk.GetTextFromContent(got.Content[0]) != "hi" {
		t.Errorf("%s: %+v, %v", version, got, err)
	}
	req.Params.Name = "nothing"
	if _, err := c.CallTool(ctx, req); err == nil {
		t.Errorf("%s: the error of the server was lost", version)
	}
}
