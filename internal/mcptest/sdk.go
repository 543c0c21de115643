package mcptest

import (
	"context"
	"net/http"
	"testing"

	sdk "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// SDK serves the SDK's own server on loopback until the test ends, in the era of version: Modern, or any legacy one. It
// has the tools echo, fail and region (whose argument travels in a header), the resource test://note and the prompt
// greet.
func SDK(t testing.TB, version string) *Server {
	t.Helper()
	h := server.NewStreamableHTTPServer(tools(), server.WithStateful(true), server.WithStreamableHTTPProtocolVersions(version))
	return serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) { h.ServeHTTP(w, r) })
}

// tools is a server that both SDK and the child of trait "sdk" are.
func tools() *server.MCPServer {
	s := server.NewMCPServer("sdk", "1", server.WithToolCapabilities(true), server.WithResourceCapabilities(false, true),
		server.WithPromptCapabilities(true), server.WithInstructions("be kind"), server.WithCacheHints(60_000, sdk.CacheScopePublic))
	s.AddTool(sdk.NewTool("echo", sdk.WithString("text", sdk.Required()), sdk.WithReadOnlyHintAnnotation(true)),
		func(_ context.Context, r sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return sdk.NewToolResultText(r.GetString("text", "")), nil
		})
	s.AddTool(sdk.NewTool("fail"), func(context.Context, sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return sdk.NewToolResultError("it failed on purpose"), nil
	})
	s.AddTool(sdk.NewToolWithRawSchema("region", "", []byte(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}`)),
		func(_ context.Context, r sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return sdk.NewToolResultText(r.GetString("region", "")), nil
		})
	s.AddResource(sdk.NewResource("test://note", "note", sdk.WithMIMEType("text/plain")),
		func(_ context.Context, r sdk.ReadResourceRequest) ([]sdk.ResourceContents, error) {
			return []sdk.ResourceContents{sdk.TextResourceContents{URI: r.Params.URI, MIMEType: "text/plain", Text: "a note"}}, nil
		})
	s.AddPrompt(sdk.NewPrompt("greet", sdk.WithArgument("who")), func(_ context.Context, r sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return sdk.NewGetPromptResult("a greeting", []sdk.PromptMessage{sdk.NewPromptMessage(sdk.RoleUser, sdk.NewTextContent("hello "+r.Params.Arguments["who"]))}), nil
	})
	return s
}
