package storage

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// smallDisk is a file system of its own with room for so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	directory := t.TempDir()
	if err := syscall.Mount("viewline", directory, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small tmpfs cannot be mounted (%v; it needs root): only TestAFullFileLayer shows what a full disk does", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(directory, 0)) })
	return directory
}

// fill takes all the space that is left, and returns what gives it back.
func fill(t *testing.T, directory string) (free func()) {
	t.Helper()
	path := filepath.Join(directory, "ballast")
	file, err := os.Create(path)
	require.NoError(t, err)
	for _, size := range []int{64 << 10, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	require.NoError(t, file.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

// TestAFullDisk: on a real file system that fills up, a batch that does not fit is final, and nothing of it is kept.
// What was acknowledged is there after a restart with space, and while the disk is full a restart fails or has it.
func TestAFullDisk(t *testing.T) { eachLog(t, testAFullDisk) }

func testAFullDisk(t *testing.T, log Log) {
	for _, durability := range allDurabilities[:2] {
		for _, size := range []int{100, 5000, 70_000} { // of an entry: where in a transaction it fails differs
			directory := smallDisk(t, "3m")
			require.NoError(t, CreateLog(directory, log))
			storage, err := Open(directory, Options{Durability: durability})
			require.NoError(t, err)
			loaded(t, storage)
			var log []core.Entry
			var hash core.Hash
			write := func(more core.OpNumber) error {
				next := core.OpNumber(len(log) + 1)
				batch := chain(hash, next, next+more, 1, size)
				err := storage.Write(vr.Batch{HardState: &core.HardState{View: 1, Commit: next - 1}, Entries: batch, Sync: true})
				if err == nil {
					log, hash = append(log, batch...), batch[len(batch)-1].Hash
				}
				return err
			}
			require.NoError(t, write(0))
			for err = nil; err == nil && len(log)*size < 8<<20; {
				err = write(5)
			}
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.NotErrorIs(t, err, vr.ErrNoSpace, "a log that is full is final")
			require.ErrorIs(t, storage.Write(vr.Batch{Sync: true}), ErrFailed)
			require.Error(t, storage.MarkClean())
			require.NoError(t, storage.Close())
			t.Logf("%v, entries of %d bytes: %d were acknowledged", durability, size, len(log))
			require.Greater(t, len(log), 12)

			free := fill(t, directory)
			if storage, err = Open(directory, Options{Durability: durability}); err == nil {
				var got vr.Loaded
				if got, err = storage.Load(); err == nil {
					require.Equal(t, log, got.Entries)
				}
				err = errors.Join(err, storage.Close())
			}
			if err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
			}
			free()
			require.NoError(t, syscall.Mount("viewline", directory, "tmpfs", syscall.MS_REMOUNT, "size=12m"))
			storage = openedIn(t, directory, durability)
			got := loaded(t, storage)
			require.Equal(t, log, got.Entries)
			require.Equal(t, core.ViewNumber(1), got.HardState.View)
			require.NoError(t, write(5), "and it goes on")
			require.NoError(t, storage.Close())
			require.Equal(t, log, killed(t, directory, durability).Entries)
		}
	}
}

// TestAFullDiskCostsACheckpointOnly: the log goes on, nothing is left of the checkpoint, and it can be tried again.
func TestAFullDiskCostsACheckpointOnly(t *testing.T) { eachLog(t, testAFullDiskCostsACheckpointOnly) }

func testAFullDiskCostsACheckpointOnly(t *testing.T, log Log) {
	directory := smallDisk(t, "6m")
	require.NoError(t, CreateLog(directory, log))
	storage := openedIn(t, directory, DurabilitySync)
	loaded(t, storage)
	entries := chain(0, 1, 200, 1, 500)
	require.NoError(t, storage.Write(vr.Batch{Entries: entries[:100], Sync: true}))
	old := core.CheckpointMeta{Op: 50, View: 1, Hash: entries[49].Hash}
	writeCheckpoint(t, storage, old, []byte("old"))
	before := readFiles(t, directory)
	meta := core.CheckpointMeta{Op: 90, View: 1, Hash: entries[89].Hash}
	for _, length := range []int{20 << 20, 6 << 20} {
		err := tryCheckpoint(storage, meta, make([]byte, length))
		require.ErrorIs(t, err, vr.ErrNoSpace)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Equal(t, before, readFiles(t, directory), "nothing is left of it")
	}
	free := fill(t, directory)
	_, err := storage.CreateCheckpoint(meta)
	if err == nil {
		err = tryCheckpoint(storage, meta, []byte("new"))
	}
	require.ErrorIs(t, err, vr.ErrNoSpace)
	free()
	for i := 100; i < 200; i += 10 {
		require.NoError(t, storage.Write(vr.Batch{Entries: entries[i : i+10], Sync: true}), "the log goes on")
	}
	found, state := readCheckpoint(t, storage)
	require.Equal(t, old, found)
	require.Equal(t, "old", string(state))
	writeCheckpoint(t, storage, meta, []byte("new"))
	require.NoError(t, storage.Close())
	got := killed(t, directory, DurabilitySync)
	require.Equal(t, meta, got.Checkpoint)
	require.Equal(t, entries, got.Entries)
}
