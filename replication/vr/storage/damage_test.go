package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// spoiledDirectory has a log that begins above operation 20 and ends at 50, and a checkpoint at 40; one of the two is
// damaged, or both.
func spoiledDirectory(t *testing.T, log Log, durability Durability, entry, checkpoint bool) (string, []core.Entry) {
	t.Helper()
	directory := created(t, log)
	disk := openedIn(t, directory, durability)
	loaded(t, disk)
	entries := chain(0, 1, 50, 1, 3000)
	state := core.HardState{View: 3, LastNormalView: 2, Commit: 45}
	if log == LogBolt {
		require.NoError(t, disk.Write(vr.Batch{Entries: entries, HardState: &state, Sync: true}))
	} else {
		require.NoError(t, disk.Write(vr.Batch{HardState: &state, Sync: true}))
		writeInParts(t, disk, entries)
	}
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 40, View: 1, Hash: entries[39].Hash}, []byte("forty"))
	require.NoError(t, disk.Write(vr.Batch{TruncateBelow: 21, Sync: true}))
	require.NoError(t, disk.MarkClean())
	require.NoError(t, disk.Close())
	if value := appendEntry(nil, &entries[44]); entry && log == LogWAL {
		spoilSegment(t, directory, value)
	} else if entry {
		value[60] ^= 1
		rewrite(t, directory, bucketLog, string(runKey(45)), value)
	}
	if checkpoint {
		path := filepath.Join(directory, checkpointName(40))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[50] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	return directory, entries
}

// spoilSegment flips a bit of what is written somewhere in a segment.
func spoilSegment(t *testing.T, directory string, written []byte) {
	t.Helper()
	names, err := segmentNames(directory)
	require.NoError(t, err)
	spoiled := 0
	for _, name := range names {
		changeFile(t, filepath.Join(directory, name), func(data []byte) []byte {
			if at := bytes.Index(data, written); at >= 0 {
				data[at+60] ^= 1
				spoiled++
			}
			return data
		})
	}
	require.Equal(t, 1, spoiled)
}

// TestDamageStaysUntilItIsReplaced: a start that comes to nothing changes nothing, a checkpoint that was fetched is kept
// beside the damage, and what replaces the log ends it, all in every durability.
func TestDamageStaysUntilItIsReplaced(t *testing.T) { eachLog(t, testDamageStaysUntilItIsReplaced) }

func testDamageStaysUntilItIsReplaced(t *testing.T, log Log) {
	for _, durability := range allDurabilities {
		for name, which := range map[string][2]bool{"entry": {true, false}, "checkpoint": {false, true}, "both": {true, true}} {
			t.Run(durability.String()+" "+name, func(t *testing.T) {
				directory, entries := spoiledDirectory(t, log, durability, which[0], which[1])
				found := readFiles(t, directory)
				count := 1
				if which[0] && which[1] {
					count = 2
				}
				for range 2 {
					disk := openedIn(t, directory, durability)
					got := loaded(t, disk)
					require.Len(t, got.Damage, count)
					require.True(t, got.Clean, "the mark is still there")
					require.Equal(t, core.HardState{View: 3, LastNormalView: 2, Commit: 45}, got.HardState)
					if which[1] {
						require.Zero(t, got.Checkpoint)
						require.Empty(t, got.Entries)
					} else {
						// In segments more are kept below, and a batch is damaged as a whole: in memory all of it is one.
						if log == LogBolt || durability != DurabilityMemory {
							require.GreaterOrEqual(t, len(got.Entries), 24)
						}
						require.Equal(t, entries[44-len(got.Entries):44], append([]core.Entry{}, got.Entries...))
					}
					require.NoError(t, disk.Close())
					require.Equal(t, found, readFiles(t, directory))
				}
				disk := openedIn(t, directory, durability)
				loaded(t, disk)
				fetched := core.CheckpointMeta{Op: 42, View: 1, Hash: entries[41].Hash}
				if which[1] {
					fetched = core.CheckpointMeta{Op: 30, View: 1, Hash: entries[29].Hash} // that of a peer, which is older
				}
				writeCheckpoint(t, disk, fetched, []byte("fetched"))
				require.Len(t, loaded(t, openedIn(t, image(t, directory), durability)).Damage, count, "a crash now begins again")
				require.NoError(t, disk.Write(vr.Batch{
					Replace: &fetched, Entries: entries[fetched.Op:], HardState: &core.HardState{View: 4, LastNormalView: 4}, Sync: true,
				}))
				require.NoError(t, disk.MarkClean())
				require.NoError(t, disk.Close())
				disk = openedIn(t, directory, durability)
				got := loaded(t, disk)
				require.Empty(t, got.Damage)
				require.Equal(t, fetched, got.Checkpoint)
				require.Equal(t, entries[fetched.Op:], got.Entries)
				names, err := checkpointNames(directory)
				require.NoError(t, err)
				require.Equal(t, []string{checkpointName(fetched.Op)}, names)
				_, state := readCheckpoint(t, disk)
				require.Equal(t, "fetched", string(state))
			})
		}
	}
}

// TestReplaceNeedsItsCheckpoint: a log does not begin above what no checkpoint has.
func TestReplaceNeedsItsCheckpoint(t *testing.T) {
	for _, storage := range []vr.Storage{opened(t, created(t, LogBolt)), opened(t, created(t, LogWAL)), NewMemory()} {
		loaded(t, storage)
		require.ErrorIs(t, storage.Write(vr.Batch{Replace: &core.CheckpointMeta{Op: 3}, Sync: true}), ErrGap)
		require.NoError(t, storage.Write(vr.Batch{Replace: &core.CheckpointMeta{}, Sync: true}))
	}
}
