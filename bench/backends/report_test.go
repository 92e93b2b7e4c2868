package backends

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is a registry in which raft stands beside both kinds of vr.
func pair() []backend {
	return []backend{{name: "vr"}, {name: "raft"}, {name: "vr/wal", alone: true}}
}

func somePairs() []Record {
	return []Record{
		recorded("vr", 1, 300, 10), recorded("raft", 1, 100, 40), recorded("vr/wal", 1, 900, 5),
		recorded("raft", 2, 200, 20), recorded("vr", 2, 400, 10), recorded("vr", 3, 500, 10),
	}
}

func TestSummaries(t *testing.T) {
	summaries := summarize(somePairs(), pair())
	require.Len(t, summaries, 3)
	vr, raft, wal := summaries[0], summaries[1], summaries[2]
	require.Equal(t, []string{"vr", "raft", "vr/wal"}, []string{vr.Backend, raft.Backend, wal.Backend})
	require.Equal(t, []float64{300, 400, 500}, vr.Figures[0].Values)
	require.Equal(t, Spread{Runs: 3, Median: 400, Low: 300, High: 500, Confidence: 0.75}, vr.Figures[0].Spread)
	require.Equal(t, [2]string{"1.5", "1.5"}, vr.Load)
	require.Empty(t, vr.Ratios, "the first is held against the others")
	require.Empty(t, wal.Ratios, "another kind of log is no pair")
	require.Len(t, raft.Ratios, 2)
	require.Equal(t, []float64{3, 2}, raft.Ratios[0].Values, "runs that were made in turn")
	require.Equal(t, "2.50 [2.00, 3.00]", raft.Ratios[0].ShownSpread())
	require.Equal(t, []float64{0.25, 0.5}, raft.Ratios[1].Values)

	tables := Tables(summaries)
	require.Len(t, tables, 1)
	for _, row := range tables[0].Rows {
		require.Len(t, row, len(tables[0].Header))
	}
}

func TestReport(t *testing.T) {
	records := somePairs()
	for run, took := range []time.Duration{500, 400, 700} {
		records = append(records, Record{
			Cell: Cell{Failover, Sync, 3, 128, 16}, Backend: "vr", Run: run + 1, Terms: StandardTerms(), Void: run,
			Outage: &Outage{Took: took * time.Millisecond},
		})
	}
	records = append(records, Record{
		Cell: Cell{Catchup, Sync, 3, 4096, 16}, Backend: "vr", Run: 1, Terms: StandardTerms(), Behind: 64 << 20,
		Return: &Return{Took: 2 * time.Second, Bytes: 3 << 20, Fetched: 1 << 20, Whole: 100, Down: 110, While: 75},
	})
	report, err := reportOf(records, pair())
	require.NoError(t, err)
	for _, says := range []string{
		"| durability | replicas | bytes | proposers | vr: ops/s | raft: ops/s | vr/wal: ops/s | vr : raft, ops/s | vr: CPU us/op |",
		"| sync | 3 | 128 | 64 | 400 | 150 | 900 | 2.50 [2.00, 3.00] | 10.0 | 30.0 | 5.0 | 0.38 [0.25, 0.50] |",
		"- raft, sync, 3 replicas: 200 operations, each with an fsync on 2 replicas or more before it was acknowledged",
		"vr (failover, sync, 3 replicas, 128 bytes, 16 proposers): 400, 500, 700",
		"| sync | 3 | 4096 | 16 | vr | 1 | 2.00 | 3.0 | 1.0 | 100 | 110 | 75 | 0.75 |",
		"a load average of 1.5 to 1.5 before each; 3 more were void",
		"![throughput-sync-3-128](plots/throughput-sync-3-128.svg)",
	} {
		require.Contains(t, report.Markdown, says)
	}
	require.Len(t, report.Plots, 1)
	plot := report.Plots["throughput-sync-3-128.svg"]
	requireXML(t, plot)
	require.Equal(t, 1+3+3, strings.Count(plot, "<rect "), "the ground, a mark and a bar for each backend")
	_, err = reportOf(nil, pair())
	require.ErrorIs(t, err, ErrResults)
	records[0].Warmup++
	_, err = reportOf(records, pair())
	require.ErrorIs(t, err, ErrResults, "different terms do not compare")
}

func requireXML(t *testing.T, text string) {
	t.Helper()
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestSteps(t *testing.T) {
	for top, step := range map[float64]float64{0: 1, 4: 1, 9: 2, 24: 5, 49: 10, 102_000: 50_000, 80_000: 20_000} {
		require.InDelta(t, step, niceStep(top), 1e-9*step, top)
	}
}
