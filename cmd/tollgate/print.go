package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// The output formats of commands that list.
var formats = []string{"table", "json", "jsonl", "csv"}

// column is one column of a listing: its heading in tables and how a row shows in it.
type column[T any] struct {
	head string
	text func(T) string
}

// printRows writes rows to w: JSON has them whole, tables and CSV the given columns.
func printRows[T any](w io.Writer, format string, rows []T, columns []column[T]) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if rows == nil {
			rows = []T{}
		}
		return enc.Encode(rows)
	case "jsonl":
		enc := json.NewEncoder(w)
		for _, row := range rows {
			if err := enc.Encode(row); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		return printCSV(w, rows, columns)
	case "table", "":
		return printTable(w, rows, columns)
	}
	return fmt.Errorf("unknown format %q: one of %s", format, strings.Join(formats, ", "))
}

func printCSV[T any](w io.Writer, rows []T, columns []column[T]) error {
	out := csv.NewWriter(w)
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.head
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for _, row := range rows {
		for i, c := range columns {
			record[i] = c.text(row)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func printTable[T any](w io.Writer, rows []T, columns []column[T]) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range columns {
		fmt.Fprint(out, strings.ToUpper(c.head), tab(i, len(columns)))
	}
	for _, row := range rows {
		for i, c := range columns {
			fmt.Fprint(out, printable(c.text(row)), tab(i, len(columns)))
		}
	}
	return out.Flush()
}

func tab(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return "\t"
}

// printable keeps what others chose, such as tool names, from moving the cursor of the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
