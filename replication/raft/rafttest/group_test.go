package rafttest_test

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft/rafttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger sums what it is told, and answers with the sum.
type ledger struct {
	mu  sync.Mutex
	sum uint64
}

func (l *ledger) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		l.sum += uint64(len(operation))
		results[i] = binary.BigEndian.AppendUint64(nil, l.sum)
	}
	return results
}

func (l *ledger) read() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

type ledgerSnapshot uint64

func (l *ledger) Snapshot() (replication.Snapshot, error) { return ledgerSnapshot(l.read()), nil }

func (s ledgerSnapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(s)))
	return int64(n), err
}

func (ledgerSnapshot) Release() {}

func (l *ledger) Restore(r io.Reader) error {
	var sum [8]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum = binary.BigEndian.Uint64(sum[:])
	return nil
}

func start(t *testing.T, n int) (*rafttest.Group, context.Context) {
	t.Helper()
	g, err := rafttest.Start(n, func() replication.StateMachine { return &ledger{} })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return g, ctx
}

// propose has one operation done that is acknowledged. What it adds may be there twice where an outcome was unknown: a
// leader that loses its place on a busy machine leaves such. So it only rises.
func propose(ctx context.Context, t *testing.T, g *rafttest.Group) uint64 {
	t.Helper()
	for {
		result := g.Propose(ctx, []byte{1})
		if result.Err == nil {
			return binary.BigEndian.Uint64(result.Value)
		}
		require.ErrorIs(t, result.Err, replication.ErrOutcomeUnknown)
		require.NoError(t, ctx.Err())
	}
}

// await waits until a replica has applied so much.
func await(t *testing.T, g *rafttest.Group, id replication.ReplicaID, sum uint64) {
	t.Helper()
	require.Eventually(t, func() bool { return g.StateMachine(id).(*ledger).read() >= sum }, 30*time.Second, time.Millisecond, "replica %d", id)
}

// TestEveryReplicaDiesOnce: what was acknowledged is there under every primary, and in the end on every replica.
func TestEveryReplicaDiesOnce(t *testing.T) {
	g, ctx := start(t, 3)
	sum := uint64(0)
	for range 3 {
		primary, _, err := g.Primary(ctx)
		require.NoError(t, err)
		next := propose(ctx, t, g)
		require.Greater(t, next, sum)
		require.NoError(t, g.Replica(primary).Checkpoint(ctx))
		require.NoError(t, g.Kill(primary))
		require.ErrorIs(t, g.Kill(primary), rafttest.ErrNotRunning)
		require.Nil(t, g.Replica(primary))
		sum = propose(ctx, t, g)
		require.Greater(t, sum, next, "two of three go on")
		require.NoError(t, g.Restart(primary))
		require.ErrorIs(t, g.Restart(primary), rafttest.ErrRunning)
	}
	for id := replication.ReplicaID(1); id <= 3; id++ {
		await(t, g, id, sum)
	}
}

// TestAPrimaryThatIsCutOff acknowledges nothing, and another one takes its place.
func TestAPrimaryThatIsCutOff(t *testing.T) {
	g, ctx := start(t, 3)
	sum := propose(ctx, t, g)
	old, view, err := g.Primary(ctx)
	require.NoError(t, err)
	deaf := g.Replica(old)
	g.Network.Isolate(old)
	require.Error(t, replication.Propose(ctx, deaf, view, []byte{1}).Err)
	require.Eventually(t, func() bool {
		primary, _, err := g.Primary(ctx)
		return err == nil && primary != old
	}, 30*time.Second, time.Millisecond)
	sum2 := propose(ctx, t, g)
	require.Greater(t, sum2, sum)
	g.Network.Heal()
	await(t, g, old, sum2)
}

func TestAGroupThatIsClosed(t *testing.T) {
	g, ctx := start(t, 1)
	require.EqualValues(t, 1, propose(ctx, t, g))
	require.NoError(t, g.Close())
	require.ErrorIs(t, g.Propose(ctx, []byte{1}).Err, rafttest.ErrClosed)
	_, _, err := g.Primary(ctx)
	require.ErrorIs(t, err, rafttest.ErrClosed)
	require.ErrorIs(t, g.Restart(1), rafttest.ErrClosed)
}

func TestOptionsAreRefused(t *testing.T) {
	_, err := rafttest.Start(0, func() replication.StateMachine { return &ledger{} })
	require.Error(t, err)
}
