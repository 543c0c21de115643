package queries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
	"github.com/tollgate/tollgate/ledger/index"
)

// Asker is the admin API of a gateway, as the command line reaches it.
type Asker interface {
	// Get asks for a path and decodes the answer.
	Get(ctx context.Context, path string, answer any) error
	// Stream asks for a path and returns the answer as it comes.
	Stream(ctx context.Context, path string) (io.ReadCloser, error)
	// Running reports whether a gateway answers, and not the files alone.
	Running() bool
	// Close ends it.
	Close() error
}

// Open reaches the gateway that is meant.
type Open func(context.Context) (Asker, error)

// behindMax is how far another replica's entries may be behind before a query says so.
const behindMax = 10 // seconds

// QueryCommand is `audit query`. format is where the flag --format is put.
func QueryCommand(open Open, format *string) *cobra.Command {
	var limit int
	var entries, oldest bool
	var after string
	c := &cobra.Command{
		Use: "query", Short: "list calls, newest first; waits until the index has all there is", Args: cobra.NoArgs,
		Example: "  tollgate audit query --key ci-bot --since 24h\n  tollgate audit query --trace 4bf92f3577b34da6a3ce929d0e0e4736 --format json\n" +
			"  tollgate audit query --since 30d --limit 0 --format csv > calls.csv",
		RunE: func(c *cobra.Command, _ []string) error {
			values := flagValues(c, false)
			if oldest {
				values.Set("order", "oldest")
			}
			path, columns := "/api/v1/calls", tableColumns()
			if entries {
				path = "/api/v1/entries"
			}
			if *format == "csv" {
				columns = callColumns()
			}
			values.Set("after", after)
			_, err := list(c, open, path, values, limit, *format, columns)
			return err
		},
	}
	addFlags(c, false)
	c.Flags().IntVar(&limit, "limit", 100, "how many calls at most; 0: all")
	c.Flags().StringVar(&after, "after", "", "go on behind this `CURSOR`, which a list that was cut says at its end")
	c.Flags().BoolVar(&entries, "entries", false, "show the single entries of the calls: each reservation, its extensions, its end")
	c.Flags().BoolVar(&oldest, "oldest-first", false, "list in the order of time")
	return c
}

// UsageCommand is `usage`.
func UsageCommand(open Open, format *string) *cobra.Command {
	var by []string
	var limit int
	var after string
	c := &cobra.Command{
		Use: "usage", Short: "sum up what was used: calls, tokens, money", Args: cobra.NoArgs,
		Long: "Sum up what was used, grouped by one or more of " + strings.Join(index.Groups(), ", ") + ".\n" +
			"Hours, days and months are those of UTC; since and until count in whole hours.",
		Example: "  tollgate usage --by team,day --since 30d\n  tollgate usage --by model --team platform --since 7d --format csv",
		RunE: func(c *cobra.Command, _ []string) error {
			values := flagValues(c, true)
			values["by"] = by
			values.Set("after", after)
			table := *format == "table" || *format == ""
			total, err := list(c, open, "/api/v1/usage", values, limit, *format, usageColumns(by, table))
			if err != nil || !table || total == nil || len(by) == 0 {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "\ntotal: %d calls, %d denied, %d failed, %d tokens, %s\n",
				total.Calls, total.Denied, total.Failed, total.Tokens, total.Cost)
			return err
		},
	}
	addFlags(c, true)
	c.Flags().StringSliceVar(&by, "by", nil, "what to group by, such as `team,day`")
	c.Flags().IntVar(&limit, "limit", 0, "how many groups at most; 0: all")
	c.Flags().StringVar(&after, "after", "", "go on behind this `CURSOR`")
	return c
}

func addFlags(c *cobra.Command, use bool) {
	for _, p := range params() {
		if p.usable || !use {
			c.Flags().String(p.name, "", p.usage)
		}
	}
}

func flagValues(c *cobra.Command, use bool) url.Values {
	values := url.Values{}
	for _, p := range params() {
		if !p.usable && use {
			continue
		}
		if text, _ := c.Flags().GetString(p.name); text != "" {
			values.Set(p.name, text)
		}
	}
	return values
}

// list reads pages and prints them as they come, until limit rows are there. It returns the total of the last page.
func list[T any](c *cobra.Command, open Open, path string, values url.Values, limit int, format string, columns []column[T]) (total *usageSums, err error) {
	if limit < 0 {
		return nil, errors.New("--limit: write 100, or 0 for all")
	}
	asker, err := open(c.Context())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, asker.Close()) }()
	out, err := sheet.New(c.OutOrStdout(), format, columns)
	if err != nil {
		return nil, err
	}
	if values.Get("after") == "" {
		values.Del("after")
	}
	warnOfOthers(c, asker)
	for left := limit; ; {
		ask := index.PageMax
		if limit > 0 {
			ask = min(ask, left)
		}
		values.Set("limit", strconv.Itoa(ask))
		var p part[T]
		if err := asker.Get(c.Context(), path+"?"+values.Encode(), &p); err != nil {
			return nil, err
		}
		if err := out.Add(p.Items...); err != nil {
			return nil, err
		}
		total = p.Total
		if left -= ask; p.Next == "" || limit > 0 && left <= 0 {
			if p.Next != "" {
				_, _ = fmt.Fprintf(c.ErrOrStderr(), "there is more: --after %s\n", p.Next)
			}
			return total, out.Close()
		}
		if err := out.Flush(); err != nil {
			return nil, err
		}
		values.Set("after", p.Next)
	}
}

// warnOfOthers says which replicas' entries are not all in the index. This gateway's own are: the query waits for them.
func warnOfOthers(c *cobra.Command, asker Asker) {
	var answer struct{ Feeds []index.Feed }
	if asker.Get(c.Context(), "/api/v1/index", &answer) != nil {
		return // the query itself will say what is wrong
	}
	for _, f := range answer.Feeds[min(1, len(answer.Feeds)):] {
		if f.Lag > behindMax {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "replica %s: only its entries up to %s are listed\n", f.Replica, moment(f.Through))
		}
	}
}
