package backends

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Report is what is written about records.
type Report struct {
	// Markdown is the text. It refers to the plots by their names, in a directory of theirs.
	Markdown string
	// Plots are SVG by the name of the file.
	Plots map[string]string
}

// plotsDirectory is where the text expects the plots.
const plotsDirectory = "plots/"

// ReportOf writes a report of records. Those of one scenario that were made on different terms are an ErrResults.
func ReportOf(records []Record) (*Report, error) { return reportOf(records, registry()) }

func reportOf(records []Record, known []backend) (*Report, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrResults)
	}
	for i := range records {
		for j := range records[:i] {
			if err := records[i].like(&records[j]); err != nil {
				return nil, err
			}
		}
	}
	sortRecords(records, known)
	report := &Report{Plots: map[string]string{}}
	var text strings.Builder
	fmt.Fprintf(&text, "On the same terms: %v. %s\n\n", records[0].Terms, placesOf(records))
	for _, line := range policiesOf(records) {
		fmt.Fprintf(&text, "- %s\n", line)
	}
	summaries := summarize(records, known)
	for _, scenario := range []string{Throughput, Failover, Catchup} {
		of := slices.DeleteFunc(slices.Clone(summaries), func(s Summary) bool { return s.Scenario != scenario })
		if len(of) == 0 {
			continue
		}
		runs := records[slices.IndexFunc(records, func(r Record) bool { return r.Scenario == scenario })]
		switch scenario {
		case Throughput:
			fmt.Fprintf(&text, "\nThroughput: medians of runs of %v after %v.\n\n", runs.Duration, runs.Warmup)
			for _, figures := range [][]string{{"ops/s", "CPU us/op"}, {"p50 ms", "p99 ms", "p99.9 ms", "max ms"}, {"fsyncs/op", "messages/op", "flushes/op", "bytes/op"}} {
				text.WriteString(beside(of, figures).Markdown() + "\n")
			}
			for _, name := range plotThroughput(of, report.Plots) {
				fmt.Fprintf(&text, "![%s](%s%s)\n", strings.TrimSuffix(name, ".svg"), plotsDirectory, name)
			}
		case Failover:
			text.WriteString("\nFailover: milliseconds from kill -9 of the primary to the next commit, of every kill.\n\n")
			text.WriteString(beside(of, []string{"ms to the next commit"}).Markdown())
			text.WriteString(allValues(of))
		default:
			fmt.Fprintf(&text, "\nCatching up: a replica that was down while %d MiB were written.\n\n", runs.Behind>>20)
			text.WriteString(tableOf(scenario, of).Markdown())
		}
	}
	report.Markdown = text.String()
	return report, nil
}

// sortRecords puts records into the order of their cells, and within these of the known backends.
func sortRecords(records []Record, known []backend) {
	place := func(name string) int {
		return slices.IndexFunc(known, func(b backend) bool { return b.name == name })
	}
	slices.SortStableFunc(records, func(a, b Record) int {
		return slices.CompareFunc(orderOf(&a, place), orderOf(&b, place), func(x, y int) int { return x - y })
	})
}

func orderOf(r *Record, place func(string) int) []int {
	scenario := slices.Index([]string{Throughput, Failover, Catchup}, r.Scenario)
	durability := slices.Index([]string{Sync, Memory}, r.Durability)
	return []int{scenario, durability, r.Replicas, r.ValueBytes, r.Proposers, place(r.Backend), r.Run}
}

// placesOf says where and when all of them were run.
func placesOf(records []Record) string {
	var places []string
	var loads []float64
	first, last, void := records[0].Place.At, records[0].Place.At, 0
	for _, r := range records {
		if place := r.Place.String(); !slices.Contains(places, place) {
			places = append(places, place)
		}
		loads = appendLoad(loads, r.Place.Load)
		void += r.Void
		if r.Place.At.Before(first) {
			first = r.Place.At
		}
		if r.Place.At.After(last) {
			last = r.Place.At
		}
	}
	said := fmt.Sprintf("%d runs from %s to %s on %s", len(records), first.Format("2006-01-02 15:04"), last.Format("2006-01-02 15:04"), strings.Join(places, "; "))
	if len(loads) > 0 {
		said += fmt.Sprintf(", at a load average of %.1f to %.1f before each", slices.Min(loads), slices.Max(loads))
	}
	if void == 0 {
		return said + "; none was void."
	}
	return fmt.Sprintf("%s; %d more were void, for their primary had lost its role, and made again.", said, void)
}

// policiesOf are what the backends were seen to do, each once.
func policiesOf(records []Record) (lines []string) {
	var seen []policyKey
	for _, r := range records {
		p := r.Policy
		if at := (policyKey{p.Backend, p.Durability, p.Replicas}); p.Operations > 0 && !slices.Contains(seen, at) {
			seen, lines = append(seen, at), append(lines, p.String())
		}
	}
	return lines
}

// beside is a table with a row for each cell and the backends beside each other, for some figures. Those that have a ratio
// have a column with each of theirs.
func beside(summaries []Summary, figures []string) Table {
	var names []string
	var cells []Cell
	for _, s := range summaries {
		if !slices.Contains(names, s.Backend) {
			names = append(names, s.Backend)
		}
		if !slices.Contains(cells, s.Cell) {
			cells = append(cells, s.Cell)
		}
	}
	t := Table{Header: []string{"durability", "replicas", "bytes", "proposers"}}
	paired := map[string]bool{} // by figure and backend
	for _, s := range summaries {
		for _, ratio := range s.Ratios {
			paired[ratio.Name+" "+s.Backend] = true
		}
	}
	for _, figure := range figures {
		for _, name := range names {
			t.Header = append(t.Header, name+": "+figure)
		}
		for _, name := range names {
			if paired[figure+" "+name] {
				t.Header = append(t.Header, names[0]+" : "+name+", "+figure)
			}
		}
	}
	for _, cell := range cells {
		row := []string{cell.Durability, strconv.Itoa(cell.Replicas), strconv.Itoa(cell.ValueBytes), strconv.Itoa(cell.Proposers)}
		for _, figure := range figures {
			for _, name := range names {
				row = append(row, look(summaries, cell, name, func(s Summary) []Figure { return s.Figures }, figure, Figure.Shown))
			}
			for _, name := range names {
				if paired[figure+" "+name] {
					row = append(row, look(summaries, cell, name, func(s Summary) []Figure { return s.Ratios }, figure, Figure.ShownSpread))
				}
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// look finds one figure and shows it; "" where there is none.
func look(summaries []Summary, cell Cell, name string, of func(Summary) []Figure, figure string, show func(Figure) string) string {
	for _, s := range summaries {
		if s.Cell != cell || s.Backend != name {
			continue
		}
		for _, f := range of(s) {
			if f.Name == figure {
				return show(f)
			}
		}
	}
	return ""
}

// allValues lists the first figure's values, ascending.
func allValues(summaries []Summary) string {
	var text strings.Builder
	for _, s := range summaries {
		f := s.Figures[0]
		shown := make([]string, len(f.Values))
		for i, value := range slices.Sorted(slices.Values(f.Values)) {
			shown[i] = number(value, f.Digits)
		}
		fmt.Fprintf(&text, "\n%s (%v): %s\n", s.Backend, s.Cell, strings.Join(shown, ", "))
	}
	return text.String()
}
