package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	databaseName = "replica.db"

	bucketState = "state"
	bucketLog   = "log"

	keyFormat    = "format"
	keyHardState = "hard-state"
	keyExtent    = "extent"
	keyMark      = "mark"
	keySegments  = "segments"
	// keyMembership is there once the replica knows one.
	keyMembership = "membership"
)

// database is replica.db.
type database struct {
	*bbolt.DB
	path  string
	syncs *atomic.Uint64
}

func openDatabase(path string, options Options, syncs *atomic.Uint64) (*database, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := refuseOther(filepath.Dir(path), ErrNotFormatted); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s; if it had one: %s", ErrNotFormatted, path, remedyLost)
	} else if err != nil {
		return nil, fmt.Errorf("storage: open: %w", err)
	}
	if err := examine(path, options); err != nil {
		return nil, err
	}
	bolt, err := bbolt.Open(path, 0o600, boltOptions(options, false))
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	} else if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", path, err)
	}
	return &database{DB: bolt, path: path, syncs: syncs}, nil
}

// update runs a transaction. bbolt panics where a page has gone bad under it; that is damage like any other.
func (d *database) update(change func(tx *bbolt.Tx) error) (err error) {
	defer func() {
		if met := recover(); met != nil {
			damage := damaged(d.path, 0, "its structure is broken")
			damage.Err, err = fmt.Errorf("%v", met), damage
		}
	}()
	return d.Update(func(tx *bbolt.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		d.syncs.Add(2)
		return nil
	})
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
