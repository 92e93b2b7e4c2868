package vr_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// groupFlips: go test ./replication/vr -run TestSweepOverAGroup -v -group.flips 5000
var groupFlips = flag.Int("group.flips", 150, "how many bytes TestSweepOverAGroup flips")

// spoilEntry changes operation 7 wherever it stands in a replica's log.
func spoilEntry(t *testing.T, directory string) {
	t.Helper()
	path := filepath.Join(directory, "replica.db")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	spoiled := bytes.ReplaceAll(data, []byte("operation 7"), []byte("Operation 7"))
	require.NotEqual(t, data, spoiled)
	require.NoError(t, os.WriteFile(path, spoiled, 0o600))
}

// spoilCheckpoint changes a byte in the middle of the newest checkpoint.
func spoilCheckpoint(t *testing.T, directory string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "checkpoint-*"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	data, err := os.ReadFile(names[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(names[0], data, 0o600))
}

// In all three durabilities a replica whose entries, or whose checkpoint, or both are damaged repairs them from the
// others, serves again, and is whole when it starts the next time.
func TestDamageIsRepaired(t *testing.T) {
	for _, durability := range []vr.Durability{vr.DurabilitySync, vr.DurabilityAsync, vr.DurabilityMemory} {
		for name, spoil := range map[string][]func(*testing.T, string){
			"entry": {spoilEntry}, "checkpoint": {spoilCheckpoint}, "both": {spoilEntry, spoilCheckpoint},
		} {
			t.Run(durability.String()+" "+name, func(t *testing.T) {
				g := newLossyGroup(t, 3, durability)
				g.mustCommit(1, 30)
				leader, _ := g.primary()
				victim := g.backups(leader)[0]
				g.converged(30)
				require.NoError(t, g.replicas[victim].Checkpoint(t.Context()))
				g.mustCommit(31, 40)
				g.converged(40)
				g.stop(victim)
				g.mustCommit(41, 45)
				for _, change := range spoil {
					change(t, g.directories[victim])
				}
				g.open(victim, durability)
				require.EqualValues(t, len(spoil), g.replicas[victim].Status().Counters["damages"])
				g.eventually("it takes part", func() bool { return g.protocol(victim) == "normal" })
				status := g.replicas[victim].Status()
				require.EqualValues(t, 1, status.Counters["repairs"])
				require.Empty(t, status.Reason)
				g.converged(45)
				// It is needed now: one of the two others is down.
				g.stop(leader)
				g.mustCommit(46, 50)
				g.converged(50)
				g.open(leader, durability)
				g.converged(50)

				g.stop(victim)
				g.open(victim, durability)
				require.Zero(t, g.replicas[victim].Status().Counters["damages"], "what was damaged is gone")
				require.NotEqual(t, "recovering", g.protocol(victim))
				g.converged(50)
			})
		}
	}
}

// While too few others are there to repair from, the status says what is damaged, and a crash begins again.
func TestDamageWaitsForTheOthers(t *testing.T) {
	g := newLossyGroup(t, 3, vr.DurabilitySync)
	g.mustCommit(1, 30)
	g.converged(30)
	for i := range 3 {
		g.stop(i)
	}
	spoilEntry(t, g.directories[0])
	spoiled, err := os.ReadFile(filepath.Join(g.directories[0], "replica.db"))
	require.NoError(t, err)
	for range 3 {
		g.open(0, vr.DurabilitySync)
		status := g.replicas[0].Status()
		require.Equal(t, "recovering", status.Protocol)
		require.Contains(t, status.Reason, "replica.db is damaged: operations 7 to 30 are lost here")
		g.stop(0)
		now, err := os.ReadFile(filepath.Join(g.directories[0], "replica.db"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(spoiled, now), "nothing is changed before what replaces it is here")
	}
	for i := range 3 {
		g.open(i, vr.DurabilitySync)
	}
	g.mustCommit(31, 31)
	g.converged(31)
}

// Damage on more replicas than the group can lose keeps it stopped, and each says why.
func TestDamageOfAMajorityStops(t *testing.T) {
	g := newLossyGroup(t, 3, vr.DurabilitySync)
	g.mustCommit(1, 30)
	g.converged(30)
	for i := range 3 {
		g.stop(i)
	}
	for i := range 2 {
		spoilEntry(t, g.directories[i])
	}
	for i := range 3 {
		g.open(i, vr.DurabilitySync)
	}
	alone := g.replicas[2] // Never may ask once more when it has returned, and the test is over
	require.Never(t, func() bool { return alone.Status().Leading }, 1500*time.Millisecond, 20*time.Millisecond)
	for i := range 2 {
		require.Equal(t, "recovering", g.protocol(i))
		require.Contains(t, g.replicas[i].Status().Reason, "is damaged")
	}
}

// Who wants to look first is refused, and so is a group of one, which has nobody to repair from. Both find everything as
// it was.
func TestDamageIsRefused(t *testing.T) {
	for _, refuse := range []bool{true, false} {
		directory := t.TempDir()
		require.NoError(t, storage.Create(directory))
		open := func(members ...replication.ReplicaID) (*vr.Replica, error) {
			disk, err := storage.Open(directory, storage.Options{Durability: vr.DurabilityAsync})
			require.NoError(t, err)
			replica, err := vr.Open(vr.Options{
				Self: 1, Members: members, Storage: disk, Durability: vr.DurabilityAsync, StateMachine: &journal{},
				Transport: newNetwork().join(1), RefuseDamage: refuse,
			})
			if err != nil {
				require.NoError(t, disk.Close())
			}
			return replica, err
		}
		replica, err := open(1)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return replica.Status().Leading }, patience, 2*time.Millisecond)
		require.NoError(t, replication.Propose(t.Context(), replica, replica.Status().View, []byte("operation 7")).Err)
		require.NoError(t, replica.Close())
		spoilEntry(t, directory)
		before, err := os.ReadFile(filepath.Join(directory, "replica.db"))
		require.NoError(t, err)
		members := []replication.ReplicaID{1}
		if refuse {
			members = append(members, 2, 3)
		}
		for range 2 {
			_, err = open(members...)
			var damage *storage.DamageError
			require.ErrorAs(t, err, &damage)
			require.ErrorIs(t, err, vr.ErrDamaged)
			require.ErrorContains(t, err, map[bool]string{true: "repair is refused", false: "no other member"}[refuse])
		}
		after, err := os.ReadFile(filepath.Join(directory, "replica.db"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
	}
}

// TestSweepOverAGroup flips bytes of a replica's files while it is down, each time another, and starts it beside two
// sound ones. It is refused, or it ends with exactly what they have.
func TestSweepOverAGroup(t *testing.T) {
	g := newLossyGroup(t, 3, vr.DurabilitySync)
	random := rand.New(rand.NewPCG(1, 2))
	last := 30
	g.mustCommit(1, last)
	g.converged(uint64(last))
	const victim = 0
	require.NoError(t, g.replicas[victim].Checkpoint(t.Context()))
	refused, repaired, exact := 0, 0, 0
	for range *groupFlips {
		g.stop(victim)
		last++
		g.mustCommit(last, last)
		restore := flipByte(t, g.directories[victim], random)
		disk, err := storage.Open(g.directories[victim], storage.Options{})
		if err == nil {
			g.storages[victim] = disk
			g.replicas[victim], err = g.group.open(victim)
		}
		if err != nil {
			require.ErrorIs(t, err, vr.ErrDamaged)
			refused++
			restore()
			g.open(victim, vr.DurabilitySync)
		} else if g.replicas[victim].Status().Counters["damages"] > 0 {
			repaired++
		} else {
			exact++
		}
		g.converged(uint64(last))
	}
	t.Logf("of %d flips %d were refused, %d repaired, %d harmless; every replica ended with the same %d operations", *groupFlips, refused, repaired, exact, last)
	require.Positive(t, repaired)
	require.Positive(t, refused)
}

// flipByte flips a byte that is not amid zeros, in any of the files, and returns what takes it back.
func flipByte(t *testing.T, directory string, random *rand.Rand) (restore func()) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "*"))
	require.NoError(t, err)
	path := names[random.IntN(len(names))]
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	at := random.IntN(len(data))
	for len(bytes.Trim(data[max(at-8, 0):min(at+8, len(data))], "\x00")) == 0 {
		at = random.IntN(len(data))
	}
	changed := bytes.Clone(data)
	changed[at] ^= 1 << random.IntN(8)
	require.NoError(t, os.WriteFile(path, changed, 0o600))
	return func() { require.NoError(t, os.WriteFile(path, data, 0o600)) }
}
