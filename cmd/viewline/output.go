package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/viewline/viewline/internal/tree"
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
	if !terminal(a.err) {
		return progress{}
	}
	return progress{a.err}
}

// terminal reports whether a stream is somebody's.
func terminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// sayReading tells somebody at a terminal what is waited for.
func (a *app) sayReading(what string) {
	if terminal(a.in) {
		fmt.Fprintf(a.err, "reading %s from here; end it with Ctrl-D\n", what)
	}
}

// barWidth is how many characters a full bar has.
const barWidth = 30

// tree shows how far a load or a verification is.
func (p progress) tree(done tree.Report, total int) {
	// The directory may change meanwhile.
	share := min(1, float64(done.Entries())/float64(max(1, total)))
	full := int(share * barWidth)
	p.show("[%s%s] %3.0f %%  %d directories, %d files", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*share, done.Directories, done.Files)
}

// size writes a number of bytes with a unit that fits.
func size(bytes int64) string {
	switch {
	case bytes < 1000:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	case bytes < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	}
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
