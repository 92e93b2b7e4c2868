package storage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestADirectoryOfAnotherBackendIsRefused: neither is a log made in it, nor is it taken for one that was lost.
func TestADirectoryOfAnotherBackendIsRefused(t *testing.T) {
	for _, name := range otherBackendNames() {
		directory := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), []byte("x"), 0o600))
		err := Create(directory)
		require.ErrorIs(t, err, ErrFormatted)
		require.ErrorContains(t, err, "a replica of Raft")
		_, err = Open(directory, Options{})
		require.ErrorIs(t, err, ErrNotFormatted)
		require.ErrorContains(t, err, "a replica of Raft")
		holds, err := Holds(directory)
		require.NoError(t, err)
		require.False(t, holds)
		left, err := os.ReadDir(directory)
		require.NoError(t, err)
		require.Len(t, left, 1, "nothing was made")
	}
}

// TestHolds: a directory stays one of this package's when its log is gone.
func TestHolds(t *testing.T) {
	directory := t.TempDir()
	holds, err := Holds(directory)
	require.NoError(t, err)
	require.False(t, holds)
	require.NoError(t, Create(directory))
	holds, err = Holds(directory)
	require.NoError(t, err)
	require.True(t, holds)
	require.NoError(t, os.Rename(filepath.Join(directory, databaseName), filepath.Join(directory, ownerName)))
	holds, err = Holds(directory)
	require.NoError(t, err)
	require.True(t, holds)
	file := filepath.Join(directory, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Holds(file)
	require.Error(t, err, "what is no directory says nothing")
}
