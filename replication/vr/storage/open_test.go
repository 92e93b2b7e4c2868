package storage

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

func TestUnformattedDirectoryIsRefused(t *testing.T) { eachLog(t, testUnformattedDirectoryIsRefused) }

func testUnformattedDirectoryIsRefused(t *testing.T, log Log) {
	directory := t.TempDir()
	_, err := Open(directory, Options{})
	require.ErrorIs(t, err, ErrNotFormatted)
	names, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Empty(t, names, "a refused Open leaves nothing behind")
}

func TestLostLogIsRefused(t *testing.T) { eachLog(t, testLostLogIsRefused) }

func testLostLogIsRefused(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 3}, []byte("x"))
	require.NoError(t, disk.Close())
	require.NoError(t, os.Remove(filepath.Join(directory, databaseName)))
	_, err := Open(directory, Options{})
	require.ErrorIs(t, err, ErrNotFormatted)
	require.ErrorIs(t, CreateLog(directory, log), ErrFormatted, "what is left of a log is not overwritten")
}

func TestCreateTwiceIsRefused(t *testing.T) { eachLog(t, testCreateTwiceIsRefused) }

func testCreateTwiceIsRefused(t *testing.T, log Log) {
	directory := created(t, log)
	require.ErrorIs(t, CreateLog(directory, log), ErrFormatted)
	require.Error(t, Create(filepath.Join(directory, "absent")))
}

func TestCrashDuringCreateLeavesNoLog(t *testing.T) { eachLog(t, testCrashDuringCreateLeavesNoLog) }

func testCrashDuringCreateLeavesNoLog(t *testing.T, log Log) {
	directory := created(t, log)
	path := filepath.Join(directory, databaseName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, length := range []int{0, 1, 5000, len(data)} {
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.WriteFile(path+temporaryName, data[:length], 0o600))
		_, err = Open(directory, Options{})
		require.ErrorIs(t, err, ErrNotFormatted)
		require.NoError(t, CreateLog(directory, log))
		require.NoError(t, opened(t, directory).Close())
	}
}

func TestDirectoryInUse(t *testing.T) { eachLog(t, testDirectoryInUse) }

func testDirectoryInUse(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	_, err := Open(directory, Options{})
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, disk.Close())
	opened(t, directory)
}

func TestOtherFormatIsRefused(t *testing.T) { eachLog(t, testOtherFormatIsRefused) }

func testOtherFormatIsRefused(t *testing.T, log Log) {
	for _, version := range []uint32{0, 5} {
		directory := created(t, log)
		rewrite(t, directory, bucketState, keyFormat, encodeFormat(version))
		_, err := Open(directory, Options{})
		var format *FormatError
		require.ErrorAs(t, err, &format)
		require.Equal(t, &FormatError{File: filepath.Join(directory, databaseName), Found: version, Want: 4}, format)
		require.Contains(t, err.Error(), "reads up to format 4")
	}
}

func TestOtherCheckpointFormatIsRefused(t *testing.T) { eachLog(t, testOtherCheckpointFormatIsRefused) }

func testOtherCheckpointFormatIsRefused(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 3}, []byte("x"))
	require.NoError(t, disk.Close())
	path := filepath.Join(directory, checkpointName(3))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[8] = 3
	copy(data, appendSum(data[:checkpointHeaderBytes-4:checkpointHeaderBytes-4]))
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err = Open(directory, Options{})
	var format *FormatError
	require.ErrorAs(t, err, &format)
	require.Equal(t, uint32(3), format.Found)
}

func TestOptionsAreValidated(t *testing.T) {
	_, err := Open(t.TempDir(), Options{LockTimeout: -1})
	require.ErrorContains(t, err, "negative")
}

// TestLogWithoutHeadOrTail: a log that lost its last runs, its first ones or one in between is well formed for
// bbolt, and damaged all the same.
func TestLogWithoutHeadOrTail(t *testing.T) {
	for name, key := range map[string]core.OpNumber{"head": 1, "middle": 10, "tail": 19} {
		t.Run(name, func(t *testing.T) {
			directory := created(t, LogBolt)
			disk := opened(t, directory)
			require.NoError(t, disk.Write(vr.Batch{Entries: chain(0, 1, 20, 1, 3000), Sync: true}))
			require.NoError(t, disk.Close())
			rewrite(t, directory, bucketLog, string(runKey(runOf(t, directory, key))), nil)
			got := loaded(t, opened(t, directory))
			require.Len(t, got.Damage, 1)
			require.ErrorIs(t, got.Damage[0].Err, ErrDamaged)
			require.Equal(t, key, got.Damage[0].First, "with payloads of about 3000 bytes a run holds one entry")
			require.EqualValues(t, 20, got.Damage[0].Last)
			require.Equal(t, filepath.Join(directory, databaseName), got.Damage[0].File)
			require.Len(t, got.Entries, int(key)-1)
		})
	}
}

// runOf returns the first operation of the run that holds op.
func runOf(t *testing.T, directory string, op core.OpNumber) core.OpNumber {
	t.Helper()
	disk, err := openDisk(directory, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, disk.Close()) }()
	first := core.OpNumber(0)
	require.NoError(t, disk.database.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketLog)).ForEach(func(key, _ []byte) error {
			if start := core.OpNumber(binary.BigEndian.Uint64(key)); start <= op {
				first = start
			}
			return nil
		})
	}))
	return first
}

func TestEntryOfAnotherChainIsDamage(t *testing.T) {
	directory := created(t, LogBolt)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{Entries: chain(0, 1, 20, 1, 3000), Sync: true}))
	require.NoError(t, disk.Close())
	other := chain(99, 10, 10, 1, 3000)
	rewrite(t, directory, bucketLog, string(runKey(10)), appendEntry(nil, &other[0]))
	got := loaded(t, opened(t, directory))
	require.Len(t, got.Damage, 1)
	require.Equal(t, core.OpNumber(10), got.Damage[0].First)
	require.ErrorContains(t, got.Damage[0].Err, "operations 10 to 20")
	require.Len(t, got.Entries, 9)
}

func TestMissingCheckpointIsDamage(t *testing.T) { eachLog(t, testMissingCheckpointIsDamage) }

func testMissingCheckpointIsDamage(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	entries := chain(0, 1, 50, 1, 3000)
	writeInParts(t, disk, entries)
	writeCheckpoint(t, disk, core.CheckpointMeta{Op: 40, View: 1, Hash: entries[39].Hash}, []byte("state"))
	require.NoError(t, disk.Write(vr.Batch{TruncateBelow: 31, Sync: true}))
	require.NoError(t, disk.Close())
	require.NoError(t, os.Remove(filepath.Join(directory, checkpointName(40))))
	got := loaded(t, opened(t, directory))
	require.Len(t, got.Damage, 1)
	require.ErrorIs(t, got.Damage[0].Err, ErrDamaged)
	require.ErrorContains(t, got.Damage[0].Err, "no checkpoint covers")
	require.Empty(t, got.Entries, "there is no state below them")
}

// rewrite changes one value behind the storage's back, or removes it when value is nil.
func rewrite(t *testing.T, directory, bucket, key string, value []byte) {
	t.Helper()
	database, err := bbolt.Open(filepath.Join(directory, databaseName), 0o600, boltOptions(Options{}, false))
	require.NoError(t, err)
	require.NoError(t, database.Update(func(tx *bbolt.Tx) error {
		if value == nil {
			require.NotNil(t, tx.Bucket([]byte(bucket)).Get([]byte(key)), "nothing to remove")
			return tx.Bucket([]byte(bucket)).Delete([]byte(key))
		}
		return tx.Bucket([]byte(bucket)).Put([]byte(key), value)
	}))
	require.NoError(t, database.Close())
}

// TestWhatLoadReturnsIsDurable: a process that was killed may have left a transaction that was written and not
// synced. Load may return it only after a transaction of its own, whose fsync brings everything before it along,
// and after the directory is synced.
func TestWhatLoadReturnsIsDurable(t *testing.T) {
	directory := created(t, LogBolt)
	disk := opened(t, directory)
	entries := chain(0, 1, 9, 1, 100)
	require.NoError(t, disk.Write(vr.Batch{HardState: &core.HardState{View: 1, LastNormalView: 1}, Entries: entries, Sync: true}))

	killed := image(t, directory)
	transaction := func() uint64 {
		file, err := os.Open(filepath.Join(killed, databaseName))
		require.NoError(t, err)
		defer func() { require.NoError(t, file.Close()) }()
		status, err := file.Stat()
		require.NoError(t, err)
		s := structure{file: file, bytes: status.Size(), seen: map[uint64]bool{}}
		require.NoError(t, s.readMetas())
		return s.meta.transaction
	}
	left := transaction()
	again := opened(t, killed)
	require.Equal(t, left, transaction(), "Open only reads")
	require.Zero(t, again.Syncs())
	require.Equal(t, entries, loaded(t, again).Entries)
	require.Equal(t, left+1, transaction())
	require.EqualValues(t, 3, again.Syncs())
}

// TestLoadThatCannotBeMadeDurable: without the fsync nothing is returned.
func TestLoadThatCannotBeMadeDurable(t *testing.T) { eachLog(t, testLoadThatCannotBeMadeDurable) }

func testLoadThatCannotBeMadeDurable(t *testing.T, log Log) {
	directory := created(t, log)
	disk := opened(t, directory)
	disk.directory = filepath.Join(directory, "gone")
	_, err := disk.Load()
	require.ErrorIs(t, err, os.ErrNotExist)
	disk.directory = directory
	_, err = disk.Load()
	require.ErrorIs(t, err, ErrFailed)
}
