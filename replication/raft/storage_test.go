package raft

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication"
)

func TestCreateMakesOneOnce(t *testing.T) {
	directory := t.TempDir()
	_, err := OpenStorage(directory, DurabilitySync)
	require.ErrorIs(t, err, ErrNoStorage)
	require.NoError(t, Create(directory, DurabilitySync))
	require.ErrorIs(t, Create(directory, DurabilitySync), ErrExists)
	require.ErrorIs(t, Create(directory, 9), ErrOptions)
	_, err = OpenStorage(directory, DurabilityMemory)
	require.ErrorIs(t, err, ErrOptions)
	require.ErrorContains(t, err, "made for durability sync")
	// One that did not come to its end may be done again.
	require.NoError(t, os.Remove(filepath.Join(directory, markName)))
	require.NoError(t, Create(directory, DurabilitySync))
}

// TestADirectoryOfTheOtherBackend is refused, whichever of the two is asked, and the text says so.
func TestADirectoryOfTheOtherBackend(t *testing.T) {
	for _, name := range otherBackendNames() {
		directory := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), []byte("x"), 0o600))
		_, err := OpenStorage(directory, DurabilitySync)
		require.ErrorIs(t, err, ErrNoStorage)
		require.ErrorContains(t, err, "Viewstamped Replication")
		require.ErrorIs(t, Create(directory, DurabilitySync), ErrExists)
	}
}

func TestAStorageHasAnOwnerAndALock(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	_, err := OpenStorage(directory, DurabilitySync)
	require.ErrorIs(t, err, ErrLocked)
	replica, view := lone(t, storage, &notes{}, func(o *Options) { o.Group, o.Cluster = 5, [16]byte{1} })
	mustPropose(t, replica, view, "a")
	require.NoError(t, replica.Close())
	for _, change := range []func(*Options){
		func(o *Options) { o.Self, o.Members = 2, []replication.ReplicaID{2} },
		func(o *Options) { o.Group = 6 },
		func(o *Options) { o.Cluster = [16]byte{2} },
	} {
		storage := reopened(t, directory, DurabilitySync)
		options := Options{
			Group: 5, Cluster: [16]byte{1}, Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{},
		}
		change(&options)
		_, err := Open(options)
		require.ErrorIs(t, err, ErrOwner)
		require.NoError(t, storage.Close())
	}
}

func TestMarkIsReadToTheByte(t *testing.T) {
	m := mark{durability: DurabilityMemory, life: lifeClean, cluster: [16]byte{7, 8}, group: 3, replica: 4}
	data := m.encode()
	decoded, err := decodeMark(data)
	require.NoError(t, err)
	require.Equal(t, m, decoded)
	for i := range data {
		spoiled := bytes.Clone(data)
		spoiled[i] ^= 4
		_, err := decodeMark(spoiled)
		require.Error(t, err, "byte %d", i)
	}
	directory, storage := created(t, DurabilitySync)
	require.NoError(t, storage.Close())
	require.NoError(t, os.WriteFile(filepath.Join(directory, markName), data[:20], 0o600))
	_, err = OpenStorage(directory, DurabilitySync)
	require.ErrorIs(t, err, ErrDamaged)
}

// TestALogThatIsGone is not begun anew: its replica has promised what was in it.
func TestALogThatIsGone(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "a")
	require.NoError(t, replica.Close())
	require.NoError(t, os.Remove(filepath.Join(directory, databaseName)))
	_, err := OpenStorage(directory, DurabilitySync)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "in a larger incarnation", "what to do")
	require.NoError(t, os.WriteFile(filepath.Join(directory, databaseName), []byte("not a database"), 0o600))
	_, err = OpenStorage(directory, DurabilitySync)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "in a larger incarnation")
	require.NoError(t, os.Remove(filepath.Join(directory, databaseName)))
	empty, err := openBolt(directory, false)
	require.NoError(t, err)
	require.NoError(t, empty.Close())
	storage = reopened(t, directory, DurabilitySync)
	_, err = Open(Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{}})
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "in a larger incarnation", "what to do")
	require.NoError(t, storage.Close())
}

// TestDamagedEntries: an entry with another byte than was written is found, and the replica is not opened.
func TestDamagedEntries(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "the quick brown fox")
	require.NoError(t, replica.Close())
	spoiled := false
	database, err := bbolt.Open(filepath.Join(directory, databaseName), 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, database.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("logs"))
		cursor := bucket.Cursor()
		for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
			if at := bytes.Index(value, []byte("brown")); at >= 0 {
				changed := bytes.Clone(value)
				changed[at] = 'g'
				spoiled = true
				return bucket.Put(bytes.Clone(key), changed)
			}
		}
		return nil
	}))
	require.NoError(t, database.Close())
	require.True(t, spoiled)
	storage = reopened(t, directory, DurabilitySync)
	_, err = Open(Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{}})
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "checksum")
	require.NoError(t, storage.Close())
}

// TestDamagedSnapshots: each byte of the file matters.
func TestDamagedSnapshots(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "a", "b", "c")
	require.NoError(t, replica.Checkpoint(t.Context()))
	require.NoError(t, replica.Close())
	files, err := filepath.Glob(filepath.Join(directory, snapshotPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for i := range data {
		spoiled := bytes.Clone(data)
		spoiled[i] ^= 0x20
		require.NoError(t, os.WriteFile(files[0], spoiled, 0o600))
		_, err := (&fileKeeper{directory: directory}).newest()
		require.ErrorIs(t, err, ErrDamaged, "byte %d", i)
	}
	for _, cut := range []int{0, 10, len(data) / 2, len(data) - 1} {
		require.NoError(t, os.WriteFile(files[0], data[:cut], 0o600))
		_, err := OpenStorage(directory, DurabilitySync)
		require.ErrorIs(t, err, ErrDamaged)
	}
	require.NoError(t, os.WriteFile(files[0], append(bytes.Clone(data), 1), 0o600))
	_, err = OpenStorage(directory, DurabilitySync)
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, os.WriteFile(files[0], data, 0o600))
	machine := &notes{}
	replica, _ = lone(t, reopened(t, directory, DurabilitySync), machine, nil)
	require.Equal(t, []string{"a", "b", "c"}, machine.all())
	require.NoError(t, replica.Close())
	// Without it the log does not begin where it should.
	require.NoError(t, os.Remove(files[0]))
	storage = reopened(t, directory, DurabilitySync)
	require.NoError(t, storage.bolt.DeleteRange(1, 2))
	_, err = Open(Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{}})
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, storage.Close())
}

// TestMemoryAfterCloseAndAfterACrash: everything is there after Close; a group of one that did not end so is not opened.
func TestMemoryAfterCloseAndAfterACrash(t *testing.T) {
	directory, storage := created(t, DurabilityMemory)
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "a", "b")
	require.NoError(t, replica.Checkpoint(t.Context()))
	mustPropose(t, replica, view, "c")
	require.NoError(t, replica.Close())
	machine := &notes{}
	storage = reopened(t, directory, DurabilityMemory)
	replica, view = lone(t, storage, machine, nil)
	require.Equal(t, []string{"a", "b", "c"}, machine.all())
	mustPropose(t, replica, view, "d")
	storage.Crash()
	require.NoError(t, replica.Close())
	storage = reopened(t, directory, DurabilityMemory)
	_, err := Open(Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, Durability: DurabilityMemory, StateMachine: &notes{}})
	require.ErrorIs(t, err, ErrForgotten)
	require.NoError(t, storage.Close())
}

// TestBoltDeletesWhatItIsTold: a store that skipped an entry while it deletes would leave an old term's behind.
func TestBoltDeletesWhatItIsTold(t *testing.T) {
	directory := t.TempDir()
	require.NoError(t, Create(directory, DurabilitySync))
	storage := reopened(t, directory, DurabilitySync)
	g, err := newGuard(storage, 1000, &forgotten{}, &counters{}, func(err error) { t.Error(err) })
	require.NoError(t, err)
	for index := uint64(1); index <= 2000; index += 100 {
		require.NoError(t, g.StoreLogs(entries(index, index+99, 300)))
	}
	require.NoError(t, g.DeleteRange(1, 700))
	require.NoError(t, g.DeleteRange(1500, 2000))
	for index := uint64(1); index <= 2000; index++ {
		err := storage.bolt.GetLog(index, entries(1, 1, 0)[0])
		if index <= 700 || index >= 1500 {
			require.Error(t, err, index)
		} else {
			require.NoError(t, err, index)
		}
	}
	require.NoError(t, storage.Close())
}

// TestADatabaseThatIsHeldIsWaitedFor a little, and not for ever.
func TestADatabaseThatIsHeldIsWaitedFor(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	defer time.AfterFunc(lockTimeout/4, func() { _ = storage.Close() }).Stop()
	again := reopened(t, directory, DurabilitySync)
	require.NoError(t, again.Close())
}
