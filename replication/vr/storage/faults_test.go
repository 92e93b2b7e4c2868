package storage

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// TestFaultsSayWhatADiskSays: an error of each kind on each call, and which of them cost a checkpoint only.
func TestFaultsSayWhatADiskSays(t *testing.T) {
	entries := chain(0, 1, 2, 1, 10)
	meta := core.CheckpointMeta{Op: 2}
	calls := map[Call]func(storage vr.Storage) error{
		CallLoad:      func(storage vr.Storage) error { _, err := storage.Load(); return err },
		CallWrite:     func(storage vr.Storage) error { return storage.Write(vr.Batch{Entries: entries[1:], Sync: true}) },
		CallMarkClean: func(storage vr.Storage) error { return storage.MarkClean() },
		CallCreateCheckpoint: func(storage vr.Storage) error {
			_, err := storage.CreateCheckpoint(meta)
			return err
		},
		CallCheckpointWrite:  func(storage vr.Storage) error { return tryCheckpoint(storage, meta, []byte("state")) },
		CallCheckpointCommit: func(storage vr.Storage) error { return tryCheckpoint(storage, meta, []byte("state")) },
		CallOpenCheckpoint:   func(storage vr.Storage) error { _, _, err := storage.OpenCheckpoint(); return err },
		CallCheckpointRead: func(storage vr.Storage) error {
			_, body, err := storage.OpenCheckpoint()
			if err == nil {
				_, err = io.ReadAll(body)
			}
			return err
		},
		CallHoldCheckpoint: func(storage vr.Storage) error { _, err := storage.HoldCheckpoint(); return err },
		CallChunkRead: func(storage vr.Storage) error {
			held, err := storage.HoldCheckpoint()
			if err == nil {
				_, err = held.Chunk(0)
			}
			return err
		},
		CallReceiveCheckpoint: tryReceive,
		CallChunkWrite:        tryReceive,
		CallReceiverCommit:    tryReceive,
	}
	require.Len(t, calls, int(callKinds))
	for call, perform := range calls {
		for _, kind := range []error{syscall.EIO, syscall.ENOSPC, nil} {
			failing := NewFailing(NewMemory())
			loaded(t, failing)
			require.NoError(t, failing.Write(vr.Batch{Entries: entries[:1], Sync: true}))
			writeCheckpoint(t, failing, core.CheckpointMeta{Op: 1}, []byte("one"))
			failing.Fail(Fault{Call: call, Nth: 1, Err: kind})
			err := perform(failing)
			require.ErrorIs(t, err, ErrInjected)
			if kind != nil {
				require.ErrorIs(t, err, kind)
			}
			require.Equal(t, kind == syscall.ENOSPC && call.ofCheckpoint(), errors.Is(err, vr.ErrNoSpace), "call %d, %v", call, kind) //nolint:errorlint // the very kind
			require.Equal(t, 1, failing.Struck())
			require.NoError(t, perform(failing), "call %d: once", call)
		}
	}
}

func tryCheckpoint(storage vr.Storage, meta core.CheckpointMeta, state []byte) error {
	writer, err := storage.CreateCheckpoint(meta)
	if err != nil {
		return err
	}
	if _, err = writer.Write(state); err == nil {
		err = writer.Commit()
	}
	return errors.Join(err, writer.Abort())
}

// tryReceive receives a checkpoint of operation 3.
func tryReceive(storage vr.Storage) error {
	identity, chunks := made(core.CheckpointMeta{Op: 3}, []byte("received"))
	receiver, err := storage.ReceiveCheckpoint(identity)
	if err != nil {
		return err
	}
	if err = receiver.Write(chunks[0]); err == nil {
		err = receiver.Commit()
	}
	return errors.Join(err, receiver.Abort())
}

// TestAFullDiskStaysFull until it is cleared: what needs space fails, what reads does not.
func TestAFullDiskStaysFull(t *testing.T) {
	entries := chain(0, 1, 2, 1, 10)
	failing := NewFailing(NewMemory())
	require.NoError(t, failing.Write(vr.Batch{Entries: entries[:1], Sync: true}))
	writeCheckpoint(t, failing, core.CheckpointMeta{Op: 1}, []byte("one"))
	writer, err := failing.CreateCheckpoint(core.CheckpointMeta{Op: 2})
	require.NoError(t, err)
	failing.Fill(true)
	for range 3 {
		require.ErrorIs(t, failing.Write(vr.Batch{Entries: entries[1:], Sync: true}), syscall.ENOSPC)
		require.ErrorIs(t, failing.MarkClean(), syscall.ENOSPC)
		require.ErrorIs(t, tryCheckpoint(failing, core.CheckpointMeta{Op: 2}, nil), vr.ErrNoSpace)
		_, err = writer.Write([]byte("two"))
		require.ErrorIs(t, err, vr.ErrNoSpace)
		require.ErrorIs(t, writer.Commit(), vr.ErrNoSpace)
		require.Equal(t, entries[:1], loaded(t, failing).Entries)
		_, state := readCheckpoint(t, failing)
		require.Equal(t, "one", string(state))
	}
	require.Equal(t, 15, failing.Struck())
	failing.Fill(false)
	require.NoError(t, failing.Write(vr.Batch{Entries: entries[1:], Sync: true}))
	require.NoError(t, tryCheckpoint(failing, core.CheckpointMeta{Op: 2}, []byte("two")))
}

// TestOnlyAFullDiskSparesTheLog: of the errors that a checkpoint's file can meet.
func TestOnlyAFullDiskSparesTheLog(t *testing.T) { eachLog(t, testOnlyAFullDiskSparesTheLog) }

func testOnlyAFullDiskSparesTheLog(t *testing.T, log Log) {
	for _, test := range []struct {
		met    error
		spared bool
	}{{syscall.ENOSPC, true}, {syscall.EDQUOT, true}, {syscall.EIO, false}, {os.ErrClosed, false}} {
		disk := opened(t, created(t, log))
		err := disk.failCheckpoint(&os.PathError{Op: "write", Path: "x", Err: test.met})
		require.ErrorIs(t, err, test.met)
		require.Equal(t, test.spared, errors.Is(err, vr.ErrNoSpace))
		err = disk.Write(vr.Batch{Sync: true})
		require.Equal(t, test.spared, err == nil, "%v", err)
	}
}

// TestPowerCutInMemory loses exactly what was not synced, whatever the order of batches and cuts.
func TestPowerCutInMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(31, 32))
	memory := NewMemory()
	var commit core.OpNumber
	durable, lost := loaded(t, memory), 0
	for step := 1; step < 600; step++ {
		before := memory.held()
		batch := randomBatch(random, memory, step, &commit)
		batch.Sync = random.IntN(5) == 0
		batch.TruncateBelow = 0
		require.NoError(t, memory.Write(batch))
		after := memory.held()
		if batch.Sync || before.life != lifeRunning || !samePromises(&before.hardState, &after.hardState) {
			durable = vr.Loaded{HardState: after.hardState, Entries: append([]core.Entry{}, after.entries...)}
		}
		if random.IntN(9) > 0 {
			continue
		}
		if len(durable.Entries) != len(after.entries) || durable.HardState != after.hardState {
			lost++
		}
		memory.PowerCut()
		require.Equal(t, normal(durable), normal(loaded(t, memory)), "step %d", step)
		commit = durable.HardState.Commit
	}
	require.Greater(t, lost, 20)
}

// TestADiskThatLies loses what it said was durable, back to where it began to lie.
func TestADiskThatLies(t *testing.T) {
	entries := chain(0, 1, 9, 1, 10)
	memory := NewMemory()
	require.NoError(t, memory.Write(vr.Batch{Entries: entries[:3], HardState: &core.HardState{View: 1}, Sync: true}))
	memory.LoseSyncs(true)
	require.NoError(t, memory.Write(vr.Batch{Entries: entries[3:], HardState: &core.HardState{View: 2}, Sync: true}))
	writeCheckpoint(t, memory, core.CheckpointMeta{Op: 9}, []byte("nine"))
	require.NoError(t, memory.MarkClean())
	require.EqualValues(t, 3, memory.Lies())
	memory.PowerCut()
	memory.LoseSyncs(false)
	got := loaded(t, memory)
	require.Equal(t, vr.Loaded{HardState: core.HardState{View: 1}, Entries: entries[:3]}, got)
	_, _, err := memory.OpenCheckpoint()
	require.ErrorIs(t, err, vr.ErrNoCheckpoint)
}

// TestSpoiledRecordsAreDamage: every record torn at every length and with every bit flipped ends as damage that
// names what it is in; a repaired one ends as it was.
func TestSpoiledRecordsAreDamage(t *testing.T) {
	entries := chain(0, 1, 6, 1, 20)
	meta := core.CheckpointMeta{Op: 3, View: 1, Hash: entries[2].Hash}
	build := func() *Memory {
		memory := NewMemory()
		require.NoError(t, memory.Write(vr.Batch{Entries: entries, HardState: &core.HardState{View: 1, LastNormalView: 1, Commit: 4}, Sync: true}))
		writeCheckpoint(t, memory, meta, randomBytes(100))
		require.False(t, memory.Spoil(RecordEntry, 7, Torn(0)), "there is none")
		require.False(t, memory.Spoil(RecordEntry, 6, Torn(1000)), "nothing changed")
		return memory
	}
	lengths := map[Record]int{RecordHardState: hardStateBytes, RecordExtent: extentBytes, RecordMark: markBytes, RecordEntry: entryHeaderBytes + 20, RecordCheckpoint: 180}
	met := 0
	for record, length := range lengths {
		for at := range 9 * length {
			change := Torn(at)
			if at >= length {
				change = Flipped(at - length)
			}
			memory := build()
			require.True(t, memory.Spoil(record, 5, change), "record %d, %d", record, at)
			got, err := memory.Load()
			if record == RecordEntry || record == RecordCheckpoint {
				require.NoError(t, err)
				require.Len(t, got.Damage, 1, "record %d, %d", record, at)
				err = got.Damage[0].Err
			}
			var damage *DamageError
			require.ErrorAs(t, err, &damage, "record %d, %d", record, at)
			require.Equal(t, memoryName, damage.File)
			switch record {
			case RecordEntry:
				require.Equal(t, core.OpNumber(5), damage.Op)
				require.Equal(t, entries[:4], got.Entries)
			case RecordCheckpoint:
				require.Equal(t, meta.Op, damage.Last)
				require.Zero(t, got.Checkpoint)
				require.Equal(t, entries, got.Entries, "they begin at operation 1")
			default:
				require.Contains(t, damage.What, "record")
			}
			met++
		}
	}
	require.Greater(t, met, 2000)
	memory := build()
	require.True(t, memory.Spoil(RecordEntry, 2, Flipped(9)))
	require.True(t, memory.Spoil(RecordEntry, 2, Flipped(9)))
	require.Equal(t, entries, loaded(t, memory).Entries)
	_, state := readCheckpoint(t, memory)
	require.Equal(t, randomBytes(100), state)
	require.True(t, memory.Spoil(RecordCheckpoint, 0, Flipped(900)))
	require.True(t, memory.Spoil(RecordHardState, 0, Flipped(3)))
	_, err := memory.Load()
	require.ErrorIs(t, err, ErrDamaged)
	memory.PowerCut()
	loaded(t, memory)
}

// TestAnOldCopyIsWhole: a directory that is rolled back as a whole looks like what it was. This is what docs/FORMATS.md
// says that no storage can tell; if this test ever fails, the text is too modest.
func TestAnOldCopyIsWhole(t *testing.T) { eachLog(t, testAnOldCopyIsWhole) }

func testAnOldCopyIsWhole(t *testing.T, log Log) {
	for _, durability := range allDurabilities {
		directory := created(t, log)
		storage := openedIn(t, directory, durability)
		loaded(t, storage)
		entries := chain(0, 1, 9, 1, 10)
		require.NoError(t, storage.Write(vr.Batch{Entries: entries[:4], HardState: &core.HardState{View: 1}, Sync: true}))
		require.NoError(t, storage.MarkClean())
		old := image(t, directory)
		require.NoError(t, storage.Write(vr.Batch{Entries: entries[4:], HardState: &core.HardState{View: 8}, Sync: true}))
		require.NoError(t, storage.Close())
		got := loaded(t, openedIn(t, old, durability))
		require.True(t, got.Clean)
		require.Equal(t, entries[:4], got.Entries)
		require.Equal(t, core.ViewNumber(1), got.HardState.View, "the promise of view 8 is forgotten")
	}
	memory := NewMemory()
	require.NoError(t, memory.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
	old := memory.Copy()
	require.NoError(t, memory.Write(vr.Batch{HardState: &core.HardState{View: 8}, Sync: true}))
	require.Equal(t, core.ViewNumber(1), loaded(t, old).HardState.View)
	require.Equal(t, core.ViewNumber(8), loaded(t, memory).HardState.View)
}

// TestFilesOfDifferentTimes: a log with an older checkpoint than it needs is damage; an older log with a newer
// checkpoint is what a crash between the two leaves, unless there are segments that it does not know of.
func TestFilesOfDifferentTimes(t *testing.T) { eachLog(t, testFilesOfDifferentTimes) }

func testFilesOfDifferentTimes(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	entries := chain(0, 1, 60, 1, 1000)
	writeInParts(t, disk, entries)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 10, View: 1, Hash: entries[9].Hash}, []byte("ten"))
	old := readFiles(t, directory)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 50, View: 1, Hash: entries[49].Hash}, []byte("fifty"))
	require.NoError(t, disk.Write(vr.Batch{TruncateBelow: 41, Sync: true}))

	newer := image(t, directory)
	require.NoError(t, os.Remove(filepath.Join(newer, checkpointName(50))))
	require.NoError(t, os.WriteFile(filepath.Join(newer, checkpointName(10)), []byte(old[checkpointName(10)]), 0o600))
	got := loaded(t, opened(t, newer))
	require.Len(t, got.Damage, 1)
	require.ErrorIs(t, got.Damage[0].Err, ErrDamaged)

	older := image(t, directory)
	require.NoError(t, os.WriteFile(filepath.Join(older, databaseName), []byte(old[databaseName]), 0o600))
	if log == LogWAL {
		require.Equal(t, filepath.Join(older, segmentName(1)), damageOf(t, older).File, "it was removed since")
		return
	}
	got = loaded(t, opened(t, older))
	require.Equal(t, core.OpNumber(50), got.Checkpoint.Op)
	require.Len(t, got.Entries, 60)
}

// TestAFullFileLayer: an append that meets a full disk is whole or not at all, and after a restart with space
// everything that was acknowledged is there.
func TestAFullFileLayer(t *testing.T) { eachLog(t, testAFullFileLayer) }

func testAFullFileLayer(t *testing.T, log Log) {
	for _, durability := range allDurabilities[:2] {
		directory := created(t, log)
		failing := NewFailing(openedIn(t, directory, durability))
		entries := chain(0, 1, 90, 1, 300)
		loaded(t, failing)
		acknowledged := 0
		for i := 0; i < len(entries); i += 3 {
			failing.Fill(i >= 60)
			if err := failing.Write(vr.Batch{Entries: entries[i : i+3], Sync: true}); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				break
			}
			acknowledged = i + 3
		}
		require.Equal(t, 60, acknowledged)
		require.NoError(t, failing.Close())
		require.Equal(t, entries[:acknowledged], killed(t, directory, durability).Entries)
	}
}
