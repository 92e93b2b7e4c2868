package replicationtest

import (
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// stoppedPrimary: a primary's process stands still for so long that another one leads. When it goes on it has lost its
// view, whatever it was asked meanwhile.
func stoppedPrimary(t T, b Backend) {
	g := newProcesses(t, b, 3, Options{})
	g.mustCommit(1, 5)
	for round, last := 0, 5; round < 2; round++ {
		old, view := g.primary()
		answers := g.newAnswers(20)
		for i := range 10 {
			answers.submit(old, view, operationOf("before it stood still", round, i))
		}
		g.halt(old)
		for i := range 10 {
			answers.submit(old, view, operationOf("while it stood still", round, i))
		}
		read := make(chan error, 1)
		g.replicas[old].ReadBarrier(view, func(err error) { read <- err })
		g.mustCommit(last+1, last+10, old)
		_, later := g.primary(old)
		require.Greater(t, later, view)
		g.goOn(old)
		outcomes := answers.wait()
		require.Error(t, <-read, "operations were acknowledged that it does not have")
		require.Error(t, replication.AwaitReadBarrier(g.ctx, g.replicas[old], view))
		last += 10
		g.mustCommit(last+1, last+5)
		last += 5
		g.finished(last)
		g.judge(g.read(), outcomes)
	}
}

// stoppedBackup: the group does not wait for it, and it has everything when it has gone on.
func stoppedBackup(t T, b Backend) {
	g := newProcesses(t, b, 3, Options{CheckpointEvery: 20})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	still := g.backups(primary)[0]
	g.halt(still)
	g.mustCommit(6, 80, still)
	g.goOn(still)
	g.mustCommit(81, 85)
	g.finished(85)
}

// stoppedMajority: nobody serves meanwhile, and everybody has an outcome afterwards.
func stoppedMajority(t T, b Backend) {
	g := newProcesses(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, view := g.primary()
	backups := g.backups(primary)
	g.halt(backups...)
	answers := g.newAnswers(10)
	for i := range 10 {
		answers.submit(primary, view, operationOf("without a majority", 0, i))
	}
	g.nobodyLeads()
	require.Error(t, replication.AwaitReadBarrier(g.ctx, g.replicas[primary], view))
	g.goOn(backups...)
	outcomes := answers.wait()
	g.mustCommit(6, 10)
	g.finished(10)
	g.judge(g.read(), outcomes)
}

// killedUnderLoad: each replica's process is killed in turn while callers propose, and comes back.
func killedUnderLoad(t T, b Backend) {
	g := newProcesses(t, b, 3, Options{CheckpointEvery: 50})
	l := g.underLoad(4)
	for i := range g.replicas {
		l.more(20)
		g.crash(i)
		l.more(20)
		g.start(i)
		g.whole(i)
	}
	g.account(l)
}

// killedPrimaries: whoever leads is killed, three times.
func killedPrimaries(t T, b Backend) {
	g := newProcesses(t, b, 3, Options{})
	l := g.underLoad(4)
	for range 3 {
		l.more(20)
		primary, view := g.primary()
		g.crash(primary)
		l.more(20)
		_, later := g.primary()
		require.Greater(t, later, view)
		g.start(primary)
		g.whole(primary)
	}
	g.account(l)
}

// killedAll: every process is killed at one time. What was acknowledged is there when they are back, where the durability
// says so; where it says the contrary, nothing is served from what is left.
func killedAll(t T, b Backend) {
	g := newProcesses(t, b, 3, Options{CheckpointEvery: 50})
	l := g.underLoad(4)
	l.more(60)
	for i := range g.replicas {
		g.lives[i].crash()
	}
	all := l.end()
	for i := range g.replicas {
		g.stop(i)
	}
	g.startAll()
	if b.Volatile {
		g.staysStopped()
		return
	}
	g.mustCommit(1, 5)
	g.finished(5)
	require.NotZero(t, g.judge(g.read(), all))
}
