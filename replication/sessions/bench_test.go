package sessions

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// echo is a machine that costs nothing.
type echo struct{ counter }

func (*echo) Apply(_ replication.OpNumber, operations [][]byte) [][]byte { return operations }

const benchmarkSessions = 64

// benchmarkBatches are batches of fresh requests of some sessions in turn, with answers acknowledged.
func benchmarkBatches(size int) (operations [][]byte, next func(round uint64) [][]byte) {
	operations = make([][]byte, size)
	return operations, func(round uint64) [][]byte {
		for i := range operations {
			number := round*uint64(size/benchmarkSessions) + uint64(i/benchmarkSessions) + 1
			r := table.Request{Session: uint64(1 + i%benchmarkSessions), Number: number, Acknowledged: max(1, number-min(number, 4)), Operation: make([]byte, 64)}
			operations[i] = r.Append(operations[i][:0])
		}
		return operations
	}
}

func registered(b testing.TB) *Machine {
	machine := newMachine(b, &echo{}, Options{})
	for i := range benchmarkSessions {
		machine.Apply(replication.OpNumber(i+1), [][]byte{table.Register(0)})
	}
	return machine
}

func TestApplyAllocatesItsResultsOnly(t *testing.T) {
	machine, size, round := registered(t), 4*benchmarkSessions, uint64(0)
	_, next := benchmarkBatches(size)
	op := replication.OpNumber(benchmarkSessions + 1)
	batches := make([][][]byte, 40)
	for i := range batches {
		for _, operation := range next(uint64(i)) {
			batches[i] = append(batches[i], append([]byte(nil), operation...))
		}
	}
	allocations := testing.AllocsPerRun(len(batches)-1, func() {
		machine.Apply(op, batches[round])
		op, round = op+replication.OpNumber(size), round+1
	})
	require.Equal(t, uint64(len(batches)*size), machine.Counters()["requests_executed"])
	require.LessOrEqual(t, allocations, float64(size+size/16), "one for each result, a few for each batch, and the windows as they grow")
}

func BenchmarkApply(b *testing.B) {
	machine, size := registered(b), 4*benchmarkSessions
	_, next := benchmarkBatches(size)
	op := replication.OpNumber(benchmarkSessions + 1)
	b.ReportAllocs()
	for round := uint64(0); b.Loop(); round++ {
		machine.Apply(op, next(round))
		op += replication.OpNumber(size)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/request")
	if got := machine.Counters()["requests_executed"]; got != uint64(b.N*size) {
		b.Fatalf("%d of %d requests executed", got, b.N*size)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	machine := newMachine(b, &echo{}, Options{})
	for i := range SessionsDefault {
		machine.Apply(replication.OpNumber(2*i+1), [][]byte{table.Register(0), requestOf(uint64(2*i+1), 1, 1, 5)})
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = machine.table.Freeze()
	}
}

func BenchmarkDo(b *testing.B) {
	machine, op := newMachine(b, &echo{}, Options{}), replication.OpNumber(0)
	c, err := NewClient(func(_ context.Context, operation []byte) replication.Result {
		op++
		return replication.Result{Op: op, Value: machine.Apply(op, [][]byte{operation})[0]}
	}, ClientOptions{})
	require.NoError(b, err)
	operation := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(b.Context(), operation); err != nil {
			b.Fatal(err)
		}
	}
}
