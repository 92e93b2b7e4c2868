package backends

import (
	"slices"
	"time"
)

// Figure is one thing that was measured, over the runs of a cell.
type Figure struct {
	Name string `json:"name"`
	// Digits is how many are shown after the point.
	Digits int `json:"-"`
	Spread
	// Values are those of all runs, in their order.
	Values []float64 `json:"values"`
}

// Summary is all runs of one cell with one backend.
type Summary struct {
	Cell
	Backend string   `json:"backend"`
	Figures []Figure `json:"figures"`
	// Ratios are those of the first backend's runs to those of this one, run by run; none for the first itself, for one that
	// keeps its log in another way, and where runs are missing.
	Ratios []Figure `json:"ratios,omitempty"`
	// Void is how many runs were void, and Load the least and the greatest load average of the machine before a run.
	Void int       `json:"void"`
	Load [2]string `json:"load"`
}

// measure is how one figure is read from a record.
type measure struct {
	name   string
	digits int
	of     func(r *Record) float64
	// compared: it is a figure of which there is a ratio.
	compared bool
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measures are the figures of a scenario, the most important first.
func measures(scenario string) []measure {
	switch scenario {
	case Failover:
		return []measure{{"ms to the next commit", 0, func(r *Record) float64 { return milliseconds(r.Outage.Took) }, true}}
	case Catchup:
		return []measure{
			{"s to catch up", 2, func(r *Record) float64 { return r.Return.Took.Seconds() }, true},
			{"MiB received", 1, func(r *Record) float64 { return float64(r.Return.Bytes) / (1 << 20) }, true},
			{"of a checkpoint", 1, func(r *Record) float64 { return float64(r.Return.Fetched) / (1 << 20) }, false},
			{"ops/s whole", 0, func(r *Record) float64 { return r.Return.Whole }, false},
			{"ops/s down", 0, func(r *Record) float64 { return r.Return.Down }, false},
			{"ops/s while", 0, func(r *Record) float64 { return r.Return.While }, false},
			{"while/whole", 2, func(r *Record) float64 { return r.Return.Share() }, false},
		}
	default:
		return []measure{
			{"ops/s", 0, func(r *Record) float64 { return r.Speed.PerSecond }, true},
			{"p50 ms", 2, func(r *Record) float64 { return milliseconds(r.Speed.P50) }, false},
			{"p99 ms", 2, func(r *Record) float64 { return milliseconds(r.Speed.P99) }, false},
			{"p99.9 ms", 2, func(r *Record) float64 { return milliseconds(r.Speed.P999) }, false},
			{"max ms", 1, func(r *Record) float64 { return milliseconds(r.Speed.Max) }, false},
			{"CPU s", 2, func(r *Record) float64 { return r.Speed.CPUSeconds }, false},
			{"CPU us/op", 1, func(r *Record) float64 { return r.Speed.CPUMicros }, true},
			{"fsyncs/op", 3, func(r *Record) float64 { return r.Speed.Fsyncs }, false},
			{"messages/op", 3, func(r *Record) float64 { return r.Speed.Messages }, false},
			{"flushes/op", 3, func(r *Record) float64 { return r.Speed.Flushes }, false},
			{"bytes/op", 0, func(r *Record) float64 { return r.Speed.Bytes }, false},
		}
	}
}

// Summarize groups records by cells and backends, in the order in which these come first.
func Summarize(records []Record) []Summary { return summarize(records, registry()) }

func summarize(records []Record, known []backend) (all []Summary) {
	var cells []Cell
	var names []string
	for i := range records {
		if !slices.Contains(cells, records[i].Cell) {
			cells = append(cells, records[i].Cell)
		}
	}
	for _, cell := range cells {
		of := map[string][]*Record{}
		names = names[:0]
		for i := range records {
			r := &records[i]
			if r.Cell != cell {
				continue
			}
			if of[r.Backend] == nil {
				names = append(names, r.Backend)
			}
			of[r.Backend] = append(of[r.Backend], r)
		}
		for i, name := range names {
			s := summaryOf(of[name])
			if chosen, _ := find(known, name); i > 0 && !chosen.alone {
				s.Ratios = ratiosOf(of[names[0]], of[name])
			}
			all = append(all, s)
		}
	}
	return all
}

// summaryOf is of records of one cell and one backend.
func summaryOf(records []*Record) Summary {
	slices.SortStableFunc(records, func(a, b *Record) int { return a.Run - b.Run })
	s := Summary{Cell: records[0].Cell, Backend: records[0].Backend}
	for _, m := range measures(s.Scenario) {
		values := make([]float64, len(records))
		for i, r := range records {
			values[i] = m.of(r)
		}
		s.Figures = append(s.Figures, Figure{Name: m.name, Digits: m.digits, Spread: spreadOf(values), Values: values})
	}
	var loads []float64
	for _, r := range records {
		s.Void += r.Void
		loads = appendLoad(loads, r.Place.Load)
	}
	if len(loads) > 0 {
		s.Load = [2]string{number(slices.Min(loads), 1), number(slices.Max(loads), 1)}
	}
	return s
}

// ratiosOf are those of runs that have the same number. Both are sorted by it.
func ratiosOf(first, second []*Record) (ratios []Figure) {
	for _, m := range measures(first[0].Scenario) {
		if !m.compared {
			continue
		}
		var values []float64
		for _, a := range first {
			for _, b := range second {
				if divisor := m.of(b); a.Run == b.Run && divisor > 0 {
					values = append(values, m.of(a)/divisor)
				}
			}
		}
		if len(values) > 0 {
			ratios = append(ratios, Figure{Name: m.name, Digits: 2, Spread: spreadOf(values), Values: values})
		}
	}
	return ratios
}
