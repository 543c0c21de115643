package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
)

// errSaid is an error that the user has been told already.
var errSaid = errors.New("said")

// options are the flags that every command takes.
type options struct {
	config string
	format string
}

// command is the whole command line.
func command() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "tollgate",
		Short: "an agent gateway: tools (MCP) and models (LLM APIs) behind one key, one policy and one ledger",
		Long: "tollgate is an agent gateway: tools (MCP) and models (LLM APIs) behind one key, one policy and one ledger.\n\n" +
			"Start it with `tollgate serve`. Without a config file that is the starter: a demo tool server, a demo model and a\n" +
			"freshly minted key on this machine only.",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if o.format != "" && !slices.Contains(sheet.Formats(), o.format) {
				return fmt.Errorf("unknown format %q: one of %s", o.format, strings.Join(sheet.Formats(), ", "))
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&o.config, "config", "", "the config `FILE` (default ./tollgate.yaml, then the XDG config directories)")
	root.AddCommand(serveCommand(o), stdioCommand(o), checkCommand(o), keyCommand(o), auditCommand(o),
		listing(queries.UsageCommand(o.asker, &o.format), o), limitsCommand(o), sinksCommand(o), versionCommand(), demoServerCommand())
	return root
}

// listing adds --format to a command that lists.
func listing(c *cobra.Command, o *options) *cobra.Command {
	c.Flags().StringVar(&o.format, "format", "table", "one of "+strings.Join(sheet.Formats(), ", "))
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "tollgate", version())
			return err
		},
	}
}

// version is that of the build: the module's, else the commit's.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
