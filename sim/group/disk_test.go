package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

func entriesOf(ops ...core.OpNumber) []core.Entry {
	entries := make([]core.Entry, 0, len(ops))
	for _, op := range ops {
		entries = append(entries, core.Entry{Op: op, View: 1, Hash: core.Hash(op * 10)})
	}
	return entries
}

func TestCrashLosesTheLastUnsyncedWrites(t *testing.T) {
	for survivors := range 4 {
		d := disk{}
		d.write(batch{entries: entriesOf(1, 2), states: true, hardState: core.HardState{View: 1}})
		require.NoError(t, d.sync())
		d.write(batch{entries: entriesOf(3)})
		d.write(batch{entries: entriesOf(4), states: true, hardState: core.HardState{View: 2}})
		d.write(batch{entries: entriesOf(5)})
		require.EqualValues(t, 2, d.durableTo(), "unsynced writes are not durable")
		require.NoError(t, d.crash(survivors))
		require.EqualValues(t, 2+survivors, d.durableTo())
		view := core.ViewNumber(1)
		if survivors >= 2 {
			view = 2 // a batch survives whole or not at all
		}
		require.Equal(t, view, d.hardState.View)
		require.Empty(t, d.unsynced)
	}
}

func TestBatchIsOneChangeInTheOrderOfReady(t *testing.T) {
	d := disk{}
	d.write(batch{entries: entriesOf(1, 2, 3, 4)})
	require.NoError(t, d.sync())
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 1}})
	d.write(batch{truncate: true, truncateAbove: 2, entries: []core.Entry{{Op: 3, View: 2, Hash: 99}}, truncateBelow: 2})
	require.NoError(t, d.sync())
	require.Nil(t, d.entry(1))
	require.EqualValues(t, 20, d.entry(2).Hash)
	require.EqualValues(t, 99, d.entry(3).Hash)
	require.Nil(t, d.entry(4))
	require.True(t, d.holds(1, 10), "it is below the checkpoint")
	require.True(t, d.holds(3, 99))
	require.False(t, d.holds(3, 30))
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 7}})
	require.EqualValues(t, 7, d.durableTo())
}

func TestDiskRefusesAGap(t *testing.T) {
	d := disk{}
	d.write(batch{entries: entriesOf(1, 2)})
	d.write(batch{entries: entriesOf(4)})
	require.ErrorContains(t, d.sync(), "entry 4 written where 3 belongs")
	d = disk{}
	d.write(batch{entries: entriesOf(1, 3)})
	require.ErrorContains(t, d.sync(), "entry 3 written after entry 1")
	d = disk{}
	d.write(batch{entries: entriesOf(2), truncateBelow: 2})
	require.ErrorContains(t, d.sync(), "nothing below")
	d = disk{image: image{checkpoint: checkpoint{meta: core.CheckpointMeta{Op: 4}}}}
	d.write(batch{entries: entriesOf(5)})
	require.ErrorContains(t, d.sync(), "entry 5 written where 1 belongs", "the log was not told to go on from there")
	d = disk{image: image{checkpoint: checkpoint{meta: core.CheckpointMeta{Op: 4}}}}
	d.write(batch{truncateBelow: 5})
	d.write(batch{entries: entriesOf(5)})
	require.NoError(t, d.sync())
}

func TestRestartSeesItsOwnCopyOfTheLog(t *testing.T) {
	d := disk{}
	d.write(batch{entries: entriesOf(1, 2, 3)})
	require.NoError(t, d.sync())
	restored := d.restored()
	restored.Entries[0].Hash = 1
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 1}})
	d.write(batch{truncateBelow: 2})
	require.NoError(t, d.sync())
	require.Len(t, restored.Entries, 3)
	require.EqualValues(t, 20, d.entry(2).Hash)
}

// In async a crash leaves one of the states that the disk was in; in memory it leaves the last clean end. Neither takes
// a promise of a view away, once it is synced.
func TestCrashInAsyncAndMemory(t *testing.T) {
	for survivors := range 3 {
		d := disk{durability: core.DurabilityAsync}
		d.write(batch{entries: entriesOf(1, 2), states: true, hardState: core.HardState{View: 1, LastNormalView: 1}})
		require.NoError(t, d.sync())
		d.write(batch{entries: entriesOf(3)})
		d.write(batch{truncate: true, truncateAbove: 1, entries: []core.Entry{{Op: 2, View: 2, Hash: 99}}})
		require.EqualValues(t, 99, d.entry(2).Hash, "what is written counts")
		require.NoError(t, d.crash(survivors))
		require.True(t, d.lossy())
		require.True(t, d.restored().Recover)
		require.EqualValues(t, []core.OpNumber{2, 3, 2}[survivors], d.durableTo())
		require.EqualValues(t, []core.Hash{20, 20, 99}[survivors], d.entry(2).Hash)
	}

	d := disk{durability: core.DurabilityMemory}
	require.False(t, d.restored().Recover, "nothing was ever written")
	d.write(batch{entries: entriesOf(1, 2), states: true, hardState: core.HardState{View: 1, LastNormalView: 1, Commit: 1}})
	require.NoError(t, d.sync())
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 1}})
	d.end()
	require.False(t, d.restored().Recover)
	d.clean = false
	d.write(batch{entries: entriesOf(3), states: true, hardState: core.HardState{View: 4, LastNormalView: 4, Commit: 3}, truncateBelow: 2})
	require.NoError(t, d.sync())
	require.Equal(t, core.HardState{View: 4, LastNormalView: 4, Commit: 1}, *d.promised())
	require.NoError(t, d.crash(0))
	require.Equal(t, core.HardState{View: 4, LastNormalView: 4, Commit: 1}, d.hardState)
	require.EqualValues(t, 2, d.durableTo())
	require.EqualValues(t, 1, d.checkpoint.meta.Op)
	require.NotNil(t, d.entry(1))
}
