package main

import (
	"io"

	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
)

// column is one column of a listing: its heading in tables and how a row shows in it.
type column[T any] struct {
	head string
	text func(T) string
}

// printRows writes rows to w: JSON has them whole, tables and CSV the given columns.
func printRows[T any](w io.Writer, format string, rows []T, columns []column[T]) error {
	out := make([]sheet.Column[T], len(columns))
	for i, c := range columns {
		out[i] = sheet.Column[T]{Head: c.head, Text: c.text}
	}
	return sheet.Print(w, format, rows, out)
}
