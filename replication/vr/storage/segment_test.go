package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// marked is a log of one large segment with ten batches, the first five of which replica.db knows of.
func marked(t *testing.T) (directory, path string, entries []core.Entry, starts []int) {
	t.Helper()
	directory, entries = created(t, LogWAL), chain(0, 1, 10, 1, 600)
	options := small()
	options.bytes = 1 << 20
	disk, err := openDisk(directory, Options{segments: options})
	require.NoError(t, err)
	loaded(t, disk)
	for i := range entries {
		starts = append(starts, max(sectorBytes, int(disk.log.(*segmentLog).end)))
		require.NoError(t, disk.Write(vr.Batch{Entries: entries[i : i+1], HardState: &core.HardState{Commit: core.OpNumber(i)}, Sync: true}))
		if i == 4 {
			markNow(t, disk)
		}
	}
	image := image(t, directory)
	require.NoError(t, disk.Close())
	return image, segmentPath(image, 1), entries, starts
}

// damageOf is what Load finds in a directory, whether or not the others can repair it.
func damageOf(t *testing.T, directory string) *DamageError {
	t.Helper()
	disk, err := openDisk(directory, Options{segments: small()})
	require.NoError(t, err)
	got, err := disk.Load()
	if err == nil {
		require.Len(t, got.Damage, 1)
		err = got.Damage[0].Err
	}
	require.NoError(t, disk.Close())
	var damage *DamageError
	require.ErrorAs(t, err, &damage)
	return damage
}

func changeFile(t *testing.T, path string, change func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, change(data), 0o600))
}

// TestTornOrDamaged flips a byte of each batch in turn. All but the last are damage: the later ones prove them. The last
// one, of which replica.db does not know yet, is taken for a write that a crash came before the end of. This is the moment
// that docs/FORMATS.md speaks of.
func TestTornOrDamaged(t *testing.T) {
	directory, _, entries, starts := marked(t)
	s := sweep{t: t, directory: fastDirectory(t), files: readFiles(t, directory)}
	path := segmentPath(s.directory, 1)
	for i := range 10 {
		for _, at := range []int{0, 9, 17, 24, 29, 33, 40, 700} { // in the header, in the entry, in its last sector
			s.restore()
			changeFile(t, path, func(data []byte) []byte {
				data[starts[i]+at] ^= 4
				return data
			})
			disk, err := openDisk(s.directory, Options{segments: small()})
			require.NoError(t, err)
			got := loaded(t, disk)
			require.Equal(t, entries[:i], append([]core.Entry{}, got.Entries...), "batch %d, byte %d", i, at)
			require.NoError(t, disk.Close())
			if i == 9 {
				require.Empty(t, got.Damage)
				continue
			}
			damage := damageOf(t, s.directory)
			require.Equal(t, path, damage.File)
			require.EqualValues(t, 10, damage.Last, "the last batch is there and says so")
			require.Equal(t, core.OpNumber(i+1), damage.Op)
		}
	}
}

// TestABatchTornAtEveryByte: of the last batch only so many bytes have reached the file, which is as long as it was to be or
// ends there. All before it is found, and the log goes on; from its last byte on, that is not zero, it is there.
func TestABatchTornAtEveryByte(t *testing.T) {
	directory, path, entries, starts := marked(t)
	files, start := readFiles(t, directory), starts[9]
	whole := files[filepath.Base(path)]
	end := len(strings.TrimRight(whole, "\x00"))
	require.Greater(t, end-start, 600)
	stride := 7
	if *sweepAll {
		stride = 1
	}
	s := sweep{t: t, directory: fastDirectory(t), files: files}
	for at := start; at <= end; at++ {
		if at >= start+batchHeaderBytes+entryHeaderBytes && at < end-1 && at%stride != 0 {
			continue
		}
		for _, behind := range []int{len(whole) - at, 0, 1} {
			s.restore()
			require.NoError(t, os.WriteFile(segmentPath(s.directory, 1), append([]byte(whole[:at]), make([]byte, behind)...), 0o600))
			disk, err := openDisk(s.directory, Options{segments: small()})
			require.NoError(t, err)
			want := 9
			if at == end && behind > 1 {
				want = 10
			}
			got := loaded(t, disk)
			require.Empty(t, got.Damage)
			require.Equal(t, entries[:want], got.Entries, "%d bytes, %d behind them", at-start, behind)
			require.NoError(t, disk.Write(vr.Batch{Entries: chain(entries[want-1].Hash, core.OpNumber(want+1), 20, 3, 10), Sync: true}))
			require.NoError(t, disk.Close())
		}
	}
}

// TestForgedLengths: a header that passes every checksum and lies about what follows is damage, or no batch, and no reason
// to reserve memory for it.
func TestForgedLengths(t *testing.T) {
	entry := chain(0, 1, 1, 1, 100)
	sound := appendBatch(nil, batchHeader{salt: 7, first: 1}, entry)
	forged := func(at int, value uint32) []byte {
		data := bytes.Clone(sound)
		binary.LittleEndian.PutUint32(data[at:], value)
		body := data[batchHeaderBytes:min(batchHeaderBytes+int(binary.LittleEndian.Uint32(data[28:])), len(data))]
		binary.LittleEndian.PutUint32(data[32:], crc32.Update(crc32.Checksum(data[:32], castagnoli), castagnoli, body))
		return data
	}
	for _, value := range []uint32{0, 2, 131, 134, 476, 477, 1 << 20, math.MaxInt32, math.MaxUint32} {
		for _, at := range []int{24, 28} { // count, bytes
			_, _, _, err := decodeBatch(forged(at, value), 7)
			require.Error(t, err, "%d at byte %d", value, at)
		}
	}
	_, got, _, err := decodeBatch(forged(24, 1), 7)
	require.NoError(t, err)
	require.Equal(t, entry, got)
	_, _, _, err = decodeBatch(sound, 8)
	require.ErrorIs(t, err, errNoBatch)

	directory, _, _, _ := marked(t)
	list := segmentList{next: 2, open: true, segments: []segment{{id: 1, last: 5}}}
	for _, end := range []uint64{0, 511, 1 << 40, 1 << 62, 1 << 63, math.MaxUint64 &^ 511} {
		for _, open := range []bool{true, false} {
			list.segments[0].end, list.open = end, open
			rewrite(t, directory, bucketState, keySegments, encodeSegmentList(&list))
			disk, err := openDisk(directory, Options{})
			if err == nil {
				var found vr.Loaded
				found, err = disk.Load()
				if err == nil {
					require.NotEmpty(t, found.Damage)
					err = found.Damage[0].Err
				}
				require.NoError(t, disk.Close())
			}
			require.ErrorIs(t, err, ErrDamaged, "an end at %d, open: %v", end, open)
		}
	}
}

// TestWhatLooksLikeABatch: an operation may hold what looks like a batch, at the start of a sector too. In a batch that is
// torn it proves nothing, since it does not have the salt of the segment.
func TestWhatLooksLikeABatch(t *testing.T) {
	directory, path, entries, starts := marked(t)
	changeFile(t, path, func(data []byte) []byte {
		copy(data[starts[9]+sectorBytes:], appendBatch(nil, batchHeader{first: 11}, nil))
		return data
	})
	got := loaded(t, notLoaded(t, directory))
	require.Empty(t, got.Damage)
	require.Equal(t, entries[:9], got.Entries)
}

// TestTheMarkEndsTheDoubt: with the mark written, a flip in the last batch, and a log that ends early, are damage.
func TestTheMarkEndsTheDoubt(t *testing.T) {
	for _, i := range []int{4, 9} {
		for name, spoil := range map[string]func(data []byte, start int) []byte{
			"flip":  func(data []byte, start int) []byte { data[start+50] ^= 1; return data },
			"cut":   func(data []byte, start int) []byte { return data[:start] },
			"zeros": func(data []byte, start int) []byte { clear(data[start:]); return data },
		} {
			directory, path, _, starts := marked(t)
			if i == 9 {
				disk := opened(t, directory)
				require.NoError(t, disk.Close(), "Load copies the last batch to segment 2")
				path, starts = segmentPath(directory, 2), append(starts[:9], sectorBytes)
			}
			changeFile(t, path, func(data []byte) []byte { return spoil(data, starts[i]) })
			damage := damageOf(t, directory)
			require.Equal(t, path, damage.File, "%s %d", name, i)
			require.Equal(t, core.OpNumber(i+1), damage.Op)
		}
	}
}

// TestTornRemainsDoNoHarm: what is left of a batch lies behind an end that is known, and never becomes a part of the log.
func TestTornRemainsDoNoHarm(t *testing.T) {
	directory, path, entries, starts := marked(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	changeFile(t, path, func(data []byte) []byte {
		data[starts[9]+600] ^= 1
		return data
	})
	disk := opened(t, directory)
	other := chain(entries[8].Hash, 10, 12, 2, 30)
	writeInParts(t, disk, other)
	status, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, starts[8], status.Size(), "the last batch that is whole goes to another segment, and what is torn is cut off")
	want := append(entries[:9:9], other...)
	require.Equal(t, want, killed(t, directory, DurabilitySync).Entries)
	require.NoError(t, disk.Close())
	// The old batch comes back, as a disk may bring it: nobody looks there.
	changeFile(t, path, func(data []byte) []byte { return append(data, whole[len(data):]...) })
	require.Equal(t, want, killed(t, directory, DurabilitySync).Entries)

	// Torn right behind the mark: nothing is written over it either.
	directory, path, entries, starts = marked(t)
	changeFile(t, path, func(data []byte) []byte { return append(data[:starts[5]+600], make([]byte, 5000)...) })
	disk = opened(t, directory)
	status, err = os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, starts[5], status.Size())
	require.NoError(t, disk.Write(vr.Batch{Entries: entries[5:6], Sync: true}))
	require.Equal(t, entries[:6], killed(t, directory, DurabilitySync).Entries)
}

// TestFilesThatDoNotBelong: a segment that is gone, another one in its place, and one that replica.db is too old for.
func TestFilesThatDoNotBelong(t *testing.T) {
	directory := created(t, LogWAL)
	disk := opened(t, directory)
	old, err := os.ReadFile(filepath.Join(directory, databaseName))
	require.NoError(t, err)
	entries := chain(0, 1, 90, 1, 600)
	writeInParts(t, disk, entries)
	require.NoError(t, disk.Close())
	names, err := segmentNames(directory)
	require.NoError(t, err)
	require.Greater(t, len(names), 5)
	refused := func(directory, name string) {
		t.Helper()
		require.Equal(t, filepath.Join(directory, name), damageOf(t, directory).File)
	}
	for i, name := range names {
		gone := image(t, directory)
		require.NoError(t, os.Remove(filepath.Join(gone, name)))
		refused(gone, name)
		if i == len(names)-1 {
			continue
		}
		swapped := image(t, directory)
		require.NoError(t, os.Rename(filepath.Join(swapped, names[i+1]), filepath.Join(swapped, name)))
		refused(swapped, name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(directory, databaseName), old, 0o600))
	_, err = notLoaded(t, directory).Load()
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "of a later time")
}

// TestAnotherSegmentInThePlaceOfTheLast: it is sound, has the right header and sizes, and entries of another view. None of
// them is believed, whether it goes on behind the mark or ends there.
func TestAnotherSegmentInThePlaceOfTheLast(t *testing.T) {
	directory, path, entries, starts := marked(t)
	other := chain(0, 1, 10, 2, 600)
	for _, count := range []int{5, 10} {
		changed := image(t, directory)
		changeFile(t, segmentPath(changed, 1), func(data []byte) []byte {
			header, err := decodeSegmentHeader(data)
			require.NoError(t, err)
			data = data[:sectorBytes]
			for i := range other[:count] {
				require.Len(t, data, starts[i], "of the same sizes")
				data = appendBatch(data, batchHeader{salt: header.salt, first: other[i].Op}, other[i:i+1])
			}
			return data
		})
		require.Equal(t, core.OpNumber(1), damageOf(t, changed).Op)
		require.Empty(t, loaded(t, notLoaded(t, changed)).Entries)
	}
	require.Equal(t, entries, loaded(t, notLoaded(t, filepath.Dir(path))).Entries)
}

// TestTheMarkIsWrittenInTime: soon after the last batch, and now and then when there is always a next one.
func TestTheMarkIsWrittenInTime(t *testing.T) {
	directory := created(t, LogWAL)
	synctest.Test(t, func(t *testing.T) {
		disk, err := openDisk(directory, Options{})
		require.NoError(t, err)
		loaded(t, disk)
		entries := chain(0, 1, 1000, 1, 10)
		known := func() core.OpNumber {
			disk.log.(*segmentLog).mu.Lock()
			defer disk.log.(*segmentLog).mu.Unlock()
			e := disk.log.(*segmentLog).list.extent()
			return e.last
		}
		require.NoError(t, disk.Write(vr.Batch{Entries: entries[:1], Sync: true}))
		before := disk.Syncs()
		require.NoError(t, disk.Write(vr.Batch{Entries: entries[1:2], Sync: true}))
		require.Equal(t, before+1, disk.Syncs(), "one fsync a batch")
		require.Equal(t, core.OpNumber(1), known())
		time.Sleep(markIdle + time.Millisecond)
		synctest.Wait()
		require.Equal(t, core.OpNumber(2), known())
		require.Equal(t, before+3, disk.Syncs())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, before+3, disk.Syncs(), "nothing new, nothing is written")
		lag := core.OpNumber(0)
		for i := 2; i < len(entries); i++ {
			require.NoError(t, disk.Write(vr.Batch{Entries: entries[i : i+1], Sync: true}))
			time.Sleep(10 * time.Millisecond)
			lag = max(lag, entries[i].Op-known())
		}
		require.Greater(t, lag, core.OpNumber(80))
		require.LessOrEqual(t, lag, core.OpNumber((markLatest+markIdle)/(10*time.Millisecond)))
		require.NoError(t, disk.Close())
	})
	again, err := openDisk(directory, Options{})
	require.NoError(t, err)
	require.Equal(t, core.OpNumber(1000), again.log.extent().last, "Close writes it")
	require.NoError(t, again.Close())
}

// TestOldSegmentsAreRemoved: under steady load the directory does not grow, and one file of the log is open.
func TestOldSegmentsAreRemoved(t *testing.T) {
	directory := created(t, LogWAL)
	disk := opened(t, directory)
	entries := chain(0, 1, 3000, 1, 300)
	before, most := openFiles(t), 0
	for i := 0; i < len(entries); i += 3 {
		batch := vr.Batch{Entries: entries[i : i+3], Sync: true}
		if i > 300 && i%300 == 0 {
			writeCheckpoint(t, disk, core.CheckpointMeta{Op: entries[i-1].Op, View: 1, Hash: entries[i-1].Hash}, nil)
			batch.TruncateBelow = entries[i-200].Op
		}
		require.NoError(t, disk.Write(batch))
		names, err := segmentNames(directory)
		require.NoError(t, err)
		most = max(most, len(names))
	}
	require.Less(t, most, 50, "of 120 and more that were made")
	require.Greater(t, disk.log.(*segmentLog).list.next, uint64(100))
	require.LessOrEqual(t, openFiles(t), before+1)
	got := killed(t, directory, DurabilitySync)
	require.Less(t, len(got.Entries), 700)
	require.Equal(t, entries[len(entries)-len(got.Entries):], got.Entries)
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(names)
}

// TestAnotherLogIsRefused, and without a wish the one that is there is opened.
func TestAnotherLogIsRefused(t *testing.T) {
	for _, log := range allLogs {
		directory := created(t, log)
		other := LogBolt + LogWAL - log
		_, err := Open(directory, Options{Log: other})
		var refusal *LogError
		require.ErrorAs(t, err, &refusal)
		require.ErrorIs(t, err, ErrLog)
		require.Equal(t, &LogError{File: filepath.Join(directory, databaseName), Found: log, Want: other}, refusal)
		require.ErrorContains(t, err, fmt.Sprintf("was made with log %v", log))
		for _, wish := range []Log{0, log} {
			storage, err := Open(directory, Options{Log: wish})
			require.NoError(t, err)
			require.NoError(t, storage.Close())
		}
		found, err := ParseLog(log.String())
		require.NoError(t, err)
		require.Equal(t, log, found)
	}
	_, err := Open(t.TempDir(), Options{Log: logs})
	require.ErrorContains(t, err, "log 3")
	require.ErrorContains(t, CreateLog(t.TempDir(), logs), "log 3")
	none, err := ParseLog("")
	require.NoError(t, err)
	require.Zero(t, none)
	_, err = ParseLog("paper")
	require.ErrorContains(t, err, "bbolt and wal")
}

// TestABatchOfManyFrames is whole or not at all, by the way of the transaction.
func TestABatchOfManyFrames(t *testing.T) {
	directory := created(t, LogWAL)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{Entries: chain(0, 1, 1, 1, 10), Sync: true}))
	payload := strings.Repeat("x", frameBytesMax/3)
	hash, large := disk.log.extent().lastHash, []core.Entry(nil)
	for op := core.OpNumber(2); op < 7; op++ {
		entry := core.Chained(hash, op, 1, []byte(payload))
		large, hash = append(large, entry), entry.Hash
	}
	require.Len(t, frames(large), 3)
	before := disk.Syncs()
	require.NoError(t, disk.Write(vr.Batch{Entries: large, Sync: true}))
	require.Equal(t, before+4, disk.Syncs())
	require.NoError(t, disk.Close())
	got := killed(t, directory, DurabilitySync)
	require.Len(t, got.Entries, 6)
	require.Equal(t, hash, got.Entries[5].Hash)
}

// TestRestartsLeaveNoFilesBehind: a replica that starts and ends again and again, with and without a batch between.
func TestRestartsLeaveNoFilesBehind(t *testing.T) {
	directory := created(t, LogWAL)
	disk := opened(t, directory)
	entries := chain(0, 1, 30, 1, 10)
	require.NoError(t, disk.Write(vr.Batch{Entries: entries[:1], Sync: true}))
	require.NoError(t, disk.Close())
	for range 10 {
		require.NoError(t, opened(t, directory).Close())
	}
	names, err := segmentNames(directory)
	require.NoError(t, err)
	require.Len(t, names, 1)
	for i := 1; i < len(entries); i++ {
		disk := opened(t, directory)
		require.NoError(t, disk.Write(vr.Batch{Entries: entries[i : i+1], Sync: true}))
		directory = image(t, directory) // kill -9
		require.NoError(t, disk.Close())
	}
	require.Equal(t, entries, killed(t, directory, DurabilitySync).Entries)
	names, err = segmentNames(directory)
	require.NoError(t, err)
	total := 0
	for _, data := range readFiles(t, directory) {
		total += len(data)
	}
	require.LessOrEqual(t, len(names), len(entries))
	require.Less(t, total, 200<<10, "those that are not written to any more are as short as what they hold")
}
