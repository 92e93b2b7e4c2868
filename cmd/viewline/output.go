package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

func (a *app) json(value any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// table writes rows below a header, in columns.
func (a *app) table(header []string, rows [][]any) error {
	writer := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	writer.SetStyle(style)
	writer.SuppressTrailingSpaces()
	head := make(table.Row, len(header))
	for i, name := range header {
		head[i] = strings.ToUpper(name)
	}
	writer.AppendHeader(head)
	for _, row := range rows {
		writer.AppendRow(row)
	}
	_, err := fmt.Fprintln(a.out, writer.Render())
	return err
}

// progress writes what a long command is doing over and over on one line, if somebody is watching.
type progress struct{ to io.Writer }

func (a *app) progress() progress {
	file, ok := a.err.(*os.File)
	if !ok {
		return progress{}
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return progress{}
	}
	return progress{file}
}

func (p progress) show(format string, arguments ...any) {
	if p.to != nil {
		fmt.Fprintf(p.to, "\r\x1b[K"+format, arguments...)
	}
}

func (p progress) clear() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
