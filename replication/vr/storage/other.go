package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// otherBackendNames are those by which a directory of Raft is known.
func otherBackendNames() []string { return []string{"RAFT", "raft.db"} }

// Holds reports whether a directory is that of a replica of this package: Create has made a log in it, which may be gone.
func Holds(directory string) (bool, error) {
	for _, name := range []string{databaseName, ownerName} {
		if there, err := exists(filepath.Join(directory, name)); there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// refuseOther returns an error of a kind when a directory is that of a replica of another backend.
func refuseOther(directory string, kind error) error {
	for _, name := range otherBackendNames() {
		there, err := exists(filepath.Join(directory, name))
		switch {
		case err != nil:
			return err
		case there:
			return fmt.Errorf("%w: %s is the directory of a replica of Raft (%s): a group keeps the backend it began with", kind, directory, name)
		}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("storage: %w", err)
	}
}
