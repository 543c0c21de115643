package main

import (
	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/mcp/demo"
)

// demoServerName is the command that runs the demo tools.
const demoServerName = "demo-server"

func demoServerCommand() *cobra.Command {
	var cfg demo.Config
	c := &cobra.Command{
		Use: demoServerName, Short: "the starter's demo tools, speaking MCP on standard input and output", Args: cobra.NoArgs,
		Example: "  servers:\n    demo: {command: [tollgate, demo-server, --notes, /srv/notes, --search, /srv/docs]}",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Version = version()
			return demo.Serve(c.Context(), c.InOrStdin(), c.OutOrStdout(), cfg)
		},
	}
	c.Flags().StringVar(&cfg.NotesDir, "notes", "", "keep notes in `DIR`; without it there are no note tools")
	c.Flags().StringVar(&cfg.SearchDir, "search", "", "let search_text read below `DIR`; without it there is no such tool")
	return c
}
