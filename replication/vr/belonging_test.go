package vr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// A replica is opened over its own storage only, and in the life that this storage is of, or a later one.
func TestAStorageHasAnOwner(t *testing.T) {
	directory := t.TempDir()
	require.NoError(t, storage.Create(directory))
	open := func(change func(options *vr.Options)) error {
		disk, err := storage.Open(directory, storage.Options{})
		require.NoError(t, err)
		options := vr.Options{
			Cluster: [16]byte{7}, Group: 4, Self: 2, Members: []replication.ReplicaID{2}, Storage: disk, StateMachine: &counter{},
		}
		change(&options)
		replica, err := vr.Open(options)
		if err != nil {
			require.NoError(t, disk.Close())
			return err
		}
		return replica.Close()
	}
	require.NoError(t, open(func(*vr.Options) {}))
	require.NoError(t, open(func(*vr.Options) {}))
	for name, change := range map[string]func(options *vr.Options){
		"another cluster's": func(options *vr.Options) { options.Cluster = [16]byte{8} },
		"another group's":   func(options *vr.Options) { options.Group = 5 },
		"another replica's": func(options *vr.Options) { options.Self, options.Members = 3, []replication.ReplicaID{3} },
	} {
		err := open(change)
		require.ErrorIs(t, err, vr.ErrOwner, name)
		var named *vr.OwnerError
		require.ErrorAs(t, err, &named, name)
		require.Equal(t, vr.Owner{Cluster: [16]byte{7}, Group: 4, Replica: 2}, named.Have, name)
	}
	require.NoError(t, open(func(*vr.Options) {}), "nothing was changed")
}
