package storage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
)

func goldenOwner() vr.Owner {
	return vr.Owner{Cluster: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Group: 3, Replica: 2}
}

// A directory is one replica's, over restarts; a later life of it may take it over, and no earlier one again.
func TestADirectoryHasAnOwner(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityAsync, DurabilityMemory} {
		directory := t.TempDir()
		require.NoError(t, Create(directory))
		claim := func(owner vr.Owner) error {
			storage, err := Open(directory, Options{Durability: durability})
			require.NoError(t, err)
			defer func() { require.NoError(t, storage.Close()) }()
			return storage.Claim(owner)
		}
		unnamed := vr.Owner{Group: 3, Replica: 2}
		require.NoError(t, claim(unnamed))
		require.NoError(t, claim(goldenOwner()), "now it is told the cluster")
		require.NoError(t, claim(unnamed), "whoever was not told has nothing to say")
		for _, change := range []func(o *vr.Owner){
			func(o *vr.Owner) { o.Cluster[0]++ },
			func(o *vr.Owner) { o.Group++ },
			func(o *vr.Owner) { o.Replica++ },
			func(o *vr.Owner) { o.Witness, o.Incarnation = true, 1 },
		} {
			other := goldenOwner()
			change(&other)
			err := claim(other)
			require.ErrorIs(t, err, vr.ErrOwner)
			var named *vr.OwnerError
			require.ErrorAs(t, err, &named)
			require.Equal(t, &vr.OwnerError{Have: goldenOwner(), Want: other}, named)
		}
		later := goldenOwner()
		later.Incarnation = 1
		require.NoError(t, claim(later))
		require.ErrorIs(t, claim(goldenOwner()), vr.ErrOwner, "its first life is over")
	}
	memory := NewMemory()
	require.NoError(t, memory.Claim(goldenOwner()))
	require.ErrorIs(t, memory.Claim(vr.Owner{Group: 3, Replica: 1}), vr.ErrOwner)
	require.ErrorIs(t, NewFailing(memory).Claim(vr.Owner{Group: 3, Replica: 1}), vr.ErrOwner)
}

// A replica whose log is gone does not begin anew beside what says whose it was.
func TestALostLogIsNotMadeAnew(t *testing.T) {
	directory := t.TempDir()
	require.NoError(t, Create(directory))
	storage, err := Open(directory, Options{})
	require.NoError(t, err)
	require.NoError(t, storage.Claim(goldenOwner()))
	require.NoError(t, storage.Close())
	require.NoError(t, os.Remove(filepath.Join(directory, databaseName)))
	_, err = Open(directory, Options{})
	require.ErrorIs(t, err, ErrNotFormatted)
	require.ErrorContains(t, err, "larger incarnation")
	err = Create(directory)
	require.ErrorIs(t, err, ErrFormatted)
	require.ErrorContains(t, err, "replica 2 of group 3")
}

// TestOwnerFormat holds the bytes that docs/FORMATS.md shows.
func TestOwnerFormat(t *testing.T) {
	data := encodeOwner(goldenOwner())
	require.Equal(t, "viewline owner\nformat 1\ncluster 0102030405060708090a0b0c0d0e0f10\ngroup 3\nreplica 2\nincarnation 0\nwitness false\nchecksum ff70f96e\n", string(data))
	back, err := decodeOwner(data)
	require.NoError(t, err)
	require.Equal(t, goldenOwner(), back)
	for cut := range len(data) {
		_, err := decodeOwner(data[:cut])
		require.Error(t, err)
	}
	for at := range data {
		spoilt := append([]byte(nil), data...)
		spoilt[at] ^= 1
		_, err := decodeOwner(spoilt)
		require.Error(t, err, "byte %d", at)
	}
	directory := t.TempDir()
	require.NoError(t, Create(directory))
	require.NoError(t, os.WriteFile(filepath.Join(directory, ownerName), data[:40], 0o600))
	storage, err := Open(directory, Options{})
	require.NoError(t, err)
	require.ErrorIs(t, storage.Claim(goldenOwner()), ErrDamaged)
	require.NoError(t, storage.Close())
}

// FuzzOwner: what is read is written again the same.
func FuzzOwner(f *testing.F) {
	f.Add(encodeOwner(goldenOwner()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if owner, err := decodeOwner(data); err == nil {
			require.Equal(t, string(data), string(encodeOwner(owner)))
		}
	})
}
