package replicationtest

import (
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// failedReplica: without one backup the group goes on, and the one has everything when it is back.
func failedReplica(t T, b Backend) {
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

// catchingUpByEntries: who lacks no more than the log has is sent no checkpoint.
func catchingUpByEntries(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	primary, _ := g.primary()
	late := g.backups(primary)[0]
	g.stop(late)
	g.mustCommit(11, 150)
	g.start(late)
	g.finished(150)
	require.Zero(t, g.replicas[late].Status().Counters["checkpoint_fetches"])
	require.Zero(t, g.journal(late).restored())
}

// stateTransfer: a backup that is not reached for a while learns what it has missed.
func stateTransfer(t T, b Backend) {
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

func catchingUpByCheckpoint(t T, b Backend) {
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

func failedPrimary(t T, b Backend) {
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

func consecutivePrimaryFailures(t T, b Backend) {
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
func smallestQuorum(t T, b Backend) {
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
	g.nobodyLeads() // of two of five
	result := replication.Propose(g.ctx, g.replicas[primary], view, []byte("nobody has this"))
	require.ErrorIs(t, result.Err, replication.ErrNotPrimary)
	g.start(third)
	g.mustCommit(11, 15)
	g.start(backups[0])
	g.start(backups[1])
	g.finished(15)
}

// partitionedPrimary acknowledges nothing; what it took is gone or done, and nobody was told a lie.
func partitionedPrimary(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	old, view := g.primary()
	g.network.isolate(g.id(old))
	answers := g.newAnswers(10)
	for range 10 {
		answers.submit(old, view, []byte("lost"))
	}
	g.mustCommit(6, 10, old)
	for _, p := range answers.wait() {
		require.Error(t, p.result.Err, "nothing commits without a quorum")
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
func deafPrimary(t T, b Backend) {
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
func droppedReply(t T, b Backend) {
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
func droppedReplyThenFailedPrimary(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, view := g.primary()
	for _, i := range g.backups(primary) {
		g.network.cut(g.id(i), g.id(primary))
	}
	answers := g.newAnswers(1)
	answers.submit(primary, view, operation(6))
	g.crash(primary)
	outcomes := answers.wait()
	require.Error(t, outcomes[0].result.Err)
	g.network.heal()
	reader := g.read()
	g.judge(reader, outcomes)
	if g.machines[reader].times(operation(6)) == 0 {
		g.mustCommit(6, 6)
	}
	g.start(primary)
	g.mustCommit(7, 10)
	g.finished(10)
}

// restartOfAll in order: everything is there, in a group of one too.
func restartOfAll(t T, b Backend) {
	for _, n := range []int{1, 3} {
		g := newGroup(t, b, n, Options{CheckpointEvery: 15})
		last := 0
		for range 3 {
			g.mustCommit(last+1, last+20)
			last += 20
			for i := range g.replicas {
				g.stop(i)
			}
			g.startAll()
		}
		g.mustCommit(last+1, last+5)
		g.finished(last + 5)
	}
}

// closeWithOperationsWaiting: they have an outcome, and so have the reads.
func closeWithOperationsWaiting(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 3)
	primary, view := g.primary()
	g.network.isolate(g.id(primary))
	answers, reads := g.newAnswers(100), make(chan struct{}, 20) // under a lease some may pass
	for i := range 100 {
		answers.submit(primary, view, operationOf("waiting", 0, i))
	}
	replica := g.replicas[primary]
	for range 20 {
		replica.ReadBarrier(view, func(error) { reads <- struct{}{} })
	}
	g.stop(primary)
	outcomes := answers.wait()
	for _, p := range outcomes {
		require.Error(t, p.result.Err)
	}
	for range 20 {
		<-reads
	}
	require.ErrorIs(t, replication.Propose(g.ctx, replica, view, []byte("late")).Err, replication.ErrClosed)
	g.network.heal()
	g.start(primary)
	g.mustCommit(4, 6)
	g.finished(6)
	g.judge(g.read(), outcomes)
}

// crashOfEach: each replica is killed in turn and comes back, whoever is primary, and nothing that was acknowledged is
// lost though it was in memory only.
func crashOfEach(t T, b Backend) {
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
			g.whole(i)
		}
	}
	g.finished(last)
}

// crashOfAll at one time: what was acknowledged is there, where the durability says so; where it says the contrary, nothing is
// served from what is left.
func crashOfAll(t T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 15})
	g.mustCommit(1, 5)
	primary, view := g.primary()
	answers := g.newAnswers(50)
	for i := range 50 {
		answers.submit(primary, view, operationOf("before the crash", 0, i))
	}
	g.mustCommit(6, 40)
	for i := range g.replicas {
		g.crash(i)
	}
	outcomes := answers.wait()
	g.startAll()
	if b.Volatile {
		g.staysStopped()
		return
	}
	g.mustCommit(41, 45)
	reader := g.read()
	g.judge(reader, outcomes)
	g.holds(reader, 45)
	g.finished(45)
}
