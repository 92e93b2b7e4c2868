package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// history builders: at(10) is a transaction @10 that ran from 9 to 11 unless during says otherwise.
type builder struct{ Transaction }

func at(ts txn.Timestamp) builder {
	return builder{Transaction{TS: ts, Start: uint64(ts) - 1, End: uint64(ts) + 1}}
}

func (b builder) snapshot() builder { b.Snapshot = true; return b }

func (b builder) during(start, end uint64) builder { b.Start, b.End = start, end; return b }

func (b builder) reads(oid string, version txn.Timestamp) builder {
	b.Reads = append(b.Reads, Read{OID: oid, Version: version, Present: true})
	return b
}

func (b builder) misses(oid string, version txn.Timestamp) builder {
	b.Reads = append(b.Reads, Read{OID: oid, Version: version})
	return b
}

func (b builder) writes(oids ...string) builder {
	for _, oid := range oids {
		b.Writes = append(b.Writes, Write{OID: oid})
	}
	return b
}

func (b builder) deletes(oid string) builder {
	b.Writes = append(b.Writes, Write{OID: oid, Delete: true})
	return b
}

func historyOf(builders ...builder) []Transaction {
	history := make([]Transaction, 0, len(builders))
	for _, b := range builders {
		history = append(history, b.Transaction)
	}
	return history
}

// TestAnomalies: each history has the anomaly of its name, and both checkers see it. Where a serial order
// exists that is not the order of timestamps, only the replay may complain.
func TestAnomalies(t *testing.T) {
	const long = 1000 // everything overlaps, so that real time does not help to find it
	for _, test := range []struct {
		name    string
		history []Transaction
		why     string
		graph   bool
	}{
		{"lost update", historyOf(
			at(10).writes("x"), at(20).reads("x", 10).writes("x"), at(30).reads("x", 10).writes("x"),
		), "it missed a write", true},
		{"write skew", historyOf(
			at(10).writes("x", "y"),
			at(20).during(11, long).reads("x", 10).reads("y", 10).writes("x"),
			at(30).during(11, long).reads("x", 10).reads("y", 10).writes("y"),
		), "it missed a write", true},
		{"read skew", historyOf(
			at(10).writes("x", "y"), at(20).writes("x", "y"), at(30).during(1, long).reads("x", 10).reads("y", 20),
		), "it missed a write", true},
		{"long fork", historyOf(
			at(10).during(1, long).writes("x"), at(20).during(1, long).writes("y"),
			at(30).during(1, long).snapshot().reads("x", 10).misses("y", 0),
			at(40).during(1, long).snapshot().misses("x", 0).reads("y", 20),
		), "it missed a write", true},
		{"circular information flow", historyOf(
			at(10).during(1, long).reads("y", 20).writes("x"), at(20).during(1, long).reads("x", 10).writes("y"),
		), "it read from its future", true},
		{"aborted read", historyOf(at(10).writes("x"), at(20).reads("x", 15)), "it read a write that is not in the history", true},
		{"read of another's delete as a value", historyOf(at(10).deletes("x"), at(20).reads("x", 10)), "it read what nobody wrote", true},
		{"insert under an absent read", historyOf(
			at(10).during(1, long).writes("x"), at(20).during(1, long).misses("x", 0).writes("y"),
			at(30).during(1, long).reads("x", 10).misses("y", 0),
		), "it missed a write", true},
		{"later reader, earlier writer", historyOf(
			at(5).writes("x", "y"),
			at(10).during(6, long).reads("y", 5).writes("x"),
			at(20).during(6, long).reads("x", 5).writes("y"),
			at(30).reads("y", 20).reads("x", 10),
		), "it missed a write", true},
		{"a stale snapshot", historyOf(at(10).writes("x"), at(20).writes("x"), at(30).snapshot().reads("x", 10)), "it missed a write", true},
		{"a stale snapshot in good order but for real time", historyOf(
			at(10).writes("x"), at(20).writes("x"), at(15).during(25, 30).snapshot().reads("x", 10),
		), "it had ended before the other began, and is ordered after it", true},
		{"causal reverse", historyOf(
			at(20).during(1, 2).writes("x"), at(10).during(3, 4).writes("y"),
		), "it had ended before the other began, and is ordered after it", false},
		{"a serial order, but not that of the timestamps", historyOf(
			at(10).during(1, long).writes("x"), at(20).during(1, long).misses("x", 0),
		), "it missed a write", false},
		{"one timestamp for two", historyOf(at(10).writes("x"), at(10).writes("y")), "two transactions have one timestamp", false},
		{"a snapshot writes", historyOf(at(10).snapshot().writes("x")), "a snapshot wrote", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Strict(test.history)
			require.Error(t, err)
			var found *Counterexample
			require.ErrorAs(t, err, &found)
			require.Equal(t, test.why, found.Why)
			require.Contains(t, err.Error(), found.Transaction.String())
			if err := Graph(test.history); test.graph {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestGoodHistories(t *testing.T) {
	for _, test := range []struct {
		name    string
		history []Transaction
	}{
		{"empty", nil},
		{"blind writes in any order of arrival", historyOf(at(30).during(1, 99).writes("x"), at(10).during(1, 99).writes("x"), at(40).reads("x", 30))},
		{"a snapshot of a transaction's own timestamp sees it", historyOf(at(10).writes("x"), at(10).snapshot().reads("x", 10))},
		{"a snapshot of a delete's own timestamp sees it, or with 0", historyOf(
			at(5).writes("x", "y"), at(10).deletes("x").writes("y"), at(10).snapshot().reads("y", 10).misses("x", 0),
		)},
		{"snapshots share a timestamp in any order", historyOf(
			at(10).during(5, 6).snapshot().misses("x", 0), at(10).during(1, 2).snapshot().misses("x", 0),
		)},
		{"a delete is seen with its version, or with 0", historyOf(
			at(10).writes("x"), at(20).deletes("x"), at(30).misses("x", 20), at(40).misses("x", 0), at(50).writes("x"), at(60).reads("x", 50),
		)},
		{"reads and writes of one object", historyOf(at(10).misses("x", 0).writes("x"), at(20).reads("x", 10).writes("x"))},
		{"an end that nobody saw", historyOf(at(10).during(1, 0).writes("x"), at(20).reads("x", 10))},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, Strict(test.history))
			require.NoError(t, Graph(test.history))
		})
	}
}

func TestValuesAreCompared(t *testing.T) {
	history := []Transaction{
		{Name: "W", TS: 10, Writes: []Write{{OID: "x", Value: 7}}},
		{Name: "R", TS: 20, Reads: []Read{{OID: "x", Version: 10, Present: true, Value: 8}}},
	}
	require.EqualError(t, Serializable(history),
		`check: transaction R @20: it read what nobody wrote: read "x" @10, should have read "x" @10 (transaction W @10)`)
	history[1].Reads[0].Value = 0
	require.NoError(t, Serializable(history))
}

func TestCycleTellsItsEdges(t *testing.T) {
	err := Graph(historyOf(
		at(10).writes("x", "y"),
		at(20).during(11, 99).reads("x", 10).writes("y"),
		at(30).during(11, 99).reads("y", 10).writes("x"),
	))
	var cycle *Cycle
	require.ErrorAs(t, err, &cycle)
	require.Len(t, cycle.Edges, 2)
	require.EqualError(t, err,
		`check: a cycle of dependencies: transaction @20 -rw "x"-> transaction @30 -rw "y"-> transaction @20`)

	err = Graph(historyOf(at(10).writes("x"), at(20).writes("x"), at(15).during(25, 30).snapshot().reads("x", 10)))
	require.EqualError(t, err,
		`check: a cycle of dependencies: transaction @20 -real time-> snapshot @15 -rw "x"-> transaction @20`)
}
