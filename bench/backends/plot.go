package backends

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The measures of a plot, in pixels.
const (
	plotWidth, plotHeight           = 640, 320
	plotLeft, plotRight             = 70, 20
	plotTop, plotBottom             = 50, 45
	plotInnerWidth, plotInnerHeight = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	plotGroupShare                  = 0.8 // of a group's width that has bars
	plotLines                       = 5
)

// series is one backend in a plot.
type series struct {
	name   string
	values []Spread // one for each group; zero: none
}

// plotThroughput adds a plot of operations a second by proposers, for each combination of the rest, and returns their
// names.
func plotThroughput(summaries []Summary, plots map[string]string) (names []string) {
	var kinds []Cell // without proposers
	for _, s := range summaries {
		kind := s.Cell
		if kind.Proposers = 0; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	for _, kind := range kinds {
		var proposers []int
		var lines []series
		for _, s := range summaries {
			cell := s.Cell
			if cell.Proposers = 0; cell != kind {
				continue
			}
			if !slices.Contains(proposers, s.Proposers) {
				proposers = append(proposers, s.Proposers)
			}
			if !slices.ContainsFunc(lines, func(l series) bool { return l.name == s.Backend }) {
				lines = append(lines, series{name: s.Backend})
			}
		}
		labels := make([]string, len(proposers))
		for i, count := range proposers {
			labels[i] = fmt.Sprint(count)
			for j := range lines {
				lines[j].values = append(lines[j].values, spreadIn(summaries, kind, count, lines[j].name))
			}
		}
		name := fmt.Sprintf("throughput-%s-%d-%d.svg", kind.Durability, kind.Replicas, kind.ValueBytes)
		title := fmt.Sprintf("operations a second by proposers: %s, %d replicas, %d bytes", kind.Durability, kind.Replicas, kind.ValueBytes)
		plots[name] = bars(title, labels, lines)
		names = append(names, name)
	}
	return names
}

// spreadIn is that of a cell's first figure.
func spreadIn(summaries []Summary, kind Cell, proposers int, backend string) Spread {
	kind.Proposers = proposers
	for _, s := range summaries {
		if s.Cell == kind && s.Backend == backend {
			return s.Figures[0].Spread
		}
	}
	return Spread{}
}

// bars draws groups of bars, each with a line from the low to the high end of its interval.
func bars(title string, labels []string, lines []series) string {
	top := 0.0
	for _, line := range lines {
		for _, value := range line.values {
			top = max(top, value.High)
		}
	}
	step := niceStep(top)
	top = step * math.Ceil(top/step)
	height := func(value float64) float64 { return plotTop + plotInnerHeight*(1-value/top) }
	var svg strings.Builder
	fmt.Fprintf(&svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", plotWidth, plotHeight, plotWidth, plotHeight)
	fmt.Fprintf(&svg, "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", plotWidth, plotHeight)
	text := func(x, y float64, anchor, said string) {
		fmt.Fprintf(&svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"#222222\">%s</text>\n", x, y, anchor, html.EscapeString(said))
	}
	text(plotLeft, 18, "start", title)
	for value := 0.0; value <= top+step/2; value += step {
		fmt.Fprintf(&svg, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n", plotLeft, plotWidth-plotRight, height(value), height(value))
		text(plotLeft-6, height(value)+4, "end", number(value, 0))
	}
	colours := []string{"#3b6fb6", "#d9822b", "#5a9e4b", "#8a5fb0"}
	group := float64(plotInnerWidth) / float64(len(labels))
	width := group * plotGroupShare / float64(len(lines))
	for i, line := range lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&svg, "<rect x=\"%d\" y=\"28\" width=\"10\" height=\"10\" fill=\"%s\"/>\n", plotLeft+90*i, colour)
		text(float64(plotLeft+90*i+15), 37, "start", line.name)
		for j, value := range line.values {
			left := plotLeft + group*(float64(j)+(1-plotGroupShare)/2) + width*float64(i)
			fmt.Fprintf(&svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", left, height(value.Median), width, height(0)-height(value.Median), colour)
			fmt.Fprintf(&svg, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#222222\"/>\n", left+width/2, left+width/2, height(value.Low), height(value.High))
		}
	}
	for j, label := range labels {
		text(plotLeft+group*(float64(j)+0.5), plotHeight-plotBottom+18, "middle", label)
	}
	return svg.String() + "</svg>\n"
}

// niceStep is 1, 2 or 5 times a power of ten: the distance of lines of which there are about plotLines up to top.
func niceStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(top/plotLines)))
	for _, times := range []float64{1, 2, 5} {
		if unit*times >= top/plotLines {
			return unit * times
		}
	}
	return unit * 10
}
