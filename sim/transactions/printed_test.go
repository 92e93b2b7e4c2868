package transactions

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/check"
	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// TestPrintedRulesAreNotSerializable shows what comes of the validation rules as the Duke report on a
// replicated Thor printed them: they check reads against later writers, and not writes against later readers;
// they compare read stamps with the keys read; and they forget who committed.
//
// x lives at shard 1, y at shard 2, both written by I@1. S@20 reads x and writes y; T@10 reads y and writes x.
// Shard 1 hears of S first, shard 2 of T first. Each misses the other's write.
func TestPrintedRulesAreNotSerializable(t *testing.T) {
	written, err := printedSchedule(t, 0)
	require.Equal(t, txn.ReadByLater, err.Reason, "T writes x below its reader S")
	require.NoError(t, check.Strict(written))
	require.NoError(t, check.Graph(written))

	written, err = printedSchedule(t, omit.Of(history.RulesAsPrinted()...))
	require.Equal(t, txn.ReasonNone, err.Reason, "the printed rules let T pass")
	require.EqualError(t, check.Serializable(written),
		`check: transaction S @20: it missed a write: read "x" @1, should have read "x" @10 (transaction T @10)`)
	require.EqualError(t, check.Graph(written),
		`check: a cycle of dependencies: transaction S @20 -rw "x"-> transaction T @10 -rw "y"-> transaction S @20`)
}

// printedSchedule plays the schedule and returns what committed, and what shard 1 answered to T.
func printedSchedule(t *testing.T, without omit.Set) ([]check.Transaction, txn.Verdict) {
	t.Helper()
	shards := [2]*history.State{}
	for i := range shards {
		state, err := history.New(history.Options{Shard: txn.ShardID(i + 1), SlotOf: func(oid string) uint16 { return uint16(oid[0] - 'x') }, Omit: without})
		require.NoError(t, err)
		shards[i] = state
	}
	apply := func(shard int, operation history.Operation) txn.Verdict {
		state := shards[shard-1]
		return state.Apply(state.Applied()+1, operation).Verdict
	}
	part := func(sequence uint64, ts txn.Timestamp) *txn.Transaction {
		id := txn.TxnID{Sequence: sequence, Home: 1}
		return &txn.Transaction{Attempt: txn.Attempt{ID: id, Number: 1, TS: ts}, Participants: []txn.ShardID{1, 2}}
	}
	prepare := func(shard int, t *txn.Transaction) txn.Verdict {
		return apply(shard, history.PrepareTxn{Lead: 1, Txn: t})
	}
	writing := func(t *txn.Transaction, oid string) *txn.Transaction {
		t.Writes = []txn.WriteEntry{{OID: oid, Kind: txn.Put, Value: []byte(oid)}}
		return t
	}
	reading := func(shard txn.ShardID, t *txn.Transaction, oid string) *txn.Transaction {
		state := shards[shard-1]
		t.Reads = []txn.ReadEntry{{OID: oid, Version: state.Read(oid).Version, At: state.Applied(), Shard: shard}}
		return t
	}
	for shard, oid := range map[int]string{1: "x", 2: "y"} {
		apply(shard, history.Own{MapVersion: 1, Shard: txn.ShardID(shard), Slots: []uint16{uint16(shard - 1)}})
		apply(shard, history.Lead{Number: 1, View: 1})
		prepare(shard, writing(part(1, 1), oid))
		apply(shard, history.CommitTxn{Attempt: part(1, 1).Attempt})
	}
	s1, s2 := reading(1, part(2, 20), "x"), writing(part(2, 20), "y")
	t1, t2 := writing(part(3, 10), "x"), reading(2, part(3, 10), "y")

	written := []check.Transaction{
		{Name: "I", TS: 1, Writes: []check.Write{{OID: "x"}, {OID: "y"}}},
		{Name: "S", TS: 20, Start: 1, Reads: []check.Read{{OID: "x", Version: s1.Reads[0].Version, Present: true}}, Writes: []check.Write{{OID: "y"}}},
	}
	require.Equal(t, txn.StatusPrepared, prepare(2, t2).Status)
	require.Equal(t, txn.StatusPrepared, prepare(1, s1).Status)
	require.Equal(t, txn.StatusPrepared, prepare(2, s2).Status)
	verdict := prepare(1, t1)
	for shard := 1; shard <= 2; shard++ {
		apply(shard, history.CommitTxn{Attempt: s1.Attempt})
		if verdict.Status == txn.StatusPrepared {
			apply(shard, history.CommitTxn{Attempt: t1.Attempt})
		} else {
			apply(shard, history.AbortTxn{Attempt: t1.Attempt})
		}
	}
	if verdict.Status == txn.StatusPrepared {
		written = append(written, check.Transaction{
			Name: "T", TS: 10, Start: 1, Reads: []check.Read{{OID: "y", Version: t2.Reads[0].Version, Present: true}}, Writes: []check.Write{{OID: "x"}},
		})
	}
	return written, verdict
}

// TestPrintedRulesInOrdinaryHistories counts how often ordinary histories come out wrong under them.
func TestPrintedRulesInOrdinaryHistories(t *testing.T) {
	const count = 2048
	checks := history.RulesAsPrinted()[:2] // what is forgotten is wrong in other ways as well
	total := playAll(1, count, count, func(seed uint64) Params {
		p := Ordinary(seed)
		p.History = omit.Of(checks...)
		return p
	})
	t.Logf("%d of %d histories are bad under the printed checks", len(total.bad), total.histories)
	require.Greater(t, len(total.bad), 20)
}
