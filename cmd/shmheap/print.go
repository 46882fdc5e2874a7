package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// printJSON prints one JSON value.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printf prints a line, or part of one.
func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(a.out, format, args...)
}

// newTable returns an empty table of plain text, with no lines and no colour.
// Columns named in right are numbers.
func newTable(out io.Writer, header table.Row, right ...string) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	var columns []table.ColumnConfig
	for _, name := range right {
		columns = append(columns, table.ColumnConfig{Name: name, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.AppendHeader(header)
	return t
}

// size writes a number of bytes for people.
func size(n uint64) string { return humanize.IBytes(n) }

// number writes a count for people.
func number[T int | int64 | uint32 | uint64](n T) string { return humanize.Comma(int64(n)) }

// plural writes a count and its noun.
func plural[T int | int64 | uint32 | uint64](n T, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}

// stamp writes a time for people.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
