package raft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Holds reports whether a directory is that of a replica of this package: Create has made, or begun, a storage in it.
func Holds(directory string) (bool, error) {
	for _, name := range []string{markName, databaseName} {
		if _, err := os.Stat(filepath.Join(directory, name)); err == nil {
			return true, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("raft: %w", err)
		}
	}
	return false, nil
}
