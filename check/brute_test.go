package check

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// randomHistory draws a small history whose reads see versions that exist, each version with even chance or
// mostly the right one.
func randomHistory(random *rand.Rand) []Transaction {
	history := make([]Transaction, 2+random.IntN(4))
	objects := 1 + random.IntN(3)
	stamps := random.Perm(len(history))
	for i := range history {
		t := &history[i]
		t.TS = txn.Timestamp(10 * (stamps[i] + 1))
		t.Start = uint64(1 + random.IntN(60))
		t.End = t.Start + uint64(random.IntN(60))
		if random.IntN(2) == 0 {
			t.Start, t.End = max(uint64(t.TS)-uint64(random.IntN(5)), 1), uint64(t.TS)+uint64(random.IntN(5))
		}
		if random.IntN(6) == 0 {
			t.End = 0
		}
		t.Snapshot = random.IntN(4) == 0
		for object := range objects {
			if !t.Snapshot && random.IntN(2) == 0 {
				t.Writes = append(t.Writes, Write{OID: fmt.Sprint(object), Delete: random.IntN(4) == 0})
			}
		}
	}
	careful := random.IntN(3) > 0
	for i := range history {
		for object := range objects {
			if random.IntN(2) == 0 {
				history[i].Reads = append(history[i].Reads, randomRead(random, history, i, fmt.Sprint(object), careful))
			}
		}
	}
	return history
}

func randomRead(random *rand.Rand, history []Transaction, reader int, oid string, careful bool) Read {
	choices := []Read{{OID: oid}}
	right := choices[0]
	for i := range history {
		if i == reader {
			continue
		}
		for _, write := range history[i].Writes {
			if write.OID == oid {
				read := Read{OID: oid, Version: history[i].TS, Present: !write.Delete}
				choices = append(choices, read)
				if read.Version < history[reader].TS && read.Version > right.Version {
					right = read
				}
			}
		}
	}
	if careful && random.IntN(8) > 0 {
		return right
	}
	return choices[random.IntN(len(choices))]
}

// valid tells, as simply as can be, whether the transactions in this order keep real time, write every object
// in the order of timestamps and read what the ones before them wrote.
func valid(order []Transaction) bool {
	state := map[string]Read{}
	for i := range order {
		for j := range i {
			if order[i].End != 0 && order[i].End < order[j].Start {
				return false
			}
		}
		for _, read := range order[i].Reads {
			if now := state[read.OID]; now.Version != read.Version || now.Present != read.Present {
				return false
			}
		}
		for _, write := range order[i].Writes {
			if state[write.OID].Version > order[i].TS {
				return false
			}
			state[write.OID] = Read{Version: order[i].TS, Present: !write.Delete}
		}
	}
	return true
}

// anyOrder tries all permutations of the rest behind the transactions that are chosen.
func anyOrder(history []Transaction, chosen int) bool {
	if !valid(history[:chosen]) {
		return false
	}
	if chosen == len(history) {
		return true
	}
	for i := chosen; i < len(history); i++ {
		history[chosen], history[i] = history[i], history[chosen]
		found := anyOrder(history, chosen+1)
		history[chosen], history[i] = history[i], history[chosen]
		if found {
			return true
		}
	}
	return false
}

// TestAgainstBruteForce compares both checkers with the obvious slow ones on small histories. A read of
// absence with version 0 over deletes is ambiguous, so the histories name the delete.
func TestAgainstBruteForce(t *testing.T) {
	const histories = 60_000
	random := rand.New(rand.NewPCG(1, 2))
	strict, graph := 0, 0
	for i := range histories {
		history := randomHistory(random)
		if misses(history) {
			continue
		}
		sorted := make([]Transaction, 0, len(history))
		for _, j := range inOrder(history) {
			sorted = append(sorted, history[j])
		}
		wantStrict, wantGraph := valid(sorted), anyOrder(append([]Transaction(nil), history...), 0)
		require.Equal(t, wantStrict, Strict(history) == nil, "history %d: %+v: %v", i, history, Strict(history))
		require.Equal(t, wantGraph, Graph(history) == nil, "history %d: %+v: %v", i, history, Graph(history))
		require.False(t, wantStrict && !wantGraph)
		if wantStrict {
			strict++
		}
		if wantGraph {
			graph++
		}
	}
	t.Logf("%d histories: %d strictly serializable in timestamp order, %d in some order", histories, strict, graph)
	require.Greater(t, strict, histories/20)
	require.Greater(t, graph, strict+histories/100)
	require.Less(t, graph, histories*9/10)
}

// misses reports whether a history has a read of absence with version 0 of an object that somebody deletes.
func misses(history []Transaction) bool {
	deleted := map[string]bool{}
	for i := range history {
		for _, write := range history[i].Writes {
			deleted[write.OID] = deleted[write.OID] || write.Delete
		}
	}
	for i := range history {
		for _, read := range history[i].Reads {
			if !read.Present && read.Version == 0 && deleted[read.OID] {
				return true
			}
		}
	}
	return false
}
