package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/llm/price"
)

func checkCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "print what the config would run, and what is missing; calls nobody", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := settings.Find(o.config)
			if err != nil {
				return err
			}
			if path == "" {
				return errors.New("there is no config file: name one with --config FILE, or start the starter with tollgate serve")
			}
			catalog, err := price.Embedded()
			if err != nil {
				return err
			}
			s, err := settings.Load(path, catalog)
			if err != nil {
				fmt.Fprintln(c.ErrOrStderr(), err)
				return fmt.Errorf("%s would not start", path)
			}
			missing := s.Describe(c.OutOrStdout(), path)
			if missing > 0 {
				return fmt.Errorf("%d things are missing", missing)
			}
			return nil
		},
	}
}
