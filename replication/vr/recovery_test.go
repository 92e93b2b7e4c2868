package vr_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// mortal is a storage whose replica may be killed: what ends in order otherwise does not.
type mortal struct {
	vr.Storage
	dead bool // read when its replica is closed
}

func (m *mortal) MarkClean() error {
	if m.dead {
		return nil
	}
	return m.Storage.MarkClean()
}

// lossyGroup is a group over directories in a durability in which a crash loses something.
type lossyGroup struct {
	*group
	mortals []*mortal
}

func newLossyGroup(t *testing.T, n int, durability vr.Durability) *lossyGroup {
	t.Helper()
	g := &lossyGroup{mortals: make([]*mortal, n)}
	directories := make([]string, n)
	for i := range directories {
		directories[i] = t.TempDir() // removed after the group is closed
		require.NoError(t, storage.Create(directories[i]))
	}
	g.group = newGroupOver(t, make([]vr.Storage, 0), nil)
	g.directories, g.storages = directories, make([]vr.Storage, n)
	g.machines, g.replicas = make([]*journal, n), make([]*vr.Replica, n)
	g.change = func(options *vr.Options) { options.Durability, options.CheckpointEvery = durability, 50 }
	for i := range n {
		g.open(i, durability)
	}
	return g
}

func (g *lossyGroup) open(i int, durability vr.Durability) {
	g.t.Helper()
	disk, err := storage.Open(g.directories[i], storage.Options{Durability: durability})
	require.NoError(g.t, err)
	g.mortals[i] = &mortal{Storage: disk}
	g.storages[i] = g.mortals[i]
	g.start(i)
}

// kill ends a replica as if its process were killed: nothing that waits reaches the disk as a clean end.
func (g *lossyGroup) kill(i int) {
	g.t.Helper()
	g.mortals[i].dead = true
	g.stop(i)
}

func (g *lossyGroup) protocol(i int) string { return g.replicas[i].Status().Protocol }

// All stop cleanly and start again: nobody has to recover, and nothing is missing.
func TestCleanStopNeedsNoRecovery(t *testing.T) {
	for _, durability := range []vr.Durability{vr.DurabilityAsync, vr.DurabilityMemory} {
		t.Run(durability.String(), func(t *testing.T) {
			g := newLossyGroup(t, 3, durability)
			g.mustCommit(1, 120)
			for i := range 3 {
				g.stop(i)
			}
			for i := range 3 {
				g.open(i, durability)
				require.NotEqual(t, "recovering", g.protocol(i))
			}
			g.mustCommit(121, 121)
			g.converged(121)
			for n := 1; n <= 121; n++ {
				require.NotZero(t, g.machines[0].has(fmt.Appendf(nil, "operation %d", n)))
			}
		})
	}
}

// More than f have lost something at once: the group stays stopped and says why.
func TestTooManyRecovering(t *testing.T) {
	g := newLossyGroup(t, 3, vr.DurabilityMemory)
	g.mustCommit(1, 10)
	g.kill(0)
	g.kill(1)
	g.open(0, vr.DurabilityMemory)
	g.open(1, vr.DurabilityMemory)
	g.eventually("the third stops leading", func() bool { return !g.replicas[2].Status().Leading })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for i := range 2 {
			require.Equal(t, "recovering", g.protocol(i))
			result := replication.Propose(t.Context(), g.replicas[i], g.replicas[i].Status().View, []byte("x"))
			require.True(t, replication.DidNotHappen(result.Err), result.Err)
		}
		_ = sleep(ctx, 20*time.Millisecond)
	}
	// A clean stop of one that recovers is no clean end: it still has to.
	g.stop(0)
	g.open(0, vr.DurabilityMemory)
	require.Equal(t, "recovering", g.protocol(0))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestStorageThatKeepsLess: a replica does not promise what its storage does not keep, and the mistake costs nothing.
func TestStorageThatKeepsLess(t *testing.T) {
	for _, wrong := range []struct{ promised, kept vr.Durability }{
		{vr.DurabilitySync, vr.DurabilityAsync}, {vr.DurabilitySync, vr.DurabilityMemory}, {vr.DurabilityAsync, vr.DurabilityMemory},
	} {
		g := newLossyGroup(t, 1, wrong.kept)
		g.mustCommit(1, 3)
		g.stop(0)
		kept, err := storage.Open(g.directories[0], storage.Options{Durability: wrong.kept})
		require.NoError(t, err)
		_, err = vr.Open(vr.Options{
			Self: 1, Members: []replication.ReplicaID{1}, Storage: kept, StateMachine: &journal{}, Durability: wrong.promised,
		})
		require.ErrorIs(t, err, vr.ErrOptions)
		require.ErrorContains(t, err, fmt.Sprintf("%v, the Storage keeps %v", wrong.promised, wrong.kept))
		require.NoError(t, kept.Close())
		g.open(0, wrong.kept)
		g.mustCommit(4, 4)
		require.NotZero(t, g.machines[0].has([]byte("operation 3")))
	}
}

func TestParseDurability(t *testing.T) {
	for _, durability := range []vr.Durability{vr.DurabilitySync, vr.DurabilityAsync, vr.DurabilityMemory} {
		read, err := vr.ParseDurability(durability.String())
		require.NoError(t, err)
		require.Equal(t, durability, read)
	}
	_, err := vr.ParseDurability("")
	require.ErrorIs(t, err, vr.ErrOptions)
	require.ErrorContains(t, err, "sync, async and memory")
	require.Equal(t, "durability 9", core.Durability(9).String())
}

// A power cut in async: what had not reached the disk is gone, though it was acknowledged, and comes back from the
// others.
func TestRecoveryAfterAPowerCut(t *testing.T) {
	memories := make([]*storage.Memory, 3)
	mortals := make([]*mortal, 3)
	storages := make([]vr.Storage, 3)
	for i := range storages {
		memories[i] = storage.NewMemory()
		mortals[i] = &mortal{Storage: memories[i]}
		storages[i] = mortals[i]
	}
	g := newGroupOver(t, storages, func(options *vr.Options) { options.Durability = vr.DurabilityAsync })
	g.mustCommit(1, 50)
	lost := 0
	for i := range 3 {
		had := int(g.replicas[i].Status().Op)
		mortals[i].dead = true
		g.stop(i)
		memories[i].PowerCut()
		loaded, err := memories[i].Load()
		require.NoError(t, err)
		require.False(t, loaded.Clean)
		lost += had - len(loaded.Entries)
		mortals[i].dead = false
		g.start(i)
		g.eventually("it has recovered", func() bool { return g.replicas[i].Status().Protocol == "normal" })
		g.converged(50)
		g.mustCommit(51+10*i, 60+10*i)
	}
	g.converged(80)
	require.Positive(t, lost)
}
