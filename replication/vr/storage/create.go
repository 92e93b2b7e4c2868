package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// Create makes an empty log in a directory that exists, of the kind that LogDefault is. It is the one act that lets a
// replica start from nothing, done when the replica's identity is given to it and never again. A crash before it
// returns leaves the directory without a log. ErrFormatted when there is a log, or what is left of one, of another backend
// too.
func Create(directory string) error { return CreateLog(directory, LogDefault) }

// CreateLog is Create of a log of this kind; zero is LogDefault.
func CreateLog(directory string, log Log) error {
	if log == 0 {
		log = LogDefault
	}
	if log >= logs {
		return fmt.Errorf("storage: there is no %v", log)
	}
	path := filepath.Join(directory, databaseName)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%w: %s", ErrFormatted, path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("storage: create: %w", err)
	}
	if err := refuseOther(directory, ErrFormatted); err != nil {
		return err
	}
	if owner, err := readOwner(directory); err != nil {
		return err
	} else if owner != (vr.Owner{}) {
		return fmt.Errorf("%w: its log is gone, but it was that of %v: %s", ErrFormatted, owner, remedyLost)
	}
	for _, left := range []func(string) ([]string, error){checkpointNames, segmentNames} {
		names, err := left(directory)
		if err != nil {
			return fmt.Errorf("storage: create: %w", err)
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: %s", ErrFormatted, filepath.Join(directory, names[0]))
		}
	}
	if err := os.Remove(path + temporaryName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("storage: create: %w", err)
	}
	if err := createDatabase(path+temporaryName, log); err != nil {
		return fmt.Errorf("storage: create: %w", err)
	}
	if err := os.Rename(path+temporaryName, path); err != nil {
		return fmt.Errorf("storage: create: %w", err)
	}
	return syncDirectory(directory)
}

func createDatabase(path string, log Log) (err error) {
	database, err := bbolt.Open(path, 0o600, boltOptions(Options{}, false))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	return database.Update(func(tx *bbolt.Tx) error {
		state, err := tx.CreateBucket([]byte(bucketState))
		if err != nil {
			return err
		}
		version := uint32(segmentLogVersion)
		if log == LogBolt {
			version = boltLogVersion
			_, err = tx.CreateBucket([]byte(bucketLog))
			err = errors.Join(err, state.Put([]byte(keyExtent), encodeExtent(extent{})))
		} else {
			err = state.Put([]byte(keySegments), encodeSegmentList(&segmentList{next: 1}))
		}
		return errors.Join(err,
			state.Put([]byte(keyFormat), encodeFormat(version)),
			state.Put([]byte(keyHardState), encodeHardState(core.HardState{})),
			state.Put([]byte(keyMark), encodeMark(mark{})))
	})
}
