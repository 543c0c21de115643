package main

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func limitsCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "limits", Short: "how limits stand"}
	c.AddCommand(listing(&cobra.Command{
		Use: "show", Short: "list every limit: used, held by calls under way, left, when it resets", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			op, err := o.operate(c.Context())
			if err != nil {
				return err
			}
			var rows []standing
			if err := errors.Join(op.get(c.Context(), "/api/v1/limits", &rows), op.close()); err != nil {
				return err
			}
			return printRows(c.OutOrStdout(), o.format, rows, []column[standing]{
				{"of", func(s standing) string { return s.Scope }},
				{"limit", func(s standing) string { return s.Limit }},
				{"on", func(s standing) string { return strings.Join(s.On, " ") }},
				{"used", func(s standing) string { return s.Texts.Used }},
				{"held", func(s standing) string { return s.Texts.Held }},
				{"left", func(s standing) string { return s.Texts.Left }},
				{"resets", func(s standing) string {
					if s.Reset.IsZero() {
						return ""
					}
					return s.Reset.Format(time.RFC3339)
				}},
			})
		},
	}, o))
	return c
}
