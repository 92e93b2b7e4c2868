package storage

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

var allDurabilities = []Durability{DurabilitySync, DurabilityAsync, DurabilityMemory}

func openedIn(t *testing.T, directory string, durability Durability) vr.Storage {
	t.Helper()
	storage, err := Open(directory, Options{Durability: durability, segments: small()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, storage.Close()) })
	return storage
}

// killed opens what kill -9 leaves at this moment of a directory, with the disk's word on whether it is whole.
func killed(t *testing.T, directory string, durability Durability) vr.Loaded {
	t.Helper()
	return loaded(t, openedIn(t, image(t, directory), durability))
}

// TestTheMark follows a log through its lives, looking after each step at what a kill there leaves.
func TestTheMark(t *testing.T) { eachLog(t, testTheMark) }

func testTheMark(t *testing.T, log Log) {
	for _, durability := range allDurabilities {
		t.Run(durability.String(), func(t *testing.T) {
			directory := created(t, log)
			check := func(when string, fresh, clean bool) {
				t.Helper()
				got := killed(t, directory, durability)
				require.Equal(t, fresh, got.Fresh, when)
				require.Equal(t, clean, got.Clean, when)
			}
			sync := durability == DurabilitySync
			check("created", true, true)
			storage := openedIn(t, directory, durability)
			first := loaded(t, storage)
			require.True(t, first.Fresh && first.Clean)
			check("loaded, nothing written", true, true)
			require.NoError(t, storage.MarkClean())
			check("nothing written, clean end", true, true)

			state := core.HardState{View: 1, LastNormalView: 1}
			require.NoError(t, storage.Write(vr.Batch{HardState: &state}))
			check("a promise", false, sync)
			entries := chain(0, 1, 9, 1, 100)
			require.NoError(t, storage.Write(vr.Batch{Entries: entries[:5]}))
			check("entries", false, sync)
			require.NoError(t, storage.MarkClean())
			check("marked", false, true)
			require.Len(t, killed(t, directory, durability).Entries, 5)

			require.NoError(t, storage.Write(vr.Batch{Entries: entries[5:]}))
			check("written after the mark", false, sync)
			require.NoError(t, storage.MarkClean())
			require.NoError(t, storage.Close())
			check("clean end", false, true)

			storage = openedIn(t, directory, durability)
			got := loaded(t, storage)
			require.True(t, got.Clean)
			require.Equal(t, entries, got.Entries)
			check("loaded: the mark is gone", false, sync)
			require.NoError(t, storage.Close())
			check("an end without the mark", false, sync)
		})
	}
}

// TestPromisesAreDurableInEveryDurability: view-number and last-normal view are on the disk when Write returns.
func TestPromisesAreDurableInEveryDurability(t *testing.T) {
	eachLog(t, testPromisesAreDurableInEveryDurability)
}

func testPromisesAreDurableInEveryDurability(t *testing.T, log Log) {
	for _, durability := range allDurabilities {
		t.Run(durability.String(), func(t *testing.T) {
			directory := created(t, log)
			storage := openedIn(t, directory, durability)
			loaded(t, storage)
			var hash core.Hash
			for view := core.ViewNumber(1); view < 9; view++ {
				entries := chain(hash, core.OpNumber(view), core.OpNumber(view), view, 100)
				hash = entries[0].Hash
				require.NoError(t, storage.Write(vr.Batch{Entries: entries, HardState: &core.HardState{View: view, LastNormalView: view - 1, Commit: core.OpNumber(view)}}))
				require.Equal(t, view, killed(t, directory, durability).HardState.View)
				require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: view, LastNormalView: view, Commit: core.OpNumber(view)}}))
				got := killed(t, directory, durability)
				require.Equal(t, view, got.HardState.LastNormalView)
				if durability != DurabilityMemory {
					require.Len(t, got.Entries, int(view), "what was written before a promise is there with it")
				}
			}
		})
	}
}

// TestMemoryIsWrittenOutByACleanEnd: everything, a checkpoint and a log that begins above an older one included.
// After a kill there is what the last clean end left, with the newest promise.
func TestMemoryIsWrittenOutByACleanEnd(t *testing.T) { eachLog(t, testMemoryIsWrittenOutByACleanEnd) }

func testMemoryIsWrittenOutByACleanEnd(t *testing.T, log Log) {
	directory := created(t, log)
	storage := openedIn(t, directory, DurabilityMemory)
	require.ErrorIs(t, storage.Write(vr.Batch{Sync: true}), errNotLoaded)
	loaded(t, storage)
	entries := chain(0, 1, 60, 1, 700)
	require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 1, LastNormalView: 1, Commit: 40}, Entries: entries[:50], Sync: true}))
	meta := core.CheckpointMeta{Op: 40, View: 1, Hash: entries[39].Hash}
	writeCheckpoint(t, storage, meta, randomBytes(3*chunkBytesMax))
	require.NoError(t, storage.Write(vr.Batch{TruncateBelow: 31}))
	lost := killed(t, directory, DurabilityMemory)
	require.Equal(t, vr.Loaded{HardState: core.HardState{View: 1, LastNormalView: 1}, Entries: []core.Entry{}}, normal(lost))
	require.NoError(t, storage.MarkClean())
	require.NoError(t, storage.Close())

	for _, durability := range allDurabilities {
		directory := image(t, directory)
		storage := openedIn(t, directory, durability)
		got := loaded(t, storage)
		require.Equal(t, vr.Loaded{
			HardState: core.HardState{View: 1, LastNormalView: 1, Commit: 40}, Checkpoint: meta, Entries: entries[30:50], Clean: true,
		}, got)
		_, state := readCheckpoint(t, storage)
		require.Equal(t, randomBytes(3*chunkBytesMax), state)
		require.NoError(t, storage.Write(vr.Batch{Entries: entries[50:], HardState: &core.HardState{View: 2, LastNormalView: 1, Commit: 55}, Sync: true}))
		later := core.CheckpointMeta{Op: 55, View: 1, Hash: entries[54].Hash}
		writeCheckpoint(t, storage, later, []byte("later"))
		got = killed(t, directory, durability)
		require.Equal(t, core.ViewNumber(2), got.HardState.View)
		if durability == DurabilityMemory {
			require.Equal(t, meta, got.Checkpoint)
			require.Equal(t, entries[30:50], got.Entries)
			require.Equal(t, core.OpNumber(40), got.HardState.Commit, "the commit-number is of the log that is there")
		} else {
			require.Equal(t, later, got.Checkpoint)
			require.Equal(t, entries[30:], got.Entries)
		}
	}
}

// TestChangeOfDurability: each to each, after a clean end and after a kill. A log that may lack something is never
// taken for a whole one.
func TestChangeOfDurability(t *testing.T) { eachLog(t, testChangeOfDurability) }

func testChangeOfDurability(t *testing.T, log Log) {
	refused := 0
	for _, from := range allDurabilities {
		for _, to := range allDurabilities {
			for _, clean := range []bool{true, false} {
				directory := created(t, log)
				storage := openedIn(t, directory, from)
				loaded(t, storage)
				require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 3}, Entries: chain(0, 1, 4, 1, 10), Sync: true}))
				if clean {
					require.NoError(t, storage.MarkClean())
				}
				require.NoError(t, storage.Close())
				before := image(t, directory)
				if to == DurabilitySync && from != DurabilitySync && !clean {
					_, err := Open(directory, Options{})
					var refusal *DurabilityError
					require.ErrorAs(t, err, &refusal)
					require.ErrorIs(t, err, ErrDurability)
					require.Equal(t, &DurabilityError{File: filepath.Join(directory, databaseName), Found: from, Want: to}, refusal)
					require.ErrorContains(t, err, "start the replica in "+from.String())
					requireSameFiles(t, before, directory)
					refused++
					continue
				}
				storage = openedIn(t, directory, to)
				got := loaded(t, storage)
				require.Equal(t, clean || from == DurabilitySync, got.Clean, "%v to %v", from, to)
				require.Equal(t, core.ViewNumber(3), got.HardState.View)
				if clean || from != DurabilityMemory {
					require.Len(t, got.Entries, 4)
				}
				require.Equal(t, to == DurabilitySync, killed(t, directory, to).Clean, "Load has written down the new one")
			}
		}
	}
	require.Equal(t, 2, refused)
	_, err := Open(created(t, log), Options{Durability: durabilities})
	require.ErrorContains(t, err, "durability 3")
}

func requireSameFiles(t *testing.T, want, got string) {
	t.Helper()
	require.Equal(t, readFiles(t, want), readFiles(t, got))
}

// TestAnOlderLogIsOpened: a log of version 1 has no mark; it was written in sync. Load makes version 2 of it.
func TestAnOlderLogIsOpened(t *testing.T) {
	entries := chain(0, 1, 9, 1, 100)
	for _, written := range []bool{false, true} {
		for _, durability := range allDurabilities {
			directory := created(t, LogBolt)
			if written {
				storage := opened(t, directory)
				require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 2}, Entries: entries, Sync: true}))
				require.NoError(t, storage.Close())
			}
			rewrite(t, directory, bucketState, keyMark, nil)
			rewrite(t, directory, bucketState, keyFormat, encodeFormat(1))
			storage := openedIn(t, directory, durability)
			got := loaded(t, storage)
			require.True(t, got.Clean)
			require.Equal(t, !written, got.Fresh)
			if written {
				require.Equal(t, entries, got.Entries)
			}
			require.NoError(t, storage.Close())
			database, err := bbolt.Open(filepath.Join(directory, databaseName), 0o600, boltOptions(Options{}, true))
			require.NoError(t, err)
			require.NoError(t, database.View(func(tx *bbolt.Tx) error {
				require.Equal(t, encodeFormat(3), tx.Bucket([]byte(bucketState)).Get([]byte(keyFormat)))
				require.NotNil(t, tx.Bucket([]byte(bucketState)).Get([]byte(keyMark)))
				return nil
			}))
			require.NoError(t, database.Close())
		}
	}
}

// TestMarksThatCannotBe are damage.
func TestMarksThatCannotBe(t *testing.T) { eachLog(t, testMarksThatCannotBe) }

func testMarksThatCannotBe(t *testing.T, log Log) {
	for name, test := range map[string]struct {
		key   string
		value []byte
	}{
		"fresh, with a log":  {keyMark, encodeMark(mark{})},
		"unknown durability": {keyMark, encodeMark(mark{durability: durabilities, life: lifeRunning})},
		"unknown life":       {keyMark, encodeMark(mark{life: lives})},
		"torn":               {keyMark, encodeMark(mark{life: lifeRunning})[:7]},
		"gone":               {keyMark, nil},
		"of version 1":       {keyFormat, encodeFormat(1)},
	} {
		t.Run(name, func(t *testing.T) {
			directory := created(t, log)
			storage := opened(t, directory)
			require.NoError(t, storage.Write(vr.Batch{Entries: chain(0, 1, 4, 1, 10), Sync: true}))
			require.NoError(t, storage.Close())
			rewrite(t, directory, bucketState, test.key, test.value)
			_, err := Open(directory, Options{})
			require.ErrorIs(t, err, ErrDamaged)
		})
	}
}
