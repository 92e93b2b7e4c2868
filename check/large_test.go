package check

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// serialHistory executes transactions one after the other, with overlapping lives.
func serialHistory(size, objects int) []Transaction {
	random := rand.New(rand.NewPCG(3, 4))
	oids := make([]string, objects)
	for i := range oids {
		oids[i] = fmt.Sprintf("acct/%06d", i)
	}
	state := make([]Read, objects)
	history := make([]Transaction, size)
	for i := range history {
		t := &history[i]
		t.TS = txn.Timestamp(10 * (i + 1))
		t.Start, t.End = max(uint64(t.TS), 50)-uint64(random.IntN(50)), uint64(t.TS)+uint64(random.IntN(50))
		t.Snapshot = random.IntN(4) == 0
		first := random.IntN(objects - 1)
		for object := first; object < first+2; object++ {
			read := state[object]
			read.OID = oids[object]
			t.Reads = append(t.Reads, read)
			if !t.Snapshot {
				write := Write{OID: oids[object], Delete: random.IntN(10) == 0, Value: random.Uint64()}
				t.Writes = append(t.Writes, write)
				state[object] = Read{Version: t.TS, Present: !write.Delete, Value: write.Value}
			}
		}
	}
	return history
}

func TestLargeHistory(t *testing.T) {
	history := serialHistory(100_000, 500)
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(history), func(i, j int) { history[i], history[j] = history[j], history[i] })
	require.NoError(t, Strict(history))
	require.NoError(t, Graph(history))

	// One stale read among a hundred thousand transactions is found by both.
	for i := range history {
		if read := &history[i].Reads[0]; read.Present && read.Version > 10_000 {
			read.Version = 10
			break
		}
	}
	require.Error(t, Strict(history))
	require.Error(t, Graph(history))
}

func BenchmarkStrict(b *testing.B) {
	history := serialHistory(1_000_000, 10_000)
	for b.Loop() {
		if err := Strict(history); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGraph(b *testing.B) {
	history := serialHistory(1_000_000, 10_000)
	for b.Loop() {
		if err := Graph(history); err != nil {
			b.Fatal(err)
		}
	}
}
