package vrtest_test

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
	"github.com/viewline/viewline/replication/vr/vrtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger counts what it was given, and shows it to other goroutines.
type ledger struct {
	mu  sync.Mutex
	sum uint64
}

func (l *ledger) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		l.sum += uint64(operation[0])
		results[i] = binary.BigEndian.AppendUint64(nil, l.sum)
	}
	return results
}

func (l *ledger) Snapshot() (replication.Snapshot, error) { return written(l.read()), nil }

func (l *ledger) Restore(r io.Reader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return binary.Read(r, binary.BigEndian, &l.sum)
}

func (l *ledger) read() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

type written uint64

func (s written) WriteTo(w io.Writer) (int64, error) {
	return 8, binary.Write(w, binary.BigEndian, uint64(s))
}

func (written) Release() {}

func start(t *testing.T, n int) (*vrtest.Group, context.Context) {
	t.Helper()
	g, err := vrtest.Start(n, func() replication.StateMachine { return &ledger{} })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return g, ctx
}

func propose(ctx context.Context, t *testing.T, g *vrtest.Group) uint64 {
	t.Helper()
	result := g.Propose(ctx, []byte{1})
	require.NoError(t, result.Err)
	return binary.BigEndian.Uint64(result.Value)
}

// await waits until a replica has applied so much.
func await(t *testing.T, g *vrtest.Group, id replication.ReplicaID, sum uint64) {
	t.Helper()
	require.Eventually(t, func() bool { return g.StateMachine(id).(*ledger).read() == sum }, 30*time.Second, time.Millisecond, "replica %d", id)
}

// TestEveryReplicaDiesOnce: what was acknowledged is there under every primary, and in the end on every replica.
func TestEveryReplicaDiesOnce(t *testing.T) {
	g, ctx := start(t, 3)
	sum := uint64(0)
	for range 3 {
		primary, view, err := g.Primary(ctx)
		require.NoError(t, err)
		sum++
		require.Equal(t, sum, propose(ctx, t, g))
		require.NoError(t, g.Replica(primary).Checkpoint(ctx))
		require.NoError(t, g.Kill(primary))
		require.ErrorIs(t, g.Kill(primary), vrtest.ErrNotRunning)
		require.Nil(t, g.Replica(primary))
		sum++
		require.Equal(t, sum, propose(ctx, t, g), "two of three go on")
		_, later, err := g.Primary(ctx)
		require.NoError(t, err)
		require.Greater(t, later, view)
		require.NoError(t, g.Restart(primary))
		require.ErrorIs(t, g.Restart(primary), vrtest.ErrRunning)
	}
	for id := replication.ReplicaID(1); id <= 3; id++ {
		await(t, g, id, sum)
	}
}

// TestAPrimaryThatIsCutOff acknowledges nothing, and another one takes its place.
func TestAPrimaryThatIsCutOff(t *testing.T) {
	g, ctx := start(t, 3)
	require.EqualValues(t, 1, propose(ctx, t, g))
	old, view, err := g.Primary(ctx)
	require.NoError(t, err)
	deaf := g.Replica(old)
	g.Network.Isolate(old)
	lost := replication.Propose(ctx, deaf, view, []byte{1})
	require.Error(t, lost.Err)
	require.Eventually(t, func() bool {
		primary, _, err := g.Primary(ctx)
		return err == nil && primary != old
	}, 30*time.Second, time.Millisecond)
	require.EqualValues(t, 2, propose(ctx, t, g), "what the old one had is gone with its branch")
	g.Network.Heal()
	await(t, g, old, 2)
}

// TestACutIsOneWay: a backup that can hear and not speak still applies what the others commit.
func TestACutIsOneWay(t *testing.T) {
	g, ctx := start(t, 3)
	require.EqualValues(t, 1, propose(ctx, t, g))
	primary, _, err := g.Primary(ctx)
	require.NoError(t, err)
	mute := primary%3 + 1
	await(t, g, mute, 1) // it has joined the view: else it would have to ask
	for id := replication.ReplicaID(1); id <= 3; id++ {
		g.Network.Cut(mute, id)
	}
	require.EqualValues(t, 2, propose(ctx, t, g))
	await(t, g, mute, 2)
}

func TestAGroupThatIsClosed(t *testing.T) {
	g, ctx := start(t, 1)
	require.EqualValues(t, 1, propose(ctx, t, g))
	require.NoError(t, g.Close())
	require.ErrorIs(t, g.Propose(ctx, []byte{1}).Err, vrtest.ErrClosed)
	_, _, err := g.Primary(ctx)
	require.ErrorIs(t, err, vrtest.ErrClosed)
	require.ErrorIs(t, g.Restart(1), vrtest.ErrClosed)
}

// TestWithoutAQuorum: who waits is told so when the context ends, and the operation certainly did not happen.
func TestWithoutAQuorum(t *testing.T) {
	g, ctx := start(t, 3)
	require.NoError(t, g.Kill(1))
	require.NoError(t, g.Kill(2))
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	result := g.Propose(short, []byte{1})
	require.ErrorIs(t, result.Err, context.DeadlineExceeded)
}

func TestOptionsAreRefused(t *testing.T) {
	_, err := vrtest.Start(0, func() replication.StateMachine { return &ledger{} })
	require.Error(t, err)
}

// TestStaleReads at every replica, and none of one that does not run.
func TestStaleReads(t *testing.T) {
	g, ctx := start(t, 3)
	require.EqualValues(t, 1, propose(ctx, t, g))
	for id := replication.ReplicaID(1); id <= 3; id++ {
		machine, _, err := g.ReadStale(ctx, id, 0)
		require.NoError(t, err)
		require.EqualValues(t, 1, machine.(*ledger).read())
	}
	require.NoError(t, g.Kill(2))
	_, _, err := g.ReadStale(ctx, 2, time.Hour)
	require.ErrorIs(t, err, vrtest.ErrNotRunning)
}
