package raft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/viewline/viewline/replication"
)

const (
	databaseName = "raft.db"
	// lockTimeout is how long a process that is just ending may still have the database.
	lockTimeout = 2 * time.Second
)

// otherBackendNames are those by which a directory of Viewstamped Replication is known.
func otherBackendNames() []string { return []string{"replica.db", "OWNER"} }

// Storage keeps one replica's term, vote, log and snapshots. It belongs to one Replica at a time.
type Storage struct {
	directory string // "": it ends with the process
	mark      mark
	bolt      *raftboltdb.BoltStore // nil without a directory
	lost      bool                  // Crash was called

	logs      hraft.LogStore
	stable    hraft.StableStore
	snapshots *snapshots
	sealed    bool // entries have their checksum in logs
	inMemory  bool // logs and snapshots are
	syncs     atomic.Uint64
	arriving  sync.Mutex // held while the mark may change beside others
}

// boltOptions are those of raft.db. NoFreelistSync: the list of free pages is not written with each transaction, and
// found again by reading the whole database when it is opened; the other backend's log has the same.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// openBolt opens raft.db. unsynced is for tests that only end processes, on machines whose disks are busy.
func openBolt(directory string, unsynced bool) (bolt *raftboltdb.BoltStore, err error) {
	path := filepath.Join(directory, databaseName)
	err = protect(func() error {
		bolt, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(), NoSync: unsynced})
		return err
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrLocked, path)
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum), errors.Is(err, bbolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	case err != nil:
		return nil, fmt.Errorf("raft: open %s: %w", path, err)
	}
	return bolt, nil
}

// Create makes an empty storage in a directory that exists. It is the one act that lets a replica start from nothing,
// done when the replica's identity is given to it and never again: a replica whose storage is gone has forgotten what it
// acknowledged and whom it voted for. ErrExists when the directory holds a replica's files already, of either backend.
func Create(directory string, durability Durability) error {
	if durability >= durabilities {
		return fmt.Errorf("%w: there is no %v", ErrOptions, durability)
	}
	for _, name := range append([]string{markName}, otherBackendNames()...) {
		if _, err := os.Stat(filepath.Join(directory, name)); err == nil {
			return fmt.Errorf("%w: %s holds %s already", ErrExists, directory, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("raft: create: %w", err)
		}
	}
	keeper := fileKeeper{directory: directory}
	if whole, _, err := keeper.names(); err != nil {
		return fmt.Errorf("raft: create: %w", err)
	} else if len(whole) > 0 {
		return fmt.Errorf("%w: %s holds a snapshot", ErrExists, directory)
	}
	bolt, err := openBolt(directory, false)
	if err != nil {
		return err
	}
	// It may be there from a Create that did not come to its end; then it is empty.
	used, err := hraft.HasExistingState(bolt, bolt, hraft.NewInmemSnapshotStore())
	if err = errors.Join(err, bolt.Close()); err != nil {
		return fmt.Errorf("raft: create: %w", err)
	}
	if used {
		return fmt.Errorf("%w: %s holds a log, and its mark is gone", ErrExists, directory)
	}
	if err := writeMark(directory, mark{durability: durability}); err != nil {
		return fmt.Errorf("raft: create: %w", err)
	}
	return nil
}

// OpenStorage opens what Create made. Errors are ErrNoStorage, ErrLocked, ErrDamaged, and ErrOptions for another
// durability than it was made for.
func OpenStorage(directory string, durability Durability) (*Storage, error) {
	storage, err := openStorage(directory, durability, false)
	return storage, advised(err)
}

func openStorage(directory string, durability Durability, unsynced bool) (*Storage, error) {
	m, err := readMark(directory)
	if errors.Is(err, os.ErrNotExist) {
		return nil, explainAbsence(directory)
	} else if err != nil {
		return nil, err
	}
	if m.durability != durability {
		return nil, fmt.Errorf("%w: %s was made for durability %v, not %v", ErrOptions, directory, m.durability, durability)
	}
	if _, err := os.Stat(filepath.Join(directory, databaseName)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, databaseName, err)
	}
	s := &Storage{directory: directory, mark: m}
	if s.bolt, err = openBolt(directory, unsynced); err != nil {
		return nil, err
	}
	s.stable = s.bolt
	disk := &fileKeeper{directory: directory, storage: s}
	if durability == DurabilitySync {
		s.logs, s.sealed = s.bolt, true
		s.snapshots = &snapshots{keeper: disk}
	} else {
		s.logs, s.inMemory = hraft.NewInmemStore(), true
		s.snapshots = &snapshots{keeper: &memoryKeeper{}}
	}
	if err := s.load(disk); err != nil {
		return nil, errors.Join(err, s.bolt.Close())
	}
	return s, nil
}

// explainAbsence says what is in a directory that is not ours.
func explainAbsence(directory string) error {
	for _, name := range otherBackendNames() {
		if _, err := os.Stat(filepath.Join(directory, name)); err == nil {
			return fmt.Errorf("%w: %s is the directory of a replica of Viewstamped Replication: a group keeps the backend it began with", ErrNoStorage, directory)
		}
	}
	return fmt.Errorf("%w in %s: Create makes one, once in a replica's life", ErrNoStorage, directory)
}

// load reads which snapshot is the newest, and, of a replica in memory that ended with Close, everything.
func (s *Storage) load(disk *fileKeeper) error {
	_, parts, err := disk.names()
	if err = errors.Join(err, disk.remove(parts, "")); err != nil {
		return fmt.Errorf("raft: snapshots that are not whole: %w", err)
	}
	if s.inMemory && s.mark.life != lifeClean {
		return nil
	}
	newest, err := disk.newest()
	if err != nil {
		return fmt.Errorf("raft: snapshots: %w", err)
	}
	s.snapshots.newest = newest
	if s.inMemory {
		return s.loadClean(disk)
	}
	return nil
}

// NewMemoryStorage makes a storage that ends with the process, for tests of state machines: within it, it survives its
// replica as a disk does. It is of DurabilitySync.
func NewMemoryStorage() *Storage {
	store := hraft.NewInmemStore()
	return &Storage{logs: store, stable: store, snapshots: &snapshots{keeper: &memoryKeeper{}}, inMemory: true}
}

// claim makes the storage a replica's, when it is nobody's yet.
func (s *Storage) claim(o Options) error {
	if o.Durability != s.mark.durability {
		return fmt.Errorf("%w: Durability is %v, the Storage is made for %v", ErrOptions, o.Durability, s.mark.durability)
	}
	want := s.mark
	want.cluster, want.group, want.replica, want.incarnation = o.Cluster, o.Group, o.Self, o.Incarnation
	if s.mark.replica == 0 {
		return s.setMark(want)
	}
	if have := s.mark; have != want {
		return fmt.Errorf("%w: it is that of replica %d (incarnation %d) of group %d in cluster %x, not of replica %d (incarnation %d) of group %d in cluster %x",
			ErrOwner, have.replica, have.incarnation, have.group, have.cluster, o.Self, o.Incarnation, o.Group, o.Cluster)
	}
	return nil
}

func (s *Storage) setMark(m mark) error {
	if s.directory != "" {
		if err := writeMark(s.directory, m); err != nil {
			return fmt.Errorf("raft: mark the storage: %w", err)
		}
		s.syncs.Add(2)
	}
	s.mark = m
	return nil
}

func (s *Storage) setLife(to life) error {
	m := s.mark
	m.life = to
	return s.setMark(m)
}

// countWrite counts a transaction of bbolt, which is two fsyncs: the pages, then the one that makes them valid.
func (s *Storage) countWrite(stable bool) {
	if s.bolt != nil && (stable || !s.inMemory) {
		s.syncs.Add(2)
	}
}

// Syncs counts fsyncs since it was opened: two for each transaction of bbolt and for each snapshot.
func (s *Storage) Syncs() uint64 { return s.syncs.Load() }

// Log names how the log is kept, for Status.
func (s *Storage) Log() string {
	switch {
	case s.bolt == nil, s.inMemory:
		return "memory"
	default:
		return "raft-boltdb"
	}
}

// Crash is for tests: a storage of DurabilityMemory forgets what it would write when its replica is closed, as it does
// when the process is killed. It comes before the replica's Close.
func (s *Storage) Crash() { s.lost = true }

// Close closes a storage that no replica has. The replica closes its own.
func (s *Storage) Close() error {
	if s.bolt == nil {
		return nil
	}
	if err := s.bolt.Close(); err != nil {
		return fmt.Errorf("raft: close the storage: %w", err)
	}
	return nil
}

// begin makes the storage ready for a replica to run on it, and returns up to which term it may lack what it
// acknowledged; 0: it lacks nothing.
func (s *Storage) begin(o Options) (lost uint64, err error) {
	last, err := s.logs.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("raft: read the log: %w", err)
	}
	blank := last == 0 && s.snapshots.newest == nil
	switch {
	case s.mark.life == lifeFresh && o.joins():
		return 0, s.setLife(lifeJoining)
	case s.mark.life == lifeJoining:
		return 0, nil
	case s.mark.life == lifeFresh:
		if blank {
			err = s.bootstrap(o.Members)
		}
		return 0, errors.Join(err, s.setLife(lifeRunning))
	case s.mark.life == lifeClean:
		return 0, s.setLife(lifeRunning)
	case s.mark.durability == DurabilityMemory:
		return s.beginForgotten(o)
	case blank:
		return 0, fmt.Errorf("%w: the log is empty, and was not", ErrDamaged)
	}
	first, err := s.logs.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("raft: read the log: %w", err)
	}
	if below := s.snapshots.newestIndex(); first > below+1 {
		return 0, fmt.Errorf("%w: the log begins at %d and the newest snapshot ends at %d", ErrDamaged, first, below)
	}
	return 0, nil
}

// arrives notes, before anything of the group's log is kept here, that this replica does not come with nothing any more.
func (s *Storage) arrives() error {
	s.arriving.Lock()
	defer s.arriving.Unlock()
	if s.mark.life != lifeJoining {
		return nil
	}
	return s.setLife(lifeRunning)
}

// bootstrap writes what every log begins with: who the members are. It may be repeated.
func (s *Storage) bootstrap(members []replication.ReplicaID) error {
	entry := &hraft.Log{Index: 1, Term: 1, Type: hraft.LogConfiguration, Data: hraft.EncodeConfiguration(bootstrap(members))}
	if s.sealed {
		entry = seal(entry)
	}
	err := s.stable.SetUint64([]byte(keyCurrentTerm), 1)
	if err == nil {
		err = s.logs.StoreLog(entry)
	}
	if err != nil {
		return fmt.Errorf("raft: begin the log: %w", err)
	}
	s.countWrite(true)
	s.countWrite(false)
	return nil
}

// beginForgotten has a replica that has lost its log begin with a larger term (forgotten).
func (s *Storage) beginForgotten(o Options) (uint64, error) {
	if len(o.Members) == 1 && !o.joins() {
		return 0, fmt.Errorf("%w: a group of one of durability memory did not end with Close", ErrForgotten)
	}
	term, err := s.stable.GetUint64([]byte(keyCurrentTerm))
	if err == nil {
		err = s.stable.SetUint64([]byte(keyCurrentTerm), term+1)
	}
	if err != nil {
		return 0, fmt.Errorf("raft: begin again: %w", err)
	}
	s.countWrite(true)
	return max(term, 1), nil
}
