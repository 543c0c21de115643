package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/ledger"
)

func auditCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "read the ledger: what was asked, allowed, spent"}
	c.AddCommand(queryCommand(o), tailCommand(o))
	return c
}

// asked are the filters of audit query, by flag name; the admin API takes the same names as parameters.
var asked = []struct{ name, usage string }{
	{"id", "the call of this `ID`"}, {"trace", "the calls of this trace `ID`"}, {"parent", "the calls made under the call of this `ID`"},
	{"kind", "`KIND`: posted, voided, denied, or reserved for those under way"}, {"outcome", "`OUTCOME`: ok, tool_error, upstream_error, cut, unsent, interrupted"},
	{"customer", "`NAME`; * stands for any text"}, {"team", "`NAME`"}, {"key", "`NAME` or id"}, {"user", "`NAME`"},
	{"action", "`ACTION`, such as tool.call or llm.*"}, {"upstream", "`NAME` of a server or provider"}, {"target", "`NAME` of a tool or model"},
	{"since", "a span back from now, such as 2h, or an RFC 3339 `TIME`"}, {"until", "the same"},
}

func queryCommand(o *options) *cobra.Command {
	values := url.Values{}
	var limit int
	var entries, oldest bool
	c := &cobra.Command{
		Use: "query", Short: "list calls, newest first; waits until the index has all there is", Args: cobra.NoArgs,
		Example: "  tollgate audit query --key ci-bot --since 24h\n  tollgate audit query --trace 4bf92f3577b34da6a3ce929d0e0e4736 --format json",
		RunE: func(c *cobra.Command, _ []string) error {
			for _, a := range asked {
				if text, _ := c.Flags().GetString(a.name); text != "" {
					values.Set(a.name, text)
				}
			}
			if oldest {
				values.Set("order", "oldest")
			}
			if entries {
				return query(c, o, "/api/v1/entries", values, limit, entryColumns())
			}
			return query(c, o, "/api/v1/calls", values, limit, entryColumns())
		},
	}
	for _, a := range asked {
		c.Flags().String(a.name, "", a.usage)
	}
	c.Flags().IntVar(&limit, "limit", 100, "how many calls at most; 0: all")
	c.Flags().BoolVar(&entries, "entries", false, "show the single entries of the calls: each reservation, its extensions, its end")
	c.Flags().BoolVar(&oldest, "oldest-first", false, "list in the order of time")
	return listing(c, o)
}

// pageMax is how many calls one request asks for.
const pageMax = 1000

// page is a part of the admin API's answer.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// query reads pages until limit calls are there.
func query(c *cobra.Command, o *options, path string, values url.Values, limit int, columns []column[row]) error {
	op, err := o.operate(c.Context())
	if err != nil {
		return err
	}
	var rows []row
	for {
		ask := pageMax
		if limit > 0 {
			ask = min(pageMax, limit-len(rows))
		}
		values.Set("limit", strconv.Itoa(ask))
		var p page[row]
		if err := op.get(c.Context(), path+"?"+values.Encode(), &p); err != nil {
			return errors.Join(err, op.close())
		}
		rows = append(rows, p.Items...)
		if p.Next == "" || limit > 0 && len(rows) >= limit {
			break
		}
		values.Set("after", p.Next)
	}
	if err := op.close(); err != nil {
		return err
	}
	return printRows(c.OutOrStdout(), o.format, rows, columns)
}

// row is an entry as the admin API wrote it: what is not shown in a column still goes into JSON.
type row struct {
	raw   json.RawMessage
	entry ledger.Entry
}

// UnmarshalJSON keeps the text beside the fields.
func (r *row) UnmarshalJSON(b []byte) error {
	r.raw = append(json.RawMessage(nil), b...)
	return json.Unmarshal(b, &r.entry)
}

// MarshalJSON writes the text that was read.
func (r row) MarshalJSON() ([]byte, error) { return r.raw, nil }

func entryColumns() []column[row] {
	return []column[row]{
		{"time", func(r row) string { return r.entry.Time.Local().Format("2006-01-02 15:04:05.000") }},
		{"kind", func(r row) string { return r.entry.Kind.String() }},
		{"key", func(r row) string { return orDefault(r.entry.Who.Key, orDefault(r.entry.Who.KeyID, r.entry.Source)) }},
		{"action", func(r row) string { return string(r.entry.Action) }},
		{"target", func(r row) string { return strings.Trim(r.entry.Upstream+"/"+r.entry.Target, "/") }},
		{"rules", func(r row) string { return strings.Join(r.entry.Rules, ",") }},
		{"outcome", func(r row) string { return string(r.entry.Status) }},
		{"tokens", func(r row) string { return zeroBlank(r.entry.Quantities.Tokens()) }},
		{"cost", func(r row) string { return costText(&r.entry) }},
		{"trace", func(r row) string { return r.entry.Trace.String() }},
		{"id", func(r row) string { return r.entry.Call().String() }},
	}
}

func zeroBlank(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func costText(e *ledger.Entry) string {
	text := e.Cost.String()
	if e.Estimated {
		text += " est."
	}
	return text
}

func tailCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use: "tail", Short: "print entries as they are written, until stopped", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.format != "table" && o.format != "jsonl" {
				return fmt.Errorf("tail prints table or jsonl, not %s", o.format)
			}
			op, err := o.operate(c.Context())
			if err != nil {
				return err
			}
			if op.http == nil {
				return errors.Join(errors.New("no gateway is running, so nothing is being written: see tollgate audit query"), op.close())
			}
			body, err := op.stream(c.Context(), "GET", "/api/v1/tail", nil)
			if err != nil {
				return err
			}
			defer body.Close()
			dec := json.NewDecoder(body)
			for {
				var r row
				if err := dec.Decode(&r); err != nil {
					if c.Context().Err() != nil {
						return nil
					}
					return fmt.Errorf("the gateway ended the stream: %w", err)
				}
				if err := printTail(c, o.format, r); err != nil {
					return err
				}
			}
		},
	}
	return listing(c, o)
}

func printTail(c *cobra.Command, format string, r row) error {
	if format == "jsonl" {
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s\n", r.raw)
		return err
	}
	var parts []string
	for _, col := range entryColumns() {
		if text := printable(col.text(r)); text != "" {
			parts = append(parts, text)
		}
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), strings.Join(parts, "  "))
	return err
}

// instant reads a time, or a span back from now.
func instant(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2h, 2026-11-24 or 2026-11-24T12:00:00Z", text)
}
