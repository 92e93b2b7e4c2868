package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

const temporaryName = ".tmp"

var _ vr.Storage = (*Disk)(nil)

// Options says how to open a directory. The zero value is useful.
type Options struct {
	// Durability is what a crash may take away. It may differ from the last one's: Open refuses with a
	// DurabilityError only what would take a log that may lack something for a whole one.
	Durability Durability
	// Log is how the log is kept; zero: as the directory was made. Another than that is refused with a LogError.
	Log Log
	// LockTimeout is how long Open waits for another holder of the files; 0: it does not wait.
	LockTimeout time.Duration
	// InitialMapBytes is how much of replica.db is mapped into memory at first, so that a log that grows up to
	// it is never mapped anew; 0: as much as there is.
	InitialMapBytes int

	segments segmentOptions // other than the defaults in tests only
}

// Validate refuses what has no meaning.
func (o Options) Validate() error {
	if o.LockTimeout < 0 || o.InitialMapBytes < 0 {
		return errors.New("storage: options may not be negative")
	}
	if o.Durability >= durabilities {
		return fmt.Errorf("storage: there is no %v", o.Durability)
	}
	if o.Log >= logs {
		return fmt.Errorf("storage: there is no %v", o.Log)
	}
	return nil
}

// Disk is a replica's storage in one directory. See the package comment for who may call what at once.
type Disk struct {
	directory  string
	durability Durability
	database   *database
	log        entryLog
	syncs      atomic.Uint64

	// Load's and Write's.
	version   uint32 // of the files, as they are
	mark      mark   // as it is in the file
	hardState core.HardState
	waiting   waiting
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

// Open opens a directory that Create has made a log in, as a storage of the durability that is asked for.
// ErrNotFormatted when there is no log, ErrInUse when someone else has it open, a *DamageError, *FormatError, *LogError or
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
	d := &Disk{directory: directory, durability: options.Durability, closing: make(chan struct{}), files: map[string]*readFile{}}
	var err error
	if d.database, err = openDatabase(filepath.Join(directory, databaseName), options, &d.syncs); err != nil {
		return nil, err
	}
	if err = d.readState(options); err == nil && options.Durability == DurabilitySync && !d.mark.whole() {
		err = &DurabilityError{File: d.database.path, Found: d.mark.durability, Want: options.Durability}
	}
	if err != nil {
		return nil, errors.Join(err, d.database.Close())
	}
	if d.checkpoint, err = newestCheckpoint(directory); err == nil || errors.As(err, &d.spoiled) {
		err = d.findPartial()
	}
	if err != nil {
		return nil, errors.Join(err, d.database.Close())
	}
	return d, nil
}

// Syncs counts fsyncs: two for each transaction of bbolt (it writes the pages, then the one that makes them valid), two
// for each checkpoint (the file and its directory) and one more for every MiB of it, three for Load (a transaction
// and the directory). With LogBolt each batch is a transaction. With LogWAL a batch is one fsync; a new view, a log
// that is cut, and every 8 MiB of the log, are a transaction and two for the new segment.
func (d *Disk) Syncs() uint64 { return d.syncs.Load() }

// Durability is the one that it was opened with.
func (d *Disk) Durability() Durability { return d.durability }

// Log is the name of the way in which the directory keeps its log.
func (d *Disk) Log() string { return d.log.kind().String() }

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
	whole := d.usable() == nil
	if whole {
		err = d.flush()
		whole = err == nil
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
	if closing := errors.Join(d.log.close(whole), d.database.Close()); closing != nil {
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
