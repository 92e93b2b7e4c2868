package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// chain makes entries first..last of a view that join previous, with payloads of about size bytes.
func chain(previous core.Hash, first, last core.OpNumber, view core.ViewNumber, size int) []core.Entry {
	var entries []core.Entry
	for op := first; op <= last; op++ {
		payload := bytes.Repeat([]byte{byte(op)}, size+int(op%7))
		entry := core.Chained(previous, op, view, payload)
		entries, previous = append(entries, entry), entry.Hash
	}
	return entries
}

var allLogs = []Log{LogBolt, LogWAL}

// eachLog runs a test over a log of each kind.
func eachLog(t *testing.T, test func(t *testing.T, log Log)) {
	for _, log := range allLogs {
		t.Run(log.String(), func(t *testing.T) { test(t, log) })
	}
}

func created(t *testing.T, log Log) string {
	t.Helper()
	directory := t.TempDir()
	require.NoError(t, CreateLog(directory, log))
	return directory
}

// small segments, whose mark is written when the log is closed and not by itself.
func small() segmentOptions {
	return segmentOptions{bytes: 8 << 10, grow: 16 << 10, idle: time.Hour, markLatest: time.Hour}
}

// notLoaded opens a directory and loads nothing.
func notLoaded(t *testing.T, directory string) *Disk {
	t.Helper()
	disk, err := openDisk(directory, Options{segments: small()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	return disk
}

// opened opens a directory, and loads what must be loaded before it is written to.
func opened(t *testing.T, directory string) *Disk {
	t.Helper()
	disk := notLoaded(t, directory)
	if _, must := disk.log.(*segmentLog); must {
		loaded(t, disk)
	}
	return disk
}

func loaded(t *testing.T, storage vr.Storage) vr.Loaded {
	t.Helper()
	everything, err := storage.Load()
	require.NoError(t, err)
	return everything
}

// copyDirectory is what a power cut leaves at this moment, when everything written has reached the disk.
func copyDirectory(t testing.TB, from, to string) {
	t.Helper()
	for name, data := range readFiles(t, from) {
		require.NoError(t, os.WriteFile(filepath.Join(to, name), []byte(data), 0o600))
	}
}

func image(t *testing.T, directory string) string {
	t.Helper()
	copied := fastDirectory(t)
	copyDirectory(t, directory, copied)
	return copied
}

func writeCheckpoint(t testing.TB, storage vr.Storage, meta core.CheckpointMeta, state []byte) {
	t.Helper()
	writer, err := storage.CreateCheckpoint(meta)
	require.NoError(t, err)
	_, err = writer.Write(state)
	require.NoError(t, err)
	require.NoError(t, writer.Commit())
	require.NoError(t, writer.Abort())
}

// writeInParts writes entries in small batches.
func writeInParts(t testing.TB, storage vr.Storage, entries []core.Entry) {
	t.Helper()
	for part := range slices.Chunk(entries, 2) {
		require.NoError(t, storage.Write(vr.Batch{Entries: part, Sync: true}))
	}
}

func readCheckpoint(t testing.TB, storage vr.Storage) (core.CheckpointMeta, []byte) {
	t.Helper()
	meta, body, err := storage.OpenCheckpoint()
	require.NoError(t, err)
	state, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	return meta, state
}

// twins runs a test on the disk with each log and in every durability, and in memory. reopen is a restart after a clean end.
func twins(t *testing.T, test func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage)) {
	each(t, func(t *testing.T, log Log, durability Durability) {
		directory := created(t, log)
		storage := openedIn(t, directory, durability)
		loaded(t, storage)
		test(t, storage, func(vr.Storage) vr.Storage {
			require.NoError(t, storage.MarkClean())
			require.NoError(t, storage.Close())
			storage = openedIn(t, directory, durability)
			loaded(t, storage)
			return storage
		})
	})
	t.Run("Memory", func(t *testing.T) {
		test(t, NewMemory(), func(storage vr.Storage) vr.Storage { return storage })
	})
}

func TestRoundTrip(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
		require.Equal(t, vr.Loaded{Entries: []core.Entry{}}, normal(loaded(t, storage)))
		state := core.HardState{View: 7, LastNormalView: 6, Commit: 5}
		entries := chain(0, 1, 40, 7, 90)
		require.NoError(t, storage.Write(vr.Batch{HardState: &state, Entries: entries, Sync: true}))
		more := chain(entries[39].Hash, 41, 43, 8, 5000)
		require.NoError(t, storage.Write(vr.Batch{Entries: more, Sync: true}))
		storage = reopen(storage)
		require.Equal(t, vr.Loaded{HardState: state, Entries: append(entries, more...)}, normal(loaded(t, storage)))
		require.NotZero(t, func() uint64 { require.NoError(t, storage.Write(vr.Batch{Sync: true})); return storage.Syncs() }())
	})
}

// normal is what was loaded without what is said of it.
func normal(loaded vr.Loaded) vr.Loaded {
	loaded.Fresh, loaded.Clean = false, false
	if loaded.Entries == nil {
		loaded.Entries = []core.Entry{}
	}
	return loaded
}

func TestTruncateAboveCutsRuns(t *testing.T) {
	entries := chain(0, 1, 50, 1, 900)
	for _, keep := range []core.OpNumber{0, 1, 2, 7, 8, 9, 25, 49, 50, 60} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
				require.NoError(t, storage.Write(vr.Batch{Entries: entries, Sync: true}))
				kept := entries[:min(int(keep), 50)]
				var previous core.Hash
				if len(kept) > 0 {
					previous = kept[len(kept)-1].Hash
				}
				added := chain(previous, core.OpNumber(len(kept))+1, core.OpNumber(len(kept))+3, 2, 10)
				require.NoError(t, storage.Write(vr.Batch{Truncate: true, TruncateAbove: keep, Entries: added, Sync: true}))
				want := append(append([]core.Entry{}, kept...), added...)
				require.Equal(t, want, loaded(t, reopen(storage)).Entries)
			})
		})
	}
}

func TestTruncateBelowKeepsTheChain(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
		entries := chain(0, 1, 50, 1, 900)
		writeInParts(t, storage, entries)
		writeCheckpoint(t, storage, core.CheckpointMeta{Op: 40, View: 1, Hash: entries[39].Hash}, []byte("state"))
		require.NoError(t, storage.Write(vr.Batch{TruncateBelow: 31, Sync: true}))
		storage = reopen(storage)
		got := loaded(t, storage).Entries
		require.LessOrEqual(t, got[0].Op, core.OpNumber(31))
		require.Greater(t, got[0].Op, core.OpNumber(20), "hardly anything was removed")
		require.Equal(t, entries[got[0].Op-1:], got)

		require.NoError(t, storage.Write(vr.Batch{Truncate: true, TruncateAbove: got[0].Op - 1, TruncateBelow: got[0].Op, Sync: true}))
		require.Empty(t, loaded(t, reopen(storage)).Entries)
	})
}

func TestLogGoesOnFromAFetchedCheckpoint(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
		require.NoError(t, storage.Write(vr.Batch{Entries: chain(0, 1, 10, 1, 10), Sync: true}))
		meta := core.CheckpointMeta{Op: 1000, View: 4, Hash: 77}
		after := chain(77, 1001, 1005, 4, 10)
		writeCheckpoint(t, storage, meta, []byte("state of another"))

		storage = reopen(storage)
		require.Len(t, loaded(t, storage).Entries, 10, "a crash between the checkpoint and the log leaves both")
		require.Equal(t, meta, loaded(t, storage).Checkpoint)

		require.NoError(t, storage.Write(vr.Batch{Truncate: true, TruncateAbove: 8, TruncateBelow: 1001, Sync: true}))
		require.Empty(t, loaded(t, reopen(storage)).Entries)
		storage = reopen(storage)
		require.NoError(t, storage.Write(vr.Batch{Entries: after, Sync: true}))
		require.Equal(t, after, loaded(t, reopen(storage)).Entries)
	})
}

func TestLogGoesOnFromACheckpointInOneBatch(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
		require.NoError(t, storage.Write(vr.Batch{Entries: chain(0, 1, 10, 1, 10), Sync: true}))
		writeCheckpoint(t, storage, core.CheckpointMeta{Op: 1000, View: 4, Hash: 77}, []byte("state of another"))
		after := chain(77, 1001, 1005, 4, 10)
		require.NoError(t, storage.Write(vr.Batch{TruncateBelow: 1001, Entries: after, Sync: true}))
		require.Equal(t, after, loaded(t, reopen(storage)).Entries)
	})
}

// TestCheckpointShowsADeadBranch: what the log holds at the checkpoint's operation and above it is of another
// branch. It goes, and the log begins anew above the checkpoint.
func TestCheckpointShowsADeadBranch(t *testing.T) {
	for _, after := range [][]core.Entry{nil, chain(77, 21, 25, 4, 10)} {
		twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
			require.NoError(t, storage.Write(vr.Batch{Entries: chain(0, 1, 30, 1, 10), Sync: true}))
			writeCheckpoint(t, storage, core.CheckpointMeta{Op: 20, View: 4, Hash: 77}, []byte("state of another"))
			require.NoError(t, storage.Write(vr.Batch{Truncate: true, TruncateAbove: 20, Entries: after, TruncateBelow: 21, Sync: true}))
			storage = reopen(storage)
			require.Equal(t, normal(vr.Loaded{Entries: after}).Entries, normal(loaded(t, storage)).Entries)
			next := chain(77, 21+core.OpNumber(len(after)), 40, 5, 10)
			if len(after) > 0 {
				next = chain(after[len(after)-1].Hash, 26, 40, 5, 10)
			}
			require.NoError(t, storage.Write(vr.Batch{Entries: next, Sync: true}))
			require.Equal(t, append(after, next...), loaded(t, reopen(storage)).Entries)
		})
	}
}

func TestGapsAreRefused(t *testing.T) {
	twins(t, func(t *testing.T, storage vr.Storage, _ func(vr.Storage) vr.Storage) {
		if _, final := storage.(*delayed); final {
			t.Skip("there it is final: TestAGapThatWaitedIsFinal")
		}
		entries := chain(0, 1, 10, 1, 10)
		require.ErrorIs(t, storage.Write(vr.Batch{TruncateBelow: 1001, Entries: chain(0, 1001, 1002, 1, 10), Sync: true}), ErrGap)
		require.ErrorIs(t, storage.Write(vr.Batch{Entries: entries[1:], Sync: true}), ErrGap)
		require.NoError(t, storage.Write(vr.Batch{Entries: entries[:5], Sync: true}))
		require.ErrorIs(t, storage.Write(vr.Batch{Entries: entries[6:], Sync: true}), ErrGap)
		require.ErrorIs(t, storage.Write(vr.Batch{Entries: entries[4:], Sync: true}), ErrGap)
		require.ErrorIs(t, storage.Write(vr.Batch{TruncateBelow: 9, Sync: true}), ErrGap)
		require.NoError(t, storage.Write(vr.Batch{Entries: entries[5:], Sync: true}))
		require.Equal(t, entries, loaded(t, storage).Entries)
	})
}

// each runs a test over a log of each kind, in each durability.
func each(t *testing.T, test func(t *testing.T, log Log, durability Durability)) {
	eachLog(t, func(t *testing.T, log Log) {
		for _, durability := range allDurabilities {
			t.Run(durability.String(), func(t *testing.T) { test(t, log, durability) })
		}
	})
}

// TestRandomBatches holds the disk against the twin in memory.
func TestRandomBatches(t *testing.T) { eachLog(t, testRandomBatches) }

func testRandomBatches(t *testing.T, log Log) {
	random := rand.New(rand.NewPCG(1, 2))
	directory := created(t, log)
	disk, memory := opened(t, directory), NewMemory()
	var commit core.OpNumber
	for step := range 300 {
		everything := loaded(t, memory)
		batch := vr.Batch{Sync: random.IntN(3) > 0}
		last, hash := memory.current.extent.last, memory.current.extent.lastHash
		if random.IntN(4) == 0 && last > memory.current.extent.base {
			batch.Truncate = true
			batch.TruncateAbove = max(commit, last-core.OpNumber(random.IntN(10)), memory.current.extent.base)
			last = min(last, batch.TruncateAbove)
			if hash = memory.current.extent.baseHash; last > memory.current.extent.base {
				hash = everything.Entries[last-memory.current.extent.base-1].Hash
			}
		}
		batch.Entries = chain(hash, last+1, last+core.OpNumber(random.IntN(20)), core.ViewNumber(step), random.IntN(400))
		if random.IntN(5) == 0 && commit > memory.current.extent.base {
			meta := core.CheckpointMeta{Op: commit, Hash: everything.Entries[commit-memory.current.extent.base-1].Hash}
			writeCheckpoint(t, disk, meta, []byte(fmt.Sprint(step)))
			writeCheckpoint(t, memory, meta, []byte(fmt.Sprint(step)))
			batch.TruncateBelow = commit - core.OpNumber(random.IntN(int(commit-memory.current.extent.base)))
		}
		if end := last + core.OpNumber(len(batch.Entries)); random.IntN(2) == 0 {
			commit = max(commit, end-min(end, core.OpNumber(random.IntN(5))))
			batch.HardState = &core.HardState{View: core.ViewNumber(step / 4), Commit: commit}
		}
		require.NoError(t, disk.Write(batch), "step %d", step)
		require.NoError(t, memory.Write(batch), "step %d", step)
		if step%20 == 0 {
			require.NoError(t, disk.Close())
			disk = opened(t, directory)
			sameState(t, loaded(t, memory), loaded(t, disk))
		}
	}
	require.Greater(t, memory.current.extent.base, core.OpNumber(100), "nothing was ever removed")
}

// sameState: the disk may keep a few more of the old entries, since it removes them by runs.
func sameState(t *testing.T, want, got vr.Loaded) {
	t.Helper()
	require.GreaterOrEqual(t, len(got.Entries), len(want.Entries))
	got.Entries = got.Entries[len(got.Entries)-len(want.Entries):]
	require.Equal(t, normal(want), normal(got))
}

// readFiles is every file of a directory by its name, as they are at one moment: they are read until nothing has changed
// meanwhile, since replica.db is written in the background too.
func readFiles(t testing.TB, directory string) map[string]string {
	t.Helper()
	var before map[string]string
	for {
		names, err := os.ReadDir(directory)
		require.NoError(t, err)
		files := map[string]string{}
		for _, name := range names {
			data, err := os.ReadFile(filepath.Join(directory, name.Name()))
			if !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err)
				files[name.Name()] = string(data)
			}
		}
		if maps.Equal(before, files) {
			return files
		}
		before = files
	}
}
