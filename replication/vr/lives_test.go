package vr_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// A replica whose directory is gone comes back in a later life, from nothing, and what is left of the earlier one does not.
func TestAWipedReplicaComesBackInALaterLife(t *testing.T) {
	lost := -1
	g := newGroup(t, 3, func(options *vr.Options) {
		options.CheckpointEvery, options.StateMachine.(*journal).gaps = 20, true
		if lost >= 0 && options.Self == replication.ReplicaID(lost+1) {
			options.Incarnation, options.Joining = 1, true
		}
	})
	g.mustCommit(1, 50)
	leader, _ := g.primary()
	lost = g.backups(leader)[0]
	g.stop(lost)
	old := g.directories[lost]
	files, err := os.ReadDir(old)
	require.NoError(t, err)
	for _, file := range files {
		if file.Name() != "OWNER" {
			require.NoError(t, os.RemoveAll(filepath.Join(old, file.Name())))
		}
	}
	_, err = g.open(lost)
	require.ErrorIs(t, err, storage.ErrNotFormatted)
	require.ErrorIs(t, storage.Create(old), storage.ErrFormatted, "OWNER says that there was a log")

	g.directories[lost] = t.TempDir()
	require.NoError(t, storage.Create(g.directories[lost]))
	g.start(lost)
	g.mustCommit(51, 60)
	require.Equal(t, "transitioning", g.replicas[lost].Status().Protocol)
	next := members(0, 1, 2)
	next[lost].Incarnation = 1
	g.becomes(next...)
	g.eventually("it is a member again", func() bool { return g.replicas[lost].Status().Protocol == "normal" })
	require.Equal(t, next, g.replicas[lost].Membership().Members)
	// It counts: with one of the others away it is needed.
	leader, _ = g.primary()
	for _, i := range g.backups(leader) {
		if i != lost {
			g.stop(i)
			break
		}
	}
	g.mustCommit(61, 70)
	g.stop(lost)
	g.start(lost)
	g.mustCommit(71, 75)
}

// A group of three gets a witness in the place of a replica, and it is as good as one.
func TestAWitnessTakesAPlace(t *testing.T) {
	g := newChangingGroup(t, 3, func(options *vr.Options) {
		if options.CheckpointEvery = 20; options.Self == 4 {
			options.Witness, options.StateMachine = 4, nil
		}
	})
	g.mustCommit(1, 100)
	place := g.join()
	next := members(0, 1, 2, place)
	leader, _ := g.primary()
	_, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: next, DryRun: true})
	require.Error(t, err, "it has no state")
	next[place].Witness = true
	g.becomes(next...)
	g.settled(1, 0, 1, 2, place)
	leader, _ = g.primary()
	leaves := g.backups(leader)[0]
	require.NotEqual(t, place, leaves)
	g.becomes(append(next[:leaves], next[leaves+1:]...)...)
	g.left(leaves)
	g.mustCommit(101, 150)
	leader, _ = g.primary()
	for _, i := range g.backups(leader) {
		if i != place {
			g.stop(i)
		}
	}
	g.mustCommit(151, 160)
	require.Equal(t, replication.RoleWitness, g.replicas[place].Status().Role)
}
