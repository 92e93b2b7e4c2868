package storage

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

func TestHintsWaitForTheNextBatch(t *testing.T) { eachLog(t, testHintsWaitForTheNextBatch) }

func testHintsWaitForTheNextBatch(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	entries := chain(0, 1, 20, 3, 3000)
	state := core.HardState{View: 3, LastNormalView: 3, Commit: 1}
	require.NoError(t, disk.Write(vr.Batch{HardState: &state, Entries: entries[:1], Sync: true}))
	writeInParts(t, disk, entries[1:])
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 20, Hash: entries[19].Hash}, nil)
	before := disk.Syncs()
	for commit := core.OpNumber(2); commit <= 15; commit++ {
		hint := core.HardState{View: 3, LastNormalView: 3, Commit: commit}
		require.NoError(t, disk.Write(vr.Batch{HardState: &hint, TruncateBelow: commit}))
	}
	require.Equal(t, before, disk.Syncs())
	lost, err := readAll(image(t, directory))
	require.NoError(t, err)
	require.Equal(t, state, lost.loaded.HardState, "a power cut loses hints")
	require.Len(t, lost.loaded.Entries, 20)

	more := chain(entries[19].Hash, 21, 21, 3, 3000)
	require.NoError(t, disk.Write(vr.Batch{Entries: more, Sync: true}))
	markNow(t, disk)
	kept, err := readAll(image(t, directory))
	require.NoError(t, err)
	require.Equal(t, core.OpNumber(15), kept.loaded.HardState.Commit)
	want := append(entries[14:], more...)
	require.LessOrEqual(t, len(kept.loaded.Entries), map[Log]int{LogBolt: len(want), LogWAL: len(want) + 4}[log], "removed by segments")
	require.Equal(t, want, kept.loaded.Entries[len(kept.loaded.Entries)-len(want):])

	hint := core.HardState{View: 3, LastNormalView: 3, Commit: 21}
	require.NoError(t, disk.Write(vr.Batch{HardState: &hint}))
	require.NoError(t, disk.Close())
	closed, err := readAll(directory)
	require.NoError(t, err)
	require.Equal(t, hint, closed.loaded.HardState, "Close writes what waits")
}

func TestPromiseWithoutSyncIsWritten(t *testing.T) { eachLog(t, testPromiseWithoutSyncIsWritten) }

func testPromiseWithoutSyncIsWritten(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{HardState: &core.HardState{View: 4}}))
	kept, err := readAll(image(t, directory))
	require.NoError(t, err)
	require.Equal(t, core.ViewNumber(4), kept.loaded.HardState.View)
}

func TestLargeEntry(t *testing.T) { eachLog(t, testLargeEntry) }

func testLargeEntry(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	small := chain(0, 1, 3, 1, 10)
	large := chain(small[2].Hash, 4, 4, 1, 20<<20)
	after := chain(large[0].Hash, 5, 6, 1, 10)
	require.NoError(t, disk.Write(vr.Batch{Entries: append(append(small, large...), after...), Sync: true}))
	kept := map[Log]func() int{
		LogBolt: func() int { return cap(disk.log.(*boltLog).buffer) }, LogWAL: func() int { return cap(disk.log.(*segmentLog).buffer) },
	}
	require.LessOrEqual(t, kept[log](), bufferBytesMax, "a large batch's memory is given back")
	all, err := readAll(image(t, directory))
	require.NoError(t, err)
	require.Len(t, all.loaded.Entries, 6)
	require.Len(t, all.loaded.Entries[3].Payload, len(large[0].Payload))
}

// markNow has a log's mark written, if it has one.
func markNow(t *testing.T, disk *Disk) {
	t.Helper()
	if log, is := disk.log.(*segmentLog); is {
		log.mu.Lock()
		defer log.mu.Unlock()
		require.NoError(t, log.mark())
	}
}

// goAway takes the files away under a storage.
func goAway(t *testing.T, disk *Disk) {
	t.Helper()
	require.NoError(t, disk.database.Close())
	if log, is := disk.log.(*segmentLog); is && log.tail != nil {
		require.NoError(t, log.tail.Close())
		log.tail = goneFile{}
	}
}

// goneFile takes nothing any more.
type goneFile struct{}

func (goneFile) WriteAt([]byte, int64) (int, error) { return 0, os.ErrClosed }
func (goneFile) Sync() error                        { return os.ErrClosed }
func (goneFile) Close() error                       { return nil }

// TestFailedWriteIsFinal: when the disk refuses a write, nothing is written after it.
func TestFailedWriteIsFinal(t *testing.T) { eachLog(t, testFailedWriteIsFinal) }

func testFailedWriteIsFinal(t *testing.T, log Log) {
	disk, err := openDisk(created(t, log), Options{})
	require.NoError(t, err)
	loaded(t, disk)
	goAway(t, disk)
	entries := chain(0, 1, 1, 1, 10)
	require.Error(t, disk.Write(vr.Batch{Entries: entries, Sync: true}))
	require.ErrorIs(t, disk.Write(vr.Batch{Entries: entries, Sync: true}), ErrFailed)
	_, err = disk.CreateCheckpoint(core.CheckpointMeta{Op: 1})
	require.ErrorIs(t, err, ErrFailed)
	_, err = disk.Load()
	require.ErrorIs(t, err, ErrFailed)
	require.NoError(t, disk.Close())
}

func TestFailedCheckpointIsFinal(t *testing.T) { eachLog(t, testFailedCheckpointIsFinal) }

func testFailedCheckpointIsFinal(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	writer, err := disk.CreateCheckpoint(core.CheckpointMeta{Op: 1})
	require.NoError(t, err)
	require.NoError(t, writer.(*checkpointWriter).file.Close())
	_, err = writer.Write(make([]byte, chunkBytesMax))
	require.ErrorIs(t, err, os.ErrClosed)
	_, again := writer.Write([]byte("more"))
	require.Equal(t, err, again)
	require.Error(t, writer.Commit())
	require.ErrorIs(t, disk.Write(vr.Batch{Sync: true}), ErrFailed)
}

func TestInjectedFaults(t *testing.T) {
	memory := NewMemory()
	failing := NewFailing(memory,
		Fault{Call: CallLoad, Nth: 2}, Fault{Call: CallWrite, Nth: 1}, Fault{Call: CallWrite, Nth: 2, Torn: true},
		Fault{Call: CallCreateCheckpoint, Nth: 1}, Fault{Call: CallCheckpointWrite, Nth: 1, Torn: true},
		Fault{Call: CallCheckpointWrite, Nth: 3}, Fault{Call: CallCheckpointCommit, Nth: 1},
		Fault{Call: CallCheckpointCommit, Nth: 2, Torn: true}, Fault{Call: CallOpenCheckpoint, Nth: 1},
		Fault{Call: CallCheckpointRead, Nth: 1, Torn: true}, Fault{Call: CallCheckpointRead, Nth: 3})
	loaded(t, failing)
	_, err := failing.Load()
	require.ErrorIs(t, err, ErrInjected)

	entries := chain(0, 1, 2, 1, 10)
	require.ErrorIs(t, failing.Write(vr.Batch{Entries: entries[:1], Sync: true}), ErrInjected)
	require.Empty(t, loaded(t, failing).Entries)
	require.ErrorIs(t, failing.Write(vr.Batch{Entries: entries, Sync: true}), ErrInjected)
	require.Equal(t, entries, loaded(t, failing).Entries, "torn: it took effect")
	require.Equal(t, memory.Syncs(), failing.Syncs())

	meta := core.CheckpointMeta{Op: 2}
	_, err = failing.CreateCheckpoint(meta)
	require.ErrorIs(t, err, ErrInjected)
	writer, err := failing.CreateCheckpoint(meta)
	require.NoError(t, err)
	n, err := writer.Write([]byte("abcd"))
	require.ErrorIs(t, err, ErrInjected)
	require.Equal(t, 2, n)
	_, err = writer.Write([]byte("cd"))
	require.NoError(t, err)
	_, err = writer.Write([]byte("ef"))
	require.ErrorIs(t, err, ErrInjected)
	require.ErrorIs(t, writer.Commit(), ErrInjected)
	require.ErrorIs(t, writer.Commit(), ErrInjected)
	_, _, err = failing.OpenCheckpoint()
	require.ErrorIs(t, err, ErrInjected)
	_, body, err := failing.OpenCheckpoint()
	require.NoError(t, err)
	buffer := make([]byte, 4)
	n, err = body.Read(buffer)
	require.ErrorIs(t, err, ErrInjected)
	require.Equal(t, "ab", string(buffer[:n]))
	_, err = body.Read(buffer)
	require.NoError(t, err)
	_, err = body.Read(buffer)
	require.ErrorIs(t, err, ErrInjected)

	failing.Fail(Fault{Call: CallWrite, Nth: 1})
	require.Equal(t, 2, failing.Calls(CallWrite))
	require.ErrorIs(t, failing.Write(vr.Batch{Sync: true}), ErrInjected)
	require.NoError(t, failing.Write(vr.Batch{Sync: true}))
	require.NoError(t, failing.Close())
}

// TestGoingOnFromACheckpointIsNoHint: it is written at once, while the checkpoint that it refers to is the newest.
func TestGoingOnFromACheckpointIsNoHint(t *testing.T) { eachLog(t, testGoingOnFromACheckpointIsNoHint) }

func testGoingOnFromACheckpointIsNoHint(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{Entries: chain(0, 1, 10, 1, 10), Sync: true}))
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 1000, View: 4, Hash: 77}, nil)
	require.NoError(t, disk.Write(vr.Batch{TruncateBelow: 1001}))
	all, err := readAll(image(t, directory))
	require.NoError(t, err)
	require.Empty(t, all.loaded.Entries)
}
