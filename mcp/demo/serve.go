package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"

	sdk "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Config says what the server may touch. A directory left empty leaves its tools out.
type Config struct {
	NotesDir  string // notes are kept here; made if need be
	SearchDir string // search_text reads below this and nowhere else
	Version   string
}

// Serve answers MCP on stdin and stdout until stdin ends or ctx does.
func Serve(ctx context.Context, stdin io.Reader, stdout io.Writer, cfg Config) error {
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	s := server.NewMCPServer("tollgate-demo", cfg.Version, server.WithToolCapabilities(false), server.WithRecovery(),
		server.WithInputSchemaValidation(), server.WithStrictInputSchemaDefault(),
		server.WithInstructions("A clock, a calculator, notes kept on disk and a text search, for trying the gateway out."))
	addClock(s)
	addCalculator(s)
	if cfg.NotesDir != "" {
		n, err := openNotes(cfg.NotesDir)
		if err != nil {
			return err
		}
		n.add(s)
	}
	if cfg.SearchDir != "" {
		f, err := openFolder(cfg.SearchDir)
		if err != nil {
			return err
		}
		defer func() { _ = f.root.Close() }()
		f.add(s)
	}
	pipe := server.NewStdioServer(s)
	pipe.SetErrorLogger(log.New(io.Discard, "", 0)) // what it would say is in the answers
	err := pipe.Listen(ctx, stdin, stdout)
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// readOnly and writes are the annotations of tools that change nothing, and of those that do.
func readOnly(options ...sdk.ToolOption) []sdk.ToolOption {
	return append(options, sdk.WithReadOnlyHintAnnotation(true), sdk.WithDestructiveHintAnnotation(false),
		sdk.WithIdempotentHintAnnotation(true), sdk.WithOpenWorldHintAnnotation(false))
}

func writes(destructive, idempotent bool, options ...sdk.ToolOption) []sdk.ToolOption {
	return append(options, sdk.WithReadOnlyHintAnnotation(false), sdk.WithDestructiveHintAnnotation(destructive),
		sdk.WithIdempotentHintAnnotation(idempotent), sdk.WithOpenWorldHintAnnotation(false))
}

// addTool adds a tool whose arguments are a T. What it returns is the structured content of its result, and as JSON its
// text; an error becomes a result with isError.
func addTool[T, R any](s *server.MCPServer, name, description string, run func(context.Context, T) (R, error), options ...sdk.ToolOption) {
	options = append(options, sdk.WithDescription(description))
	s.AddTool(sdk.NewTool(name, options...), func(ctx context.Context, r sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		var args T
		if err := r.BindArguments(&args); err != nil {
			return sdk.NewToolResultError(fmt.Sprintf("%s: the arguments do not fit its schema", name)), nil
		}
		out, err := run(ctx, args)
		if err != nil {
			return sdk.NewToolResultError(name + ": " + err.Error()), nil
		}
		text, err := json.Marshal(out)
		if err != nil {
			return nil, fmt.Errorf("%s: encode the result: %w", name, err)
		}
		return sdk.NewToolResultStructured(out, string(text)), nil
	})
}
