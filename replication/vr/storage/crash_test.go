package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// everything is all that a directory holds.
type everything struct {
	loaded vr.Loaded
	meta   core.CheckpointMeta
	state  string
}

// readAll opens a directory, reads everything in it, and closes it.
func readAll(directory string) (all everything, err error) {
	disk, err := openDisk(directory, Options{segments: small()})
	if err != nil {
		return all, err
	}
	defer func() {
		if closing := disk.Close(); err == nil {
			err = closing
		}
	}()
	if all.loaded, err = disk.Load(); err != nil {
		return all, err
	}
	all.loaded = normal(all.loaded)
	meta, body, err := disk.OpenCheckpoint()
	if all.loaded.Checkpoint.Op == 0 && err != nil {
		return all, nil
	} else if err != nil {
		return all, err
	}
	defer func() { _ = body.Close() }()
	state, err := readEverything(body)
	all.meta, all.state = meta, string(state)
	return all, err
}

// scenario writes a log with everything in it: sixteen views, removals above and below, two checkpoints. It calls after
// each change.
func scenario(t *testing.T, disk vr.Storage, after func()) {
	t.Helper()
	log := []core.Entry{{}} // by op-number
	for step := range core.ViewNumber(16) {
		batch := vr.Batch{HardState: &core.HardState{View: step, LastNormalView: step / 2, Commit: core.OpNumber(len(log) - 1)}, Sync: true}
		if step == 8 {
			batch.Truncate, batch.TruncateAbove = true, core.OpNumber(len(log)-3)
			batch.HardState.Commit, log = batch.TruncateAbove, log[:len(log)-2]
		}
		hash, next := log[len(log)-1].Hash, core.OpNumber(len(log))
		if step == 7 {
			batch.TruncateBelow = next - 4
		}
		batch.Entries = chain(hash, next, next+core.OpNumber(step%5), step, 30+500*int(step%3))
		require.NoError(t, disk.Write(batch))
		log = append(log, batch.Entries...)
		hash, next = log[len(log)-1].Hash, core.OpNumber(len(log))
		after()
		if step == 5 || step == 9 {
			writeCheckpoint(t, disk, core.CheckpointMeta{Op: next - 1, View: step, Hash: hash}, []byte(fmt.Sprint("state at ", next)))
			after()
		}
	}
}

// TestPowerCutDuringAWrite: whatever part of a batch's pages has reached the disk, whole or by sectors, before
// the meta page has, the directory holds what it held before the batch.
func TestPowerCutDuringAWrite(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	directory := created(t, LogBolt)
	disk := opened(t, directory)
	path := filepath.Join(directory, databaseName)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := readAll(image(t, directory))
	require.NoError(t, err)
	torn := 0
	scenario(t, disk, func() {
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := readAll(image(t, directory))
		require.NoError(t, err)
		if got.loaded.Checkpoint == want.loaded.Checkpoint {
			for _, sector := range []int{512, 4096, 4096} {
				cut := t.TempDir()
				copyDirectory(t, directory, cut)
				require.NoError(t, os.WriteFile(filepath.Join(cut, databaseName), mix(random, before, after, sector), 0o600))
				found, err := readAll(cut)
				require.NoError(t, err)
				require.Equal(t, want, found)
				torn++
			}
		}
		before, want = after, got
	})
	require.Greater(t, torn, 20)
}

// mix is before, with some sectors of after above the two meta pages.
func mix(random *rand.Rand, before, after []byte, sector int) []byte {
	mixed := make([]byte, max(len(before), len(after)))
	copy(mixed, before)
	for at := 2 * os.Getpagesize(); at+sector <= len(after); at += sector {
		if random.IntN(2) == 0 {
			copy(mixed[at:at+sector], after[at:])
		}
	}
	return mixed
}

// TestPowerCutDuringACheckpoint tries the directory after each step of a checkpoint.
func TestPowerCutDuringACheckpoint(t *testing.T) { eachLog(t, testPowerCutDuringACheckpoint) }

func testPowerCutDuringACheckpoint(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	entries := chain(0, 1, 20, 1, 100)
	require.NoError(t, disk.Write(vr.Batch{Entries: entries, Sync: true}))
	first := core.CheckpointMeta{Op: 10, View: 1, Hash: entries[9].Hash}
	second := core.CheckpointMeta{Op: 20, View: 1, Hash: entries[19].Hash}
	writeCheckpoint(t, disk, first, []byte("first"))
	check := func(directory string, meta core.CheckpointMeta, state string) {
		t.Helper()
		all, err := readAll(directory)
		require.NoError(t, err)
		require.Equal(t, everything{loaded: vr.Loaded{Checkpoint: meta, Entries: entries}, meta: meta, state: state}, all)
		names, err := filepath.Glob(filepath.Join(directory, "*"+temporaryName))
		require.NoError(t, err)
		require.Empty(t, names, "Open sweeps up")
	}
	old, err := os.ReadFile(filepath.Join(directory, checkpointName(10)))
	require.NoError(t, err)

	writer, err := disk.CreateCheckpoint(second)
	require.NoError(t, err)
	check(image(t, directory), first, "first")
	_, err = writer.Write(make([]byte, chunkBytesMax+1))
	require.NoError(t, err)
	check(image(t, directory), first, "first")
	require.NoError(t, writer.Abort())
	check(image(t, directory), first, "first")

	writeCheckpoint(t, disk, second, []byte("second"))
	check(image(t, directory), second, "second")
	both := image(t, directory)
	require.NoError(t, os.WriteFile(filepath.Join(both, checkpointName(10)), old, 0o600))
	check(both, second, "second")
}
