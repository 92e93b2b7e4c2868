package backends

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func number(value float64, digits int) string { return strconv.FormatFloat(value, 'f', digits, 64) }

// appendLoad adds a load average, where there is one.
func appendLoad(loads []float64, text string) []float64 {
	if value, err := strconv.ParseFloat(text, 64); err == nil {
		loads = append(loads, value)
	}
	return loads
}

// Shown is a median as it is shown.
func (f Figure) Shown() string { return number(f.Median, f.Digits) }

// ShownSpread is the median with its interval.
func (f Figure) ShownSpread() string {
	return fmt.Sprintf("%s [%s, %s]", f.Shown(), number(f.Low, f.Digits), number(f.High, f.Digits))
}

// Table is summaries in rows below a header.
type Table struct {
	Header []string
	Rows   [][]string
}

// Tables are one for each scenario that there is.
func Tables(summaries []Summary) (tables []Table) {
	var scenarios []string
	for _, s := range summaries {
		if !slices.Contains(scenarios, s.Scenario) {
			scenarios = append(scenarios, s.Scenario)
		}
	}
	for _, scenario := range scenarios {
		tables = append(tables, tableOf(scenario, summaries))
	}
	return tables
}

func tableOf(scenario string, summaries []Summary) Table {
	t := Table{Header: []string{scenario, "replicas", "bytes", "proposers", "backend", "runs"}}
	for _, m := range measures(scenario) {
		t.Header = append(t.Header, m.name)
	}
	for _, m := range measures(scenario) {
		if m.compared {
			t.Header = append(t.Header, "ratio of "+m.name)
		}
	}
	for _, s := range summaries {
		if s.Scenario == scenario {
			t.Rows = append(t.Rows, rowOf(s))
		}
	}
	return t
}

func rowOf(s Summary) []string {
	row := []string{s.Durability, strconv.Itoa(s.Replicas), strconv.Itoa(s.ValueBytes), strconv.Itoa(s.Proposers), s.Backend, strconv.Itoa(s.Figures[0].Runs)}
	for _, f := range s.Figures {
		row = append(row, f.Shown())
	}
	for _, m := range measures(s.Scenario) {
		if !m.compared {
			continue
		}
		shown := ""
		if at := slices.IndexFunc(s.Ratios, func(f Figure) bool { return f.Name == m.name }); at >= 0 {
			shown = s.Ratios[at].ShownSpread()
		}
		row = append(row, shown)
	}
	return row
}

// Markdown writes the table.
func (t Table) Markdown() string {
	var text strings.Builder
	line := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.Header)
	line(slices.Repeat([]string{"---"}, len(t.Header)))
	for _, row := range t.Rows {
		line(row)
	}
	return text.String()
}
