package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

const (
	databaseName  = "replica.db"
	temporaryName = ".tmp"

	bucketState = "state"
	bucketLog   = "log"

	keyFormat    = "format"
	keyHardState = "hard-state"
	keyExtent    = "extent"
	keyMark      = "mark"
	// keyMembership is there once the replica knows one.
	keyMembership = "membership"
)

var _ vr.Storage = (*Disk)(nil)

// Options says how to open a directory. The zero value is useful.
type Options struct {
	// Durability is what a crash may take away. It may differ from the last one's: Open refuses with a
	// DurabilityError only what would take a log that may lack something for a whole one.
	Durability Durability
	// LockTimeout is how long Open waits for another holder of the files; 0: it does not wait.
	LockTimeout time.Duration
	// InitialMapBytes is how much of replica.db is mapped into memory at first, so that a log that grows up to
	// it is never mapped anew; 0: as much as there is.
	InitialMapBytes int
}

// Validate refuses what has no meaning.
func (o Options) Validate() error {
	if o.LockTimeout < 0 || o.InitialMapBytes < 0 {
		return errors.New("storage: options may not be negative")
	}
	if o.Durability >= durabilities {
		return fmt.Errorf("storage: there is no %v", o.Durability)
	}
	return nil
}

// Disk is a replica's storage in one directory. See the package comment for who may call what at once.
type Disk struct {
	directory  string
	durability Durability
	database   *bbolt.DB
	syncs      atomic.Uint64

	// Load's and Write's.
	version   uint32 // of the file, as it is
	mark      mark   // as it is in the file
	hardState core.HardState
	extent    extent
	waiting   waiting
	buffer    []byte
	spoiled   *DamageError // of the newest checkpoint, whose file stays until the log is replaced; nil: it is sound

	// publishing is held while a checkpoint takes the place of another: the log's Write, which needs mu, must not
	// wait for the directory's fsync and for the removal of a large file.
	publishing sync.Mutex

	// closing ends what cuts removed files, cutting waits for that.
	closing chan struct{}
	cutting sync.WaitGroup

	mu         sync.Mutex // guards what follows; publishing comes before it
	checkpoint core.CheckpointMeta
	partial    partial              // of a checkpoint of another replica; the zero value: none
	files      map[string]*readFile // checkpoints that are being read, by path
	failure    error
	closed     bool
}

// waiting is what Write was given without Sync and has not written: hints whose loss costs work, not safety.
// They ride on the next batch, or on Close.
type waiting struct {
	hardState     *core.HardState
	truncateBelow core.OpNumber
}

// Create makes an empty log in a directory that exists. It is the one act that lets a replica start from
// nothing, done when the replica's identity is given to it and never again. A crash before it returns leaves
// the directory without a log. ErrFormatted when there is a log, or a checkpoint or the owner of one.
func Create(directory string) error {
	path := filepath.Join(directory, databaseName)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%w: %s", ErrFormatted, path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("storage: create: %w", err)
	}
	if owner, err := readOwner(directory); err != nil {
		return err
	} else if owner != (vr.Owner{}) {
		return fmt.Errorf("%w: its log is gone, but it was that of %v: %s", ErrFormatted, owner, remedyLost)
	}
	names, err := checkpointNames(directory)
	if err != nil {
		return fmt.Errorf("storage: create: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s", ErrFormatted, filepath.Join(directory, names[0]))
	}
	if err := os.Remove(path + temporaryName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("storage: create: %w", err)
	}
	if err := createDatabase(path + temporaryName); err != nil {
		return fmt.Errorf("storage: create: %w", err)
	}
	if err := os.Rename(path+temporaryName, path); err != nil {
		return fmt.Errorf("storage: create: %w", err)
	}
	return syncDirectory(directory)
}

func createDatabase(path string) (err error) {
	database, err := bbolt.Open(path, 0o600, boltOptions(Options{}, false))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	return database.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket([]byte(bucketLog)); err != nil {
			return err
		}
		state, err := tx.CreateBucket([]byte(bucketState))
		if err != nil {
			return err
		}
		return errors.Join(
			state.Put([]byte(keyFormat), encodeFormat(logVersion)),
			state.Put([]byte(keyHardState), encodeHardState(core.HardState{})),
			state.Put([]byte(keyExtent), encodeExtent(extent{})),
			state.Put([]byte(keyMark), encodeMark(mark{})))
	})
}

// Open opens a directory that Create has made a log in, as a storage of the durability that is asked for.
// ErrNotFormatted when there is no log, ErrInUse when someone else has it open, a *DamageError, *FormatError or
// *DurabilityError when it cannot be used.
func Open(directory string, options Options) (vr.Storage, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	disk, err := openDisk(directory, options)
	if err != nil {
		return nil, err
	}
	switch options.Durability {
	case DurabilityAsync:
		return newDelayed(disk), nil
	case DurabilityMemory:
		return newVolatile(disk), nil
	default:
		return disk, nil
	}
}

// openDisk opens a directory as it is.
func openDisk(directory string, options Options) (*Disk, error) {
	path := filepath.Join(directory, databaseName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s; if it had one: %s", ErrNotFormatted, path, remedyLost)
	} else if err != nil {
		return nil, fmt.Errorf("storage: open: %w", err)
	}
	if err := examine(path, options); err != nil {
		return nil, err
	}
	database, err := bbolt.Open(path, 0o600, boltOptions(options, false))
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	} else if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", path, err)
	}
	d := &Disk{
		directory: directory, durability: options.Durability, database: database, closing: make(chan struct{}), files: map[string]*readFile{},
	}
	if err = d.readState(); err == nil && options.Durability == DurabilitySync && !d.mark.whole() {
		err = &DurabilityError{File: path, Found: d.mark.durability, Want: options.Durability}
	}
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	if d.checkpoint, err = newestCheckpoint(directory); err == nil || errors.As(err, &d.spoiled) {
		err = d.findPartial()
	}
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	return d, nil
}

// examine walks the file under a shared lock, so that nobody writes to it meanwhile. A file that bbolt does not
// even open for reading is walked too: the walk knows better what is wrong with it.
func examine(path string, options Options) error {
	holder, err := bbolt.Open(path, 0o600, boltOptions(options, true))
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%w: %s", ErrInUse, path)
	}
	if damage := examineFile(path); damage != nil {
		err = damage
	} else if err != nil {
		err = fmt.Errorf("storage: open: %w", err)
	}
	if holder != nil {
		err = errors.Join(err, holder.Close())
	}
	return err
}

func examineFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("storage: open: %w", err)
	}
	status, err := file.Stat()
	if err == nil {
		if broken := checkStructure(file, status.Size()); broken != nil {
			damage := damaged(path, 0, "its structure is broken")
			damage.Err, err = broken, damage
		}
	}
	return errors.Join(err, file.Close())
}

func boltOptions(options Options, readOnly bool) *bbolt.Options {
	timeout := options.LockTimeout
	if timeout == 0 {
		timeout = 1 // bbolt takes 0 for ever
	}
	chosen := &bbolt.Options{
		Timeout: timeout, ReadOnly: readOnly, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
	}
	if !readOnly {
		chosen.InitialMmapSize = options.InitialMapBytes
	}
	return chosen
}

func (d *Disk) databasePath() string { return filepath.Join(d.directory, databaseName) }

// Syncs counts fsyncs: two for each batch (bbolt writes the pages, then the one that makes them valid), two
// for each checkpoint (the file and its directory) and one more for every MiB of it, three for Load (a batch and
// the directory).
func (d *Disk) Syncs() uint64 { return d.syncs.Load() }

// Durability is the one that it was opened with.
func (d *Disk) Durability() Durability { return d.durability }

// fail notes the first failure, which is final, and returns it.
func (d *Disk) fail(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure == nil {
		d.failure = err
	}
	return err
}

// usable says why nothing may be written any more, or nil.
func (d *Disk) usable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return ErrClosed
	case d.failure != nil:
		return fmt.Errorf("%w: %w", ErrFailed, d.failure)
	}
	return nil
}

// Close writes the hints that wait, unless a write has failed, and releases the files.
func (d *Disk) Close() error {
	var err error
	if d.usable() == nil {
		err = d.flush()
	}
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.mu.Lock()
	closed := d.closed
	d.closed = true
	d.mu.Unlock()
	if closed {
		return nil
	}
	close(d.closing)
	d.cutting.Wait()
	if closing := d.database.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("storage: close: %w", closing))
	}
	return err
}

func syncDirectory(directory string) error {
	handle, err := os.Open(directory)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := errors.Join(handle.Sync(), handle.Close()); err != nil {
		return fmt.Errorf("storage: directory: %w", err)
	}
	return nil
}
