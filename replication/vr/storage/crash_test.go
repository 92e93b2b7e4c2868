package storage

import (
	"bytes"
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
	disk, err := openDisk(directory, Options{})
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

// scenario writes a log with everything in it, calling after each change.
func scenario(t *testing.T, disk *Disk, after func()) {
	t.Helper()
	var hash core.Hash
	next := core.OpNumber(1)
	for step := range core.ViewNumber(12) {
		entries := chain(hash, next, next+core.OpNumber(step%5), step, 30+120*int(step%3))
		state := core.HardState{View: step, LastNormalView: step / 2, Commit: next - 1}
		batch := vr.Batch{HardState: &state, Entries: entries, Sync: true}
		if step == 7 {
			batch.TruncateBelow = next - 4
		}
		require.NoError(t, disk.Write(batch))
		hash, next = entries[len(entries)-1].Hash, next+core.OpNumber(len(entries))
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
	directory := created(t)
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
func TestPowerCutDuringACheckpoint(t *testing.T) {
	directory := created(t)
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

// TestEveryFlippedByte: with one bit of any byte flipped that holds something, a directory is refused as damaged,
// or holds exactly what it held.
func TestEveryFlippedByte(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	directory := created(t)
	disk := opened(t, directory)
	scenario(t, disk, func() {})
	require.NoError(t, disk.Close())
	want, err := readAll(directory)
	require.NoError(t, err)
	require.NotEmpty(t, want.state)
	names, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Len(t, names, 2)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(directory, name.Name()))
		require.NoError(t, err)
		flipped, detected := 0, 0
		path := filepath.Join(directory, name.Name())
		live := livePages(t, path)
		for at := range data {
			for _, bit := range bitsToFlip(random, data, at, live) {
				flip(t, path, at, data[at]^bit)
				all, err := readAll(directory)
				if err != nil {
					require.ErrorIs(t, err, ErrDamaged, "byte %d of %s, bit %#x", at, name.Name(), bit)
					detected++
				} else {
					require.Equal(t, want, all, "byte %d of %s, bit %#x", at, name.Name(), bit)
				}
				flip(t, path, at, data[at])
				flipped++
			}
		}
		t.Logf("%s: %d flips, %d detected, the others harmless", name.Name(), flipped, detected)
		require.Greater(t, detected, flipped/8)
	}
}

// bitsToFlip chooses all bits of a page's head, one of any other byte, and none of most bytes that belong to
// nothing.
func bitsToFlip(random *rand.Rand, data []byte, at int, live map[uint64]bool) []byte {
	page, within := uint64(at/os.Getpagesize()), at%os.Getpagesize()
	one := []byte{1 << random.IntN(8)}
	around := bytes.Trim(data[max(at-16, 0):min(at+16, len(data))], "\x00")
	switch {
	case testing.Short() && at%7 != 0:
		return nil
	case live == nil:
		return one
	case (!live[page] || len(around) == 0) && at%97 != 0:
		return nil
	case live[page] && within < 96:
		return []byte{1, 2, 4, 8, 16, 32, 64, 128}
	default:
		return one
	}
}

// livePages returns the pages of a database that hold something; nil for another kind of file.
func livePages(t *testing.T, path string) map[uint64]bool {
	t.Helper()
	if filepath.Base(path) != databaseName {
		return nil
	}
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	status, err := file.Stat()
	require.NoError(t, err)
	s := structure{file: file, bytes: status.Size(), seen: map[uint64]bool{0: true, 1: true}}
	require.NoError(t, s.readMetas())
	require.NoError(t, s.walk(s.meta.root, nil, nil, true))
	require.Greater(t, len(s.seen), 4)
	return s.seen
}

func flip(t *testing.T, path string, at int, to byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte{to}, int64(at))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// TestEveryShorterFile: a file cut off anywhere is refused as damaged.
func TestEveryShorterFile(t *testing.T) {
	directory := created(t)
	disk := opened(t, directory)
	scenario(t, disk, func() {})
	require.NoError(t, disk.Close())
	want, err := readAll(directory)
	require.NoError(t, err)
	names, err := os.ReadDir(directory)
	require.NoError(t, err)
	for _, name := range names {
		path := filepath.Join(directory, name.Name())
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for length := 0; length < len(data); length += 1 + len(data)/200 {
			require.NoError(t, os.WriteFile(path, data[:length], 0o600))
			if all, err := readAll(directory); err == nil {
				require.Equal(t, want, all, "%s cut to %d bytes", name.Name(), length)
			} else {
				require.ErrorIs(t, err, ErrDamaged, "%s cut to %d bytes", name.Name(), length)
			}
		}
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
}
