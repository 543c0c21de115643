package mcptest

import (
	"context"
	"encoding/json"
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

// SDKAsking serves the SDK's own legacy server on loopback until the test ends, whose tools elicit, sample and roots ask
// the client in mid-call: elicit on the stream of the call, the others on the session's own.
func SDKAsking(t testing.TB) *Server {
	t.Helper()
	s := server.NewMCPServer("asking", "1", server.WithToolCapabilities(true), server.WithElicitation(), server.WithRoots())
	s.EnableSampling()
	text := func(v any, err error) (*sdk.CallToolResult, error) {
		if err != nil {
			return sdk.NewToolResultError(err.Error()), nil
		}
		b, err := json.Marshal(v)
		return sdk.NewToolResultText(string(b)), err
	}
	s.AddTool(sdk.NewTool("elicit"), func(ctx context.Context, _ sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text(s.RequestElicitation(ctx, sdk.ElicitationRequest{Params: sdk.ElicitationParams{
			Message: "who?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}},
		}}))
	})
	s.AddTool(sdk.NewTool("sample"), func(ctx context.Context, _ sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		//lint:ignore SA1019 legacy servers sample
		return text(s.RequestSampling(ctx, sdk.CreateMessageRequest{CreateMessageParams: sdk.CreateMessageParams{
			Messages: []sdk.SamplingMessage{{Role: sdk.RoleUser, Content: sdk.NewTextContent("hello")}}, MaxTokens: 10,
		}}))
	})
	s.AddTool(sdk.NewTool("roots"), func(ctx context.Context, _ sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text(s.RequestRoots(ctx, sdk.ListRootsRequest{}))
	})
	h := server.NewStreamableHTTPServer(s, server.WithStateful(true), server.WithStreamableHTTPProtocolVersions(Legacy))
	return serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) { h.ServeHTTP(w, r) })
}
