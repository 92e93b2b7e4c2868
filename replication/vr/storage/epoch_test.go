package storage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// membershipOf is that of an epoch; empty before the first reconfiguration, as in a replica that knows of none.
func membershipOf(epoch int) core.EncodedMembership {
	if epoch == 0 {
		return ""
	}
	membership := core.Membership{
		Epoch: core.EpochNumber(epoch), Op: core.OpNumber(10 * epoch), View: 2, Hash: 3, LargestID: core.ReplicaID(3 + epoch), Previous: []core.ReplicaID{1, 2, 3},
		Members: []core.Member{{ID: 1}, {ID: 2}, {ID: core.ReplicaID(3 + epoch), Address: fmt.Sprint("host:", epoch)}},
	}
	return membership.Encode()
}

// reconfigured makes a RECONFIGURATION of the last entry; previous is the hash below the first.
func reconfigured(previous core.Hash, entries []core.Entry) []core.Entry {
	n := len(entries)
	if n == 0 {
		return nil
	}
	if n > 1 {
		previous = entries[n-2].Hash
	}
	last := entries[n-1]
	last.Kind, last.Hash = core.EntryReconfiguration, core.Chained(previous, last.Op, last.View|reconfigurationBit, last.Payload).Hash
	return append(entries[:n-1:n-1], last)
}

// TestEpochs: a RECONFIGURATION is one when it is read again, and a membership, once there is one, is in every hard state
// that is found, the newest that was written, over batches that say nothing of it, a cut and a new log.
func TestEpochs(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
		entries := reconfigured(0, chain(0, 1, 6, 1, 100))
		require.True(t, entries[5].Follows(entries[4].Hash))
		state := core.HardState{View: 1, LastNormalView: 1, Commit: 6}
		require.NoError(t, storage.Write(vr.Batch{HardState: &state, Entries: entries, Sync: true}))
		storage = reopen(storage)
		require.Equal(t, vr.Loaded{HardState: state, Entries: entries}, normal(loaded(t, storage)))
		for epoch := 1; epoch < 4; epoch++ {
			state.Membership = membershipOf(epoch)
			require.NoError(t, storage.Write(vr.Batch{HardState: &state}))
			more := chain(entries[len(entries)-1].Hash, entries[len(entries)-1].Op+1, entries[len(entries)-1].Op+5, core.ViewNumber(epoch), 100)
			more = reconfigured(entries[len(entries)-1].Hash, more)
			require.NoError(t, storage.Write(vr.Batch{Entries: more[:2], Sync: true}))
			require.NoError(t, storage.Write(vr.Batch{Truncate: true, TruncateAbove: more[0].Op, Entries: more[1:], Sync: true}))
			entries = append(entries, more...)
			storage = reopen(storage)
			require.Equal(t, vr.Loaded{HardState: state, Entries: entries}, normal(loaded(t, storage)))
		}
		meta := core.CheckpointMeta{Op: 900, View: 9, Hash: 77, Membership: membershipOf(7)}
		writeCheckpoint(t, storage, meta, []byte("of another epoch"))
		state.Membership, state.Commit = membershipOf(7), 900
		require.NoError(t, storage.Write(vr.Batch{HardState: &state, Truncate: true, TruncateAbove: 10, TruncateBelow: 901, Sync: true}))
		require.Equal(t, vr.Loaded{HardState: state, Entries: []core.Entry{}, Checkpoint: meta}, normal(loaded(t, reopen(storage))))
	})
}

// TestAMembershipIsAPromise: it is on the disk when Write returns, in every durability, and a kill does not take it away.
func TestAMembershipIsAPromise(t *testing.T) {
	each(t, func(t *testing.T, log Log, durability Durability) {
		directory := created(t, log)
		storage := openedIn(t, directory, durability)
		loaded(t, storage)
		for epoch := range 4 {
			state := core.HardState{View: 1, LastNormalView: 1, Membership: membershipOf(epoch)}
			require.NoError(t, storage.Write(vr.Batch{HardState: &state}))
			require.Equal(t, state, killed(t, directory, durability).HardState)
		}
	})
}

// TestADamagedMembershipIsDamage that keeps the replica out, and so is one that is written to a log of before there were any.
func TestADamagedMembershipIsDamage(t *testing.T) {
	eachLog(t, func(t *testing.T, log Log) {
		for name, value := range map[string][]byte{
			"torn": encodeMembership(membershipOf(1))[:20], "short": {1, 2}, "no membership": appendSum([]byte("nothing")), "empty": appendSum(nil),
		} {
			directory := created(t, log)
			disk := opened(t, directory)
			require.NoError(t, disk.Write(vr.Batch{HardState: &core.HardState{View: 1, Membership: membershipOf(1)}, Sync: true}))
			require.NoError(t, disk.Close())
			rewrite(t, directory, bucketState, keyMembership, value)
			_, err := Open(directory, Options{})
			require.ErrorIs(t, err, ErrDamaged, name)
			require.ErrorContains(t, err, keyMembership)
		}
	})
	directory := created(t, LogBolt)
	rewrite(t, directory, bucketState, keyFormat, encodeFormat(boltLogVersionMarked))
	opened(t, image(t, directory))
	rewrite(t, directory, bucketState, keyMembership, encodeMembership(membershipOf(1)))
	_, err := Open(directory, Options{})
	require.ErrorIs(t, err, ErrDamaged)
}
