package queries

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
)

// TailCommand is `audit tail`. format is where the flag --format is put.
func TailCommand(open Open, format *string) *cobra.Command {
	return &cobra.Command{
		Use: "tail", Short: "print entries as they are written, until stopped", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if *format != "table" && *format != "jsonl" {
				return fmt.Errorf("tail prints table or jsonl, not %s", *format)
			}
			asker, err := open(c.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, asker.Close()) }()
			if !asker.Running() {
				return errors.New("no gateway is running, so nothing is being written: see tollgate audit query")
			}
			body, err := asker.Stream(c.Context(), "/api/v1/tail")
			if err != nil {
				return err
			}
			defer body.Close()
			dec := json.NewDecoder(body)
			for {
				var r callRow
				if err := dec.Decode(&r); err != nil {
					if c.Context().Err() != nil {
						return nil
					}
					return fmt.Errorf("the gateway ended the stream: %w", err)
				}
				if err := printLine(c, *format, r); err != nil {
					return err
				}
			}
		},
	}
}

func printLine(c *cobra.Command, format string, r callRow) error {
	if format == "jsonl" {
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s\n", r.raw)
		return err
	}
	var parts []string
	for _, col := range tableColumns() {
		if text := sheet.Printable(col.Text(r)); text != "" {
			parts = append(parts, text)
		}
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), strings.Join(parts, "  "))
	return err
}
