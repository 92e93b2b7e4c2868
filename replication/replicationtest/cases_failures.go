package replicationtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// failedReplica: without one backup the group goes on, and the one has everything when it is back.
func failedReplica(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	primary, _ := g.primary()
	failed := g.backups(primary)[0]
	g.stop(failed)
	g.mustCommit(11, 20)
	g.start(failed)
	g.mustCommit(21, 25)
	g.finished(25)
}

// stateTransfer: a backup that is not reached for a while learns what it has missed.
func stateTransfer(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	lost := g.backups(primary)[0]
	g.network.isolate(g.id(lost))
	g.mustCommit(6, 60, lost)
	g.network.heal()
	g.mustCommit(61, 65)
	g.finished(65)
}

func catchingUpByCheckpoint(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 10})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	lost := g.backups(primary)[0]
	g.stop(lost)
	for last := 5; last < 105; last += 20 {
		g.mustCommit(last+1, last+20)
		for _, replica := range g.replicas {
			if replica != nil {
				require.NoError(t, replica.Checkpoint(g.ctx))
			}
		}
	}
	g.start(lost)
	g.mustCommit(106, 110)
	g.finished(110)
	require.NotZero(t, g.replicas[lost].Status().Counters["checkpoint_fetches"], "it lacked more than any log has")
}

func failedPrimary(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	primary, view := g.primary()
	g.stop(primary)
	g.mustCommit(11, 20)
	_, later := g.primary()
	require.Greater(t, later, view)
	g.start(primary)
	g.mustCommit(21, 25)
	g.finished(25)
}

func consecutivePrimaryFailures(t *testing.T, b Backend) {
	g := newGroup(t, b, 5, Options{})
	last := 0
	for range 2 {
		g.mustCommit(last+1, last+10)
		last += 10
		primary, _ := g.primary()
		g.stop(primary)
	}
	g.mustCommit(last+1, last+10)
	last += 10
	for i, replica := range g.replicas {
		if replica == nil {
			g.start(i)
		}
	}
	g.mustCommit(last+1, last+5)
	g.finished(last + 5)
}

// smallestQuorum: of five, three go on, and two do not.
func smallestQuorum(t *testing.T, b Backend) {
	g := newGroup(t, b, 5, Options{})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	backups := g.backups(primary)
	g.stop(backups[0])
	g.stop(backups[1])
	g.mustCommit(6, 10)
	primary, view := g.primary()
	third := g.backups(primary)[0]
	g.stop(third)
	g.eventually("two of five do not lead", func() bool {
		for _, replica := range g.replicas {
			if replica != nil && replica.Status().Leading {
				return false
			}
		}
		return true
	})
	result := replication.Propose(g.ctx, g.replicas[primary], view, []byte("nobody has this"))
	require.ErrorIs(t, result.Err, replication.ErrNotPrimary)
	g.start(third)
	g.mustCommit(11, 15)
	g.start(backups[0])
	g.start(backups[1])
	g.finished(15)
}

// partitionedPrimary acknowledges nothing; what it took is gone or done, and nobody was told a lie.
func partitionedPrimary(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	old, view := g.primary()
	g.network.isolate(g.id(old))
	results := make(chan replication.Result, 10)
	for range 10 {
		g.replicas[old].Submit(view, []byte("lost"), func(r replication.Result) { results <- r })
	}
	g.mustCommit(6, 10, old)
	for range 10 {
		select {
		case r := <-results:
			require.Error(t, r.Err)
		case <-g.ctx.Done():
			t.Fatal("an operation has no outcome")
		}
	}
	require.Error(t, replication.AwaitReadBarrier(g.ctx, g.replicas[old], view))
	g.network.heal()
	g.mustCommit(11, 15)
	g.finished(15)
	for i := range g.replicas {
		require.Zero(t, g.machines[i].times([]byte("lost")))
	}
}

// deafPrimary: what the others say does not arrive, so that it cannot commit, and another one leads.
func deafPrimary(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	old, view := g.primary()
	for _, i := range g.backups(old) {
		g.network.cut(g.id(i), g.id(old))
	}
	g.eventually("it does not lead any more", func() bool { return !g.replicas[old].Status().Leading })
	g.mustCommit(6, 10, old)
	_, later := g.primary(old)
	require.Greater(t, later, view)
	g.network.heal()
	g.mustCommit(11, 15)
	g.finished(15)
}

// droppedReply: what a backup acknowledges does not arrive for a while. The operation is done once, if at all.
func droppedReply(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	for _, i := range g.backups(primary) {
		g.network.cut(g.id(i), g.id(primary))
		g.mustCommit(6+2*i, 7+2*i)
		g.network.heal()
	}
	g.read()
	g.converged(9)
}

// droppedReplyThenFailedPrimary: an operation that is on every log, whose primary fails before it hears so. Whoever leads
// then has it, once.
func droppedReplyThenFailedPrimary(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, view := g.primary()
	for _, i := range g.backups(primary) {
		g.network.cut(g.id(i), g.id(primary))
	}
	results := make(chan replication.Result, 1)
	g.replicas[primary].Submit(view, operation(6), func(r replication.Result) { results <- r })
	g.crash(primary)
	var result replication.Result
	select {
	case result = <-results:
	case <-g.ctx.Done():
		t.Fatal("no outcome")
	}
	require.Error(t, result.Err)
	g.network.heal()
	done := g.machines[g.read()].times(operation(6))
	require.LessOrEqual(t, done, 1)
	if replication.DidNotHappen(result.Err) {
		require.Zero(t, done)
	}
	if done == 0 {
		g.mustCommit(6, 6)
	}
	g.start(primary)
	g.mustCommit(7, 10)
	g.finished(10)
}

// restartOfAll in order: everything is there.
func restartOfAll(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 15})
	last := 0
	for range 3 {
		g.mustCommit(last+1, last+20)
		last += 20
		for i := range g.replicas {
			g.stop(i)
		}
		for i := range g.replicas {
			g.start(i)
		}
	}
	g.mustCommit(last+1, last+5)
	g.finished(last + 5)
}

// crashOfEach: each replica is killed in turn and comes back, whoever is primary, and nothing that was acknowledged is
// lost though it was in memory only.
func crashOfEach(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 15})
	last := 0
	for range 2 {
		for i := range g.replicas {
			g.mustCommit(last+1, last+10)
			last += 10
			g.crash(i)
			g.mustCommit(last+1, last+10)
			last += 10
			g.start(i)
			g.eventually("it takes part again", func() bool {
				g.commit([]byte("keeps the group busy"))
				status := g.replicas[i].Status()
				return status.Protocol == "normal" && status.Reason == ""
			})
		}
	}
	g.finished(last)
}
