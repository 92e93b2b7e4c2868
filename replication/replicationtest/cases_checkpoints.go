package replicationtest

import (
	"errors"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// journal is a replica's state machine, in a group of this process.
func (g *group) journal(i int) *journal { return g.machines[i].(*journal) }

// checkpointAll has all replicas that run write a checkpoint.
func (g *group) checkpointAll() {
	g.t.Helper()
	for _, replica := range g.running() {
		require.NoError(g.t, replica.Checkpoint(g.ctx))
	}
}

// leaveBehind has those who run go on from an operation so far that whoever has not got that one needs a checkpoint. It
// returns the last operation.
func (g *group) leaveBehind(last int, except ...int) int {
	g.t.Helper()
	for range 3 { // the log is kept for one checkpoint more
		g.mustCommit(last+1, last+10, except...)
		last += 10
		for i, replica := range g.replicas {
			if replica != nil && !(len(except) > 0 && except[0] == i) {
				require.NoError(g.t, replica.Checkpoint(g.ctx))
			}
		}
	}
	return last
}

// checkpointNow: the state is durable, and a replica that starts again has it.
func checkpointNow(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 20)
	g.converged(20)
	for i, replica := range g.replicas {
		require.NoError(t, replica.Checkpoint(g.ctx))
		require.NotZero(t, replica.Status().Checkpoint)
		require.NoError(t, replica.Checkpoint(g.ctx), "nothing was applied since")
		g.stop(i)
		g.start(i)
		require.NotZero(t, g.replicas[i].Status().Checkpoint)
	}
	g.mustCommit(21, 25)
	g.finished(25)
}

// restartFromACheckpoint: the log below it is gone, and everything is there.
func restartFromACheckpoint(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	last := g.leaveBehind(0)
	g.mustCommit(last+1, last+5)
	g.converged(last + 5)
	for i := range g.replicas {
		g.stop(i)
	}
	g.startAll()
	for i := range g.replicas {
		require.NotZero(t, g.journal(i).restored(), "replica %d", g.id(i))
	}
	g.mustCommit(last+6, last+10)
	g.finished(last + 10)
}

// checkpointsUnderLoad: everybody writes one after the other while callers propose, and starts again from the newest.
func checkpointsUnderLoad(t T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 30})
	l := g.underLoad(4)
	for range 5 {
		l.more(20)
		g.checkpointAll()
	}
	all := g.account(l)
	for i := range g.replicas {
		g.stop(i)
	}
	g.startAll()
	reader := g.read()
	require.NotZero(t, g.judge(reader, all))
	require.NotZero(t, g.journal(reader).restored())
	g.mustCommit(1, 5)
	g.finished(5)
}

// megabytes are what a replica is to fetch where a fetch is to take some time.
const megabytes = 3 << 20

// behindMegabytes is a group of which one replica is down and needs a checkpoint of megabytes, and its last operation.
func behindMegabytes(t T, b Backend) (g *group, late, last int) {
	t.Helper()
	g = newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	late = g.backups(primary)[0]
	g.stop(late)
	for i := range g.machines {
		g.journal(i).pad(megabytes)
	}
	return g, late, g.leaveBehind(5)
}

// fetchUnderLoad: a state of megabytes is fetched while the group works.
func fetchUnderLoad(t T, b Backend) {
	g, late, last := behindMegabytes(t, b)
	l := g.underLoad(4)
	l.more(20)
	g.start(late)
	g.whole(late)
	l.more(20)
	g.account(l)
	g.holds(late, last)
	require.NotZero(t, g.replicas[late].Status().Counters["checkpoint_fetches"])
	require.NotZero(t, g.journal(late).restored())
	g.mustCommit(last+1, last+5)
	g.finished(last + 5)
}

// breaking is a way that carries so many chunks, over all fetches, and breaks each time then.
type breaking struct {
	replication.ChunkReader
	left, broken *atomic.Int64
}

var errBroken = errors.New("replicationtest: the way is broken")

// Next is the inner one's, or the error.
func (b *breaking) Next() (replication.Chunk, error) {
	if b.left.Add(-1) < 0 {
		b.broken.Add(1)
		return replication.Chunk{}, errBroken
	}
	return b.ChunkReader.Next()
}

// fetchThatBreaks in the middle is tried again, several times, and over a restart.
func fetchThatBreaks(t T, b Backend) {
	g, late, last := behindMegabytes(t, b)
	var left, broken atomic.Int64
	left.Store(5) // of a dozen
	g.network.alter(func(chunks replication.ChunkReader) replication.ChunkReader { return &breaking{chunks, &left, &broken} })
	g.start(late)
	g.eventually("it has broken twice", func() bool { return broken.Load() >= 2 })
	require.Zero(t, g.journal(late).restored(), "nothing half is restored")
	g.stop(late)
	g.start(late)
	before := broken.Load()
	g.eventually("it breaks again", func() bool { return broken.Load() > before })
	require.Zero(t, g.journal(late).restored(), "nothing half is restored")
	g.network.alter(nil)
	g.whole(late)
	g.mustCommit(last+1, last+5)
	g.finished(last + 5)
	require.NotZero(t, g.journal(late).restored())
}

// tailAboveTheCheckpoint: a replica has operations that nobody else has, above what the checkpoint holds that it is sent.
func tailAboveTheCheckpoint(t T, b Backend) { tailAbove(t, b, func(*group, int) {}, (*group).heal) }

// tailAboveTheCheckpointAfterACrash: it had crashed in between.
func tailAboveTheCheckpointAfterACrash(t T, b Backend) {
	tailAbove(t, b, (*group).crash, func(g *group, old int) {
		g.heal(old)
		g.start(old)
	})
}

// heal undoes every cut.
func (g *group) heal(int) { g.network.heal() }

func tailAbove(t T, b Backend, away, back func(g *group, old int)) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	g.converged(5)
	old, view := g.primary()
	g.network.isolate(g.id(old))
	answers, op := g.newAnswers(500), g.replicas[old].Status().Op
	for i := range 500 {
		answers.submit(old, view, operationOf("tail", 0, i))
	}
	g.eventually("they are in its log", func() bool {
		status := g.replicas[old].Status()
		return status.Op >= op+500 || !status.Leading
	})
	away(g, old)
	last := g.leaveBehind(5, old)
	back(g, old)
	g.whole(old)
	g.mustCommit(last+1, last+5)
	g.finished(last + 5)
	for _, p := range answers.wait() {
		require.Error(t, p.result.Err, "nobody else had it")
		require.Zero(t, g.machines[old].times(p.operation))
	}
	require.NotZero(t, g.journal(old).restored())
}
