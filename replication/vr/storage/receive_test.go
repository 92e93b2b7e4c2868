package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// made is a checkpoint as another replica gives it.
func made(meta core.CheckpointMeta, state []byte) (vr.CheckpointIdentity, []replication.Chunk) {
	memory := NewMemory()
	writer, err := memory.CreateCheckpoint(meta)
	if err == nil {
		_, err = writer.Write(state)
	}
	if err = errors.Join(err, writer.Commit()); err != nil {
		panic(err)
	}
	held, err := memory.HoldCheckpoint()
	if err != nil {
		panic(err)
	}
	var chunks []replication.Chunk
	for {
		chunk, err := held.Chunk(uint64(len(chunks)))
		if err != nil {
			return held.Identity(), chunks
		}
		chunks = append(chunks, chunk)
	}
}

func receiver(t *testing.T, storage vr.Storage, identity vr.CheckpointIdentity) vr.CheckpointReceiver {
	t.Helper()
	r, err := storage.ReceiveCheckpoint(identity)
	require.NoError(t, err)
	return r
}

// TestEveryStorageGivesTheSameChunks: identity, chunks and length are those of the bytes, wherever they lie.
func TestEveryStorageGivesTheSameChunks(t *testing.T) {
	for _, size := range []int{0, 1, chunkBytesMax - 1, chunkBytesMax, chunkBytesMax + 1, 3*chunkBytesMax + 17} {
		meta := core.CheckpointMeta{Op: 9, View: 3, Hash: 12345}
		identity, chunks := made(meta, randomBytes(size))
		twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
			_, err := storage.HoldCheckpoint()
			require.ErrorIs(t, err, vr.ErrNoCheckpoint)
			writeCheckpoint(t, storage, meta, randomBytes(size))
			for range 2 {
				held, err := storage.HoldCheckpoint()
				require.NoError(t, err)
				require.Equal(t, identity, held.Identity())
				require.EqualValues(t, size, held.Bytes())
				for i := range chunks {
					chunk, err := held.Chunk(uint64(i))
					require.NoError(t, err)
					require.Equal(t, chunks[i].Checksum, chunk.Checksum)
					require.True(t, bytes.Equal(chunks[i].Data, chunk.Data))
				}
				_, err = held.Chunk(uint64(len(chunks)))
				require.ErrorIs(t, err, io.EOF)
				require.NoError(t, held.Close())
				storage = reopen(storage)
			}
		})
	}
}

// TestACheckpointIsReceivedInParts, over restarts, and is then what it was on the other side.
func TestACheckpointIsReceivedInParts(t *testing.T) {
	state, meta := randomBytes(3*chunkBytesMax+17), core.CheckpointMeta{Op: 9, View: 3, Hash: 12345}
	identity, chunks := made(meta, state)
	twins(t, func(t *testing.T, storage vr.Storage, reopen func(vr.Storage) vr.Storage) {
		writeCheckpoint(t, storage, core.CheckpointMeta{Op: 1}, []byte("one"))
		_, ok := storage.Unfinished()
		require.False(t, ok)
		for i, chunk := range chunks {
			r := receiver(t, storage, identity)
			require.EqualValues(t, i, r.Next())
			require.EqualValues(t, i*chunkBytesMax, r.Bytes())
			require.NoError(t, r.Write(chunk))
			require.NoError(t, r.Keep())
			require.NoError(t, r.Abort(), "and this does nothing any more")
			if storage.Durability() != DurabilityMemory { // where a part is in memory, too
				storage = reopen(storage)
			}
			found, ok := storage.Unfinished()
			require.True(t, ok)
			require.Equal(t, identity, found)
			newest, _ := readCheckpoint(t, storage)
			require.EqualValues(t, 1, newest.Op, "a part is no checkpoint")
		}
		r := receiver(t, storage, identity)
		require.EqualValues(t, len(chunks), r.Next())
		require.NoError(t, r.Commit())
		require.Error(t, r.Commit(), "once")
		_, ok = storage.Unfinished()
		require.False(t, ok)
		newest, got := readCheckpoint(t, storage)
		require.Equal(t, meta, newest)
		require.True(t, bytes.Equal(state, got))
		_, err := storage.ReceiveCheckpoint(vr.CheckpointIdentity{Meta: core.CheckpointMeta{Op: 8}})
		require.ErrorIs(t, err, ErrGap)
	})
}

// TestWhatIsNoChunkIsRefused, and costs nothing of what is here.
func TestWhatIsNoChunkIsRefused(t *testing.T) {
	identity, chunks := made(core.CheckpointMeta{Op: 9}, randomBytes(2*chunkBytesMax+5))
	spoilt := bytes.Clone(chunks[1].Data)
	spoilt[1000] ^= 4
	twins(t, func(t *testing.T, storage vr.Storage, _ func(vr.Storage) vr.Storage) {
		r := receiver(t, storage, identity)
		require.NoError(t, r.Write(chunks[0]))
		for _, bad := range []replication.Chunk{
			chunks[0],
			chunks[2],
			{},
			{Index: 1, Checksum: chunks[1].Checksum},
			{Index: 1, Checksum: chunks[1].Checksum + 1, Data: chunks[1].Data},
			{Index: 1, Checksum: chunks[1].Checksum, Data: spoilt},
			{Index: 1, Checksum: chunks[1].Checksum, Data: spoilt[1:]},
			{Index: 1, Data: make([]byte, chunkBytesMax+1)},
			{Index: 1 << 40},
		} {
			require.ErrorIs(t, r.Write(bad), vr.ErrChunk)
			require.EqualValues(t, 1, r.Next())
		}
		require.NoError(t, r.Write(chunks[1]))
		require.NoError(t, r.Write(chunks[2]))
		require.ErrorIs(t, r.Write(replication.Chunk{Index: 3, Checksum: chunkSum(3, []byte("x")), Data: []byte("x")}), vr.ErrChunk, "after one that is not full")
		require.NoError(t, r.Commit())

		// Chunks that are right each for itself, and are together another checkpoint.
		other, _ := made(core.CheckpointMeta{Op: 10}, randomBytes(17))
		_, chunks := made(core.CheckpointMeta{Op: 10}, randomBytes(18))
		r = receiver(t, storage, other)
		require.NoError(t, r.Write(chunks[0]))
		require.ErrorIs(t, r.Commit(), vr.ErrChunk)
		_, ok := storage.Unfinished()
		require.False(t, ok, "it is of no use")
		newest, _ := readCheckpoint(t, storage)
		require.EqualValues(t, 9, newest.Op)
		require.NoError(t, storage.Write(vr.Batch{Sync: true}), "it was not the disk that failed")
	})
}

// TestPartsThatNobodyWantsAreRemoved: for another checkpoint, for a newer one of one's own, and at Open.
func TestPartsThatNobodyWantsAreRemoved(t *testing.T) {
	first, chunks := made(core.CheckpointMeta{Op: 5}, randomBytes(2*chunkBytesMax))
	second, others := made(core.CheckpointMeta{Op: 5}, randomBytes(2*chunkBytesMax+1))
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	parts := func() []string {
		names, err := filepath.Glob(filepath.Join(directory, "*"+partialName))
		require.NoError(t, err)
		return names
	}
	keep := func(identity vr.CheckpointIdentity, chunk replication.Chunk) {
		r := receiver(t, disk, identity)
		require.NoError(t, r.Write(chunk))
		require.NoError(t, r.Keep())
		require.Len(t, parts(), 1)
	}
	keep(first, chunks[0])
	keep(second, others[0])
	r := receiver(t, disk, second)
	require.EqualValues(t, 1, r.Next())
	require.NoError(t, r.Abort())
	require.Empty(t, parts())
	keep(second, others[0])
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 4}, []byte("below"))
	require.Len(t, parts(), 1)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 5}, []byte("as new"))
	require.Empty(t, parts())

	third, chunks := made(core.CheckpointMeta{Op: 7}, randomBytes(2*chunkBytesMax))
	keep(third, chunks[0])
	kept, err := os.ReadFile(parts()[0])
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	for _, name := range []string{
		"checkpoint-00000000000000000006.00" + partialName, "checkpoint-x" + partialName, "checkpoint-00000000000000000005" + partialName,
		filepath.Base(disk.partialPath(vr.CheckpointIdentity{Meta: core.CheckpointMeta{Op: 5}})),
		filepath.Base(disk.partialPath(vr.CheckpointIdentity{Meta: core.CheckpointMeta{Op: 8}})),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), kept, 0o600))
	}
	disk = opened(t, directory)
	require.Len(t, parts(), 1)
	found, ok := disk.Unfinished()
	require.True(t, ok)
	require.Equal(t, third, found)
}

// TestAPartIsVerifiedWhenItIsGoneOnWith: whatever is cut off or changed of it, what is gone on with is a beginning of the
// checkpoint, and the checkpoint comes out whole.
func TestAPartIsVerifiedWhenItIsGoneOnWith(t *testing.T) {
	state := randomBytes(3*chunkBytesMax + 17)
	identity, chunks := made(core.CheckpointMeta{Op: 9, View: 1, Hash: 5}, state)
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	r := receiver(t, disk, identity)
	for _, chunk := range chunks {
		require.NoError(t, r.Write(chunk))
	}
	require.NoError(t, r.Keep())
	path := disk.partialPath(identity)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	ended := append(bytes.Clone(whole), encodeCheckpointEnd(checkpointVersionOldest, 4, uint64(len(state)), 77)...)
	require.NoError(t, disk.Close())
	second := checkpointHeaderBytes + fullChunkBytes
	for name, test := range map[string]struct {
		data []byte
		next int
	}{
		"nothing":                 {nil, 0},
		"a part of the header":    {whole[:checkpointHeaderBytes-1], 0},
		"the header":              {whole[:checkpointHeaderBytes], 0},
		"a chunk":                 {whole[:second], 1},
		"a chunk and a beginning": {whole[:second+5], 1},
		"two chunks but a byte":   {whole[:second+fullChunkBytes-1], 1},
		"all":                     {whole, 4},
		"all, with an end":        {ended, 4},
		"a bit":                   {flipped(whole, second+chunkHeaderBytes+100), 1},
		"an index":                {flipped(whole, second+4), 1},
		"a length":                {flipped(whole, second+2), 1},
		"a bit of the header":     {flipped(whole, 14), 0},
		"zeros":                   {append(bytes.Clone(whole[:second]), make([]byte, fullChunkBytes)...), 1},
	} {
		t.Run(name, func(t *testing.T) {
			here := t.TempDir()
			copyDirectory(t, directory, here)
			require.NoError(t, os.WriteFile(filepath.Join(here, filepath.Base(path)), test.data, 0o600))
			disk := opened(t, here)
			r := receiver(t, disk, identity)
			require.EqualValues(t, test.next, r.Next())
			for _, chunk := range chunks[test.next:] {
				require.NoError(t, r.Write(chunk))
			}
			require.NoError(t, r.Commit())
			_, got := readCheckpoint(t, disk)
			require.True(t, bytes.Equal(state, got))
		})
	}
}

func flipped(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 1
	return data
}

// TestKillDuringAReceivedCheckpoint tries the directory after each step of a fetch.
func TestKillDuringAReceivedCheckpoint(t *testing.T) {
	state := randomBytes(2*chunkBytesMax + 17)
	entries := chain(0, 1, 20, 1, 100)
	meta := core.CheckpointMeta{Op: 20, View: 1, Hash: entries[19].Hash}
	identity, chunks := made(meta, state)
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{Entries: entries, Sync: true}))
	first := core.CheckpointMeta{Op: 10, View: 1, Hash: entries[9].Hash}
	writeCheckpoint(t, disk, first, []byte("first"))
	// check goes on with what a process that is killed now leaves.
	check := func(next int) {
		t.Helper()
		directory := image(t, directory)
		all, err := readAll(directory)
		require.NoError(t, err)
		require.Equal(t, everything{loaded: vr.Loaded{Checkpoint: first, Entries: entries}, meta: first, state: "first"}, all)
		disk := opened(t, directory)
		r := receiver(t, disk, identity)
		require.EqualValues(t, next, r.Next())
		for _, chunk := range chunks[next:] {
			require.NoError(t, r.Write(chunk))
		}
		require.NoError(t, r.Commit())
		newest, got := readCheckpoint(t, disk)
		require.Equal(t, meta, newest)
		require.True(t, bytes.Equal(state, got))
	}
	check(0)
	r := receiver(t, disk, identity)
	check(0)
	for i, chunk := range chunks {
		require.NoError(t, r.Write(chunk))
		check(i + 1)
	}
	r.(*receiverFile).end()
	check(3)
	require.NoError(t, r.(*receiverFile).publish())
	all, err := readAll(image(t, directory))
	require.NoError(t, err)
	require.Equal(t, meta, all.meta)
	require.Equal(t, string(state), all.state)
}

// TestAHeldCheckpointOutlivesTheNext, whose file is cut only then.
func TestAHeldCheckpointOutlivesTheNext(t *testing.T) {
	directory := created(t, LogDefault)
	storage := opened(t, directory)
	disk := storage
	state := randomBytes(40 * chunkBytesMax)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 5}, state)
	held, err := disk.HoldCheckpoint()
	require.NoError(t, err)
	again, err := disk.HoldCheckpoint()
	require.NoError(t, err)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 6}, []byte("six"))
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 7}, []byte("seven"))
	require.NoError(t, again.Close())
	disk.cutting.Wait()
	for index := range uint64(40) {
		chunk, err := held.Chunk(index)
		require.NoError(t, err)
		require.True(t, bytes.Equal(state[index*chunkBytesMax:][:chunkBytesMax], chunk.Data))
	}
	file := held.(*heldFile).file
	watched, err := os.Open(fmt.Sprint("/proc/self/fd/", file.Fd()))
	require.NoError(t, err)
	defer watched.Close()
	require.NoError(t, held.Close())
	require.NoError(t, held.Close())
	disk.cutting.Wait()
	status, err := watched.Stat()
	require.NoError(t, err)
	require.LessOrEqual(t, status.Size(), int64(cutBytes), "it was given back in steps")
	require.Empty(t, disk.files)
}

// TestADamagedCheckpointIsNotHeld, or its chunk not given.
func TestADamagedCheckpointIsNotHeld(t *testing.T) {
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 5}, randomBytes(2*chunkBytesMax+9))
	path := filepath.Join(directory, checkpointName(5))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := 0; at < len(whole); at += 1 + at/9*2 {
		require.NoError(t, os.WriteFile(path, flipped(whole, at), 0o600))
		err := readHeld(disk)
		require.ErrorIs(t, err, ErrDamaged, "byte %d", at)
	}
	for _, cut := range []int{0, 39, 40, 68, 100, len(whole) - fullChunkBytes, len(whole) - 1} {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o600))
		require.ErrorIs(t, readHeld(disk), ErrDamaged, "%d bytes", cut)
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	require.NoError(t, readHeld(disk))
}

func readHeld(storage vr.Storage) error {
	held, err := storage.HoldCheckpoint()
	if err != nil {
		return err
	}
	defer held.Close()
	for index := uint64(0); ; index++ {
		if _, err := held.Chunk(index); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// FuzzPartial: whatever a part's file holds, it is gone on with from a beginning of the checkpoint, and comes out whole.
func FuzzPartial(f *testing.F) {
	state, meta := randomBytes(600), core.CheckpointMeta{Op: 9, View: 1, Hash: 5}
	identity, chunks := made(meta, state)
	file := encodeCheckpoint(meta, [][]byte{state})
	f.Add(file)
	f.Add(file[:len(file)-checkpointEndBytes])
	f.Add(file[:100])
	f.Add(encodeCheckpoint(meta, [][]byte{state[:300], state[300:]}))
	f.Add(binary.LittleEndian.AppendUint32(bytes.Clone(file[:checkpointHeaderBytes]), 600))
	directory := f.TempDir()
	require.NoError(f, Create(directory))
	f.Fuzz(func(t *testing.T, data []byte) {
		here := t.TempDir()
		copyDirectory(t, directory, here)
		path := (&Disk{directory: here}).partialPath(identity)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		disk, err := Open(here, Options{})
		require.NoError(t, err)
		defer func() { require.NoError(t, disk.Close()) }()
		r, err := disk.ReceiveCheckpoint(identity)
		require.NoError(t, err)
		for r.Next() < uint64(len(chunks)) && err == nil {
			err = r.Write(chunks[r.Next()])
		}
		if err == nil {
			err = r.Commit()
		}
		if err != nil { // what was there is made of valid chunks of another checkpoint
			require.ErrorIs(t, err, vr.ErrChunk)
			return
		}
		held, err := disk.HoldCheckpoint()
		require.NoError(t, err)
		require.Equal(t, identity, held.Identity())
		require.NoError(t, held.Close())
	})
}
