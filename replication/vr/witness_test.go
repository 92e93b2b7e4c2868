package vr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// withWitness makes the third replica of three the witness.
func withWitness(options *vr.Options) {
	options.CheckpointEvery = 10
	if options.Witness = 3; options.Self == 3 {
		options.StateMachine = nil
	}
}

// applied waits until replicas have applied so many operations.
func (g *group) applied(count uint64, replicas ...int) {
	g.t.Helper()
	g.eventually("everything is applied", func() bool {
		for _, i := range replicas {
			if applied, _ := g.machines[i].state(); applied != count {
				return false
			}
		}
		return true
	})
}

// Two states and a witness survive the loss of either state: what was committed while one was away, the witness has kept
// for it.
func TestAWitnessKeepsWhatAnActiveMemberLacks(t *testing.T) {
	for name, make := range map[string]func(t *testing.T) *group{
		"disk":   func(t *testing.T) *group { return newGroup(t, 3, withWitness) },
		"memory": func(t *testing.T) *group { return newMemoryGroup(t, 3, withWitness) },
	} {
		t.Run(name, func(t *testing.T) {
			g := make(t)
			g.mustCommit(1, 50)
			g.applied(50, 0, 1)
			g.eventually("the witness drops what both have checkpoints of", func() bool { return g.replicas[2].Status().Checkpoint >= 20 })
			first, view := g.primary()
			require.NotEqual(t, 2, first)
			second := 1 - first
			witness := g.replicas[2].Status()
			require.Equal(t, replication.RoleWitness, witness.Role)

			require.ErrorIs(t, replication.Propose(t.Context(), g.replicas[2], view, []byte("x")).Err, replication.ErrNotPrimary)
			require.ErrorIs(t, replication.AwaitReadBarrier(t.Context(), g.replicas[2], view), replication.ErrNotPrimary)
			_, err := g.replicas[2].ReadStale(t.Context(), 0)
			require.ErrorIs(t, err, vr.ErrWitness)
			require.NoError(t, g.replicas[2].Checkpoint(t.Context()), "there is nothing to do")
			_, _, err = g.transfer(3)
			require.ErrorIs(t, err, replication.ErrNoMember)
			require.ErrorContains(t, err, "replica 3 is a witness")

			g.stop(second)
			g.mustCommit(51, 120)
			g.stop(2)
			g.start(2) // the witness comes back with its log
			g.eventually("the witness has it all", func() bool { return g.replicas[2].Status().Op >= 120 })
			g.stop(first)
			g.start(second)
			g.mustCommit(121, 130)
			applied, _ := g.machines[second].state()
			require.EqualValues(t, 130, applied, "70 of them came from the witness")
			g.start(first)
			g.applied(130, first, second)
		})
	}
}

// A witness that was away for long goes on from a checkpoint's place in the log, without the state.
func TestAWitnessThatWasAwayGoesOn(t *testing.T) {
	g := newGroup(t, 3, withWitness)
	g.mustCommit(1, 5)
	g.stop(2)
	g.mustCommit(6, 100)
	g.applied(100, 0, 1)
	g.start(2)
	g.eventually("the witness is there again", func() bool { return g.replicas[2].Status().Commit >= 100 })
	require.GreaterOrEqual(t, uint64(g.replicas[2].Status().Checkpoint), uint64(70))
	first, _ := g.primary()
	g.stop(1 - first)
	g.mustCommit(101, 110)
	g.stop(2)
	g.start(2)
	g.mustCommit(111, 115)
	g.start(1 - first)
	g.applied(115, 0, 1)
}

// A witness's storage has no state: nobody else is opened over it, and a witness over no other.
func TestAWitnessHasItsOwnStorage(t *testing.T) {
	g := newGroup(t, 3, withWitness)
	g.mustCommit(1, 1)
	g.stop(2)
	g.change = func(*vr.Options) {}
	_, err := g.open(2)
	require.ErrorIs(t, err, vr.ErrOwner)
	g.stop(1)
	g.change = func(options *vr.Options) { options.Witness, options.StateMachine = 2, nil }
	_, err = g.open(1)
	require.ErrorIs(t, err, vr.ErrOwner)
}

func TestOptionsOfAWitness(t *testing.T) {
	good := vr.Options{
		Self: 3, Witness: 3, Members: []replication.ReplicaID{1, 2, 3}, Transport: newNetwork().join(3), Storage: storage.NewMemory(),
	}
	require.NoError(t, good.Validate())
	for name, spoil := range map[string]func(options *vr.Options){
		"a witness with a state":      func(options *vr.Options) { options.StateMachine = &journal{} },
		"a state without a machine":   func(options *vr.Options) { options.Self = 2 },
		"a witness that is no member": func(options *vr.Options) { options.Witness, options.StateMachine = 4, &journal{} },
		"nobody with a state":         func(options *vr.Options) { options.Members = []replication.ReplicaID{3} },
		"more than three with one":    func(options *vr.Options) { options.Members = []replication.ReplicaID{1, 2, 3, 4, 5} },
	} {
		options := good
		spoil(&options)
		require.ErrorIs(t, options.Validate(), vr.ErrOptions, name)
	}
}
