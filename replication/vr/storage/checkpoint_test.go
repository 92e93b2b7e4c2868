package storage

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

func readEverything(body io.Reader) ([]byte, error) { return io.ReadAll(body) }

func randomBytes(n int) []byte {
	random := rand.New(rand.NewPCG(7, uint64(n)))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func TestCheckpointRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 1000, chunkBytesMax - 1, chunkBytesMax, chunkBytesMax + 1, 3*chunkBytesMax + 17} {
		twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
			_, _, err := storage.OpenCheckpoint()
			require.ErrorIs(t, err, vr.ErrNoCheckpoint)
			state, meta := randomBytes(size), core.CheckpointMeta{Op: 9, View: 3, Hash: 12345}
			writer, err := storage.CreateCheckpoint(meta)
			require.NoError(t, err)
			for rest := state; len(rest) > 0; {
				n := min(len(rest), 100_000)
				written, err := writer.Write(rest[:n])
				require.NoError(t, err)
				require.Equal(t, n, written)
				rest = rest[n:]
			}
			_, _, err = storage.OpenCheckpoint()
			require.ErrorIs(t, err, vr.ErrNoCheckpoint, "it exists only once it is committed")
			require.NoError(t, writer.Commit())
			require.Error(t, writer.Commit(), "once")
			storage = reopen(storage)
			gotMeta, got := readCheckpoint(t, storage)
			require.Equal(t, meta, gotMeta)
			require.True(t, bytes.Equal(state, got), "%d bytes", size)
			require.Equal(t, meta, loaded(t, storage).Checkpoint)
		})
	}
}

func TestNewerCheckpointReplacesOlder(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, _ func(vr.Storage) vr.Storage) {
		writeCheckpoint(t, storage, core.CheckpointMeta{Op: 5}, randomBytes(2*chunkBytesMax))
		_, body, err := storage.OpenCheckpoint()
		require.NoError(t, err)
		slow, err := storage.CreateCheckpoint(core.CheckpointMeta{Op: 6})
		require.NoError(t, err)
		writeCheckpoint(t, storage, core.CheckpointMeta{Op: 7}, []byte("seven"))
		require.ErrorIs(t, slow.Commit(), ErrGap, "an older one that is finished later does not come back")
		_, err = storage.CreateCheckpoint(core.CheckpointMeta{Op: 6})
		require.ErrorIs(t, err, ErrGap)
		_, err = storage.CreateCheckpoint(core.CheckpointMeta{})
		require.ErrorIs(t, err, ErrGap, "the empty state has no checkpoint")
		writeCheckpoint(t, storage, core.CheckpointMeta{Op: 7}, []byte("seven again"))

		old, err := io.ReadAll(body)
		require.NoError(t, err, "a reader of the one before it reads on")
		require.Len(t, old, 2*chunkBytesMax)
		require.NoError(t, body.Close())
		meta, state := readCheckpoint(t, storage)
		require.Equal(t, core.OpNumber(7), meta.Op)
		require.Equal(t, "seven again", string(state))
		require.NoError(t, storage.Write(vr.Batch{Sync: true}), "a refused checkpoint is not a failed write")
	})
}

func TestOlderCheckpointFilesAreRemoved(t *testing.T) {
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	for op := range core.OpNumber(4) {
		writeCheckpoint(t, disk, core.CheckpointMeta{Op: op + 1}, []byte("x"))
	}
	names, err := checkpointNames(directory)
	require.NoError(t, err)
	require.Equal(t, []string{checkpointName(4)}, names)
}

func TestDamagedCheckpointIsNotReplacedByAnOlderOne(t *testing.T) {
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 1}, []byte("one"))
	one, err := os.ReadFile(filepath.Join(directory, checkpointName(1)))
	require.NoError(t, err)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 2}, []byte("two"))
	require.NoError(t, disk.Close())
	require.NoError(t, os.WriteFile(filepath.Join(directory, checkpointName(1)), one, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(directory, checkpointName(2)), one, 0o600))
	got := loaded(t, opened(t, directory))
	require.Zero(t, got.Checkpoint)
	require.Len(t, got.Damage, 1)
	require.Equal(t, filepath.Join(directory, checkpointName(2)), got.Damage[0].File)
	require.Equal(t, core.OpNumber(1), got.Damage[0].First)
	require.Equal(t, core.OpNumber(2), got.Damage[0].Last)
}

func TestCheckpointThatChangedUnderneathIsDamage(t *testing.T) {
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 2, View: 1}, []byte("two"))
	other := created(t, LogDefault)
	second := opened(t, other)
	writeCheckpoint(t, second, core.CheckpointMeta{Op: 2, View: 9}, []byte("two"))
	copyDirectory(t, other, directory)
	_, _, err := disk.OpenCheckpoint()
	require.ErrorIs(t, err, ErrDamaged)
}

func TestClosedStorageRefuses(t *testing.T) { eachLog(t, testClosedStorageRefuses) }

func testClosedStorageRefuses(t *testing.T, log Log) {
	disk := opened(t, created(t, log))
	writer, err := disk.CreateCheckpoint(core.CheckpointMeta{Op: 1})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	require.NoError(t, disk.Close())
	_, err = disk.Load()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, disk.Write(vr.Batch{Sync: true}), ErrClosed)
	_, err = disk.CreateCheckpoint(core.CheckpointMeta{Op: 2})
	require.ErrorIs(t, err, ErrClosed)
	_, _, err = disk.OpenCheckpoint()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, writer.Commit(), ErrClosed)
}

// TestALargeCheckpointIsSyncedAsItGrows: the fsync at its end has little left to do, so that the log's own does not
// wait behind it.
func TestALargeCheckpointIsSyncedAsItGrows(t *testing.T) {
	disk := opened(t, created(t, LogDefault))
	writer, err := disk.CreateCheckpoint(core.CheckpointMeta{Op: 1, View: 1, Hash: 1})
	require.NoError(t, err)
	state := make([]byte, syncBytes-1)
	_, err = writer.Write(state)
	require.NoError(t, err)
	require.Zero(t, disk.Syncs())
	for range 2 {
		_, err = writer.Write(state)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, disk.Syncs())
	require.NoError(t, writer.Commit())
	require.EqualValues(t, 4, disk.Syncs())
	_, got := readCheckpoint(t, disk)
	require.Len(t, got, 3*len(state))
}

// TestTheLogDoesNotWaitForACheckpoint: while one takes the place of another, batches are written and the one that
// still stands is read.
func TestTheLogDoesNotWaitForACheckpoint(t *testing.T) {
	eachLog(t, testTheLogDoesNotWaitForACheckpoint)
}

func testTheLogDoesNotWaitForACheckpoint(t *testing.T, log Log) {
	disk := opened(t, created(t, log))
	entries := chain(0, 1, 2, 1, 10)
	require.NoError(t, disk.Write(vr.Batch{Entries: entries[:1], Sync: true}))
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 1, View: 1, Hash: entries[0].Hash}, []byte("state"))
	disk.publishing.Lock()
	defer disk.publishing.Unlock()
	require.NoError(t, disk.Write(vr.Batch{Entries: entries[1:], Sync: true}))
	_, state := readCheckpoint(t, disk)
	require.Equal(t, "state", string(state))
}
