package sheet

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Formats are the output formats.
func Formats() []string { return []string{"table", "json", "jsonl", "csv"} }

// tableRows is how many rows of a table are held to find its columns' widths; the next ones are laid out anew.
const tableRows = 1000

// Column is one column of a listing: its heading and how a row shows in it.
type Column[T any] struct {
	Head string
	Text func(T) string
}

// Printer prints rows as they are added. JSON has them whole, tables and CSV the given columns. It is for one goroutine.
type Printer[T any] struct {
	out     io.Writer
	format  string
	columns []Column[T]
	rows    int

	lines *json.Encoder
	csv   *csv.Writer
	table *tabwriter.Writer
}

// New returns a printer of one of Formats; an empty format is table.
func New[T any](w io.Writer, format string, columns []Column[T]) (*Printer[T], error) {
	p := &Printer[T]{out: w, format: format, columns: columns}
	switch format {
	case "json":
		return p, nil
	case "jsonl":
		p.lines = json.NewEncoder(w)
		return p, nil
	case "csv":
		p.csv = csv.NewWriter(w)
		return p, p.csv.Write(p.cells(func(c Column[T]) string { return c.Head }))
	case "table", "":
		p.table = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		return p, p.line(p.cells(func(c Column[T]) string { return strings.ToUpper(c.Head) }))
	}
	return nil, fmt.Errorf("unknown format %q: one of %s", format, strings.Join(Formats(), ", "))
}

func (p *Printer[T]) cells(text func(Column[T]) string) []string {
	out := make([]string, len(p.columns))
	for i, c := range p.columns {
		out[i] = text(c)
	}
	return out
}

// Add prints rows. CSV and tables may hold some back until Flush or Close.
func (p *Printer[T]) Add(rows ...T) error {
	for _, row := range rows {
		if err := p.add(row); err != nil {
			return err
		}
		p.rows++
	}
	return nil
}

func (p *Printer[T]) add(row T) error {
	switch {
	case p.lines != nil:
		return p.lines.Encode(row)
	case p.csv != nil:
		return p.csv.Write(p.cells(func(c Column[T]) string { return Inert(c.Text(row)) }))
	case p.table != nil:
		if p.rows > 0 && p.rows%tableRows == 0 {
			if err := p.table.Flush(); err != nil {
				return err
			}
		}
		return p.line(p.cells(func(c Column[T]) string { return Printable(c.Text(row)) }))
	}
	text, err := json.MarshalIndent(row, "  ", "  ")
	if err != nil {
		return err
	}
	before := "[\n  "
	if p.rows > 0 {
		before = ",\n  "
	}
	_, err = fmt.Fprintf(p.out, "%s%s", before, text)
	return err
}

func (p *Printer[T]) line(cells []string) error {
	_, err := fmt.Fprintln(p.table, strings.Join(cells, "\t"))
	return err
}

// Flush prints what was held back.
func (p *Printer[T]) Flush() error {
	switch {
	case p.csv != nil:
		p.csv.Flush()
		return p.csv.Error()
	case p.table != nil:
		return p.table.Flush()
	}
	return nil
}

// Close prints the end. It does not close the writer.
func (p *Printer[T]) Close() error {
	if p.format != "json" {
		return p.Flush()
	}
	end := "\n]\n"
	if p.rows == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(p.out, end)
	return err
}

// Print prints all of rows.
func Print[T any](w io.Writer, format string, rows []T, columns []Column[T]) error {
	p, err := New(w, format, columns)
	if err != nil {
		return err
	}
	if err := p.Add(rows...); err != nil {
		return err
	}
	return p.Close()
}

// Printable keeps what others chose, such as tool names, from moving the cursor of the terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// formula are the first letters by which a spreadsheet takes a cell of CSV for a formula.
var formula = []byte("=+-@\t\r\n")

// Inert keeps what others chose from being run by the spreadsheet that opens the CSV: an apostrophe makes it text.
func Inert(s string) string {
	if s != "" && slices.Contains(formula, s[0]) || strings.HasPrefix(s, "＝") || strings.HasPrefix(s, "＋") ||
		strings.HasPrefix(s, "－") || strings.HasPrefix(s, "＠") {
		return "'" + s
	}
	return s
}
