package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// Damage is found at each start until the log is replaced, whatever is installed meanwhile.
func TestDamageIsFoundUntilTheLogIsReplaced(t *testing.T) {
	d := disk{}
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 4}})
	d.write(batch{entries: entriesOf(1, 2, 3, 4, 5, 6), truncateBelow: 3})
	require.NoError(t, d.sync())
	d.entryFrom = 6
	require.Equal(t, entriesOf(3, 4, 5), d.restored().Entries)
	require.True(t, d.restored().Damaged)
	d.checkpointAt = 4
	require.Empty(t, d.restored().Entries, "there is no state below them")
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 2}})
	require.Zero(t, d.restored().Checkpoint, "the damaged one is newer")
	d.install(checkpoint{meta: core.CheckpointMeta{Op: 5}})
	require.EqualValues(t, 5, d.restored().Checkpoint.Op)
	require.True(t, d.restored().Damaged)
	d.write(batch{replace: true, base: 5, entries: entriesOf(6, 7)})
	require.NoError(t, d.sync())
	require.False(t, d.restored().Damaged)
	require.Equal(t, entriesOf(6, 7), d.restored().Entries)
}
