package replicationtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// electionThatFails: nobody has a quorum for a while, whoever tries; then somebody has.
func electionThatFails(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	for i := range g.replicas {
		g.network.isolate(g.id(i))
	}
	g.nobodyLeads()
	g.network.heal()
	g.mustCommit(6, 10)
	g.finished(10)
}

// severalCandidates at the same time: what each has to say when it misses the primary is held up until all have said
// something, and then comes at once. One of them leads, or the next time one does; no view is led twice.
func severalCandidates(t T, b Backend) {
	g := newGroup(t, b, 5, Options{})
	last := 0
	for range 5 {
		g.mustCommit(last+1, last+5)
		last += 5
		primary, view := g.primary()
		candidates := g.backups(primary)
		g.network.isolate(g.id(primary))
		for _, i := range candidates {
			g.network.hold(g.id(i))
		}
		g.eventually("each has spoken", func() bool {
			return !slices.ContainsFunc(candidates, func(i int) bool { return g.network.heldFrom(g.id(i)) == 0 })
		})
		for _, i := range candidates {
			g.network.release(g.id(i))
		}
		g.mustCommit(last+1, last+5, primary)
		last += 5
		_, later := g.primary(primary)
		require.Greater(t, later, view)
		g.network.heal()
	}
	g.finished(last)
}

// electionsThatFail one after the other: whoever tries is not heard, again and again. When he is heard he leads.
func electionsThatFail(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, view := g.primary()
	for i := range g.replicas {
		g.network.isolate(g.id(i))
	}
	g.nobodyLeads()
	for _, i := range g.backups(primary) {
		before := g.network.attempts(g.id(i))
		g.eventually("it tries again and again", func() bool { return g.network.attempts(g.id(i)) >= before+10 })
		require.False(t, g.replicas[i].Status().Leading)
	}
	g.network.heal()
	g.mustCommit(6, 10)
	_, later := g.primary()
	require.Greater(t, later, view)
	g.finished(10)
}

// sleepingMember: what is said to a backup and by it comes late, all of it.
func sleepingMember(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	asleep := g.backups(primary)[0]
	g.network.hold(g.id(asleep))
	g.mustCommit(6, 40, asleep)
	g.network.release(g.id(asleep))
	g.mustCommit(41, 45)
	g.finished(45)
}

// sleepingPrimary: another one takes its place; when it wakes, with what the others had said to it before, nobody is
// told anything old.
func sleepingPrimary(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	old, view := g.primary()
	g.network.hold(g.id(old))
	answers := g.newAnswers(1)
	answers.submit(old, view, []byte("while asleep"))
	g.mustCommit(6, 10, old)
	read := make(chan error, 1)
	g.replicas[old].ReadBarrier(view, func(err error) { read <- err })
	g.network.release(g.id(old))
	require.Error(t, <-read, "operations were acknowledged that it does not have")
	outcomes := answers.wait()
	g.mustCommit(11, 15)
	g.finished(15)
	g.judge(g.read(), outcomes)
}

// viewsOnlyRise: no view is led twice, and each one that leads later has a larger one, in later lives too. (Every group of
// the suite is watched for that.)
func viewsOnlyRise(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	previous := replication.ViewNumber(0)
	for round := range 3 {
		g.mustCommit(round+1, round+1)
		primary, view := g.primary()
		require.Greater(t, view, previous)
		previous = view
		g.stop(primary)
		g.start(primary)
		g.eventually("a later view", func() bool { _, later := g.primary(); return later > view })
	}
	g.finished(3)
	g.closeAll()
	require.GreaterOrEqual(t, g.views.count(), 3)
}

// boundToTheirView: who proposes under an earlier leadership is refused, though the same replica leads again.
func boundToTheirView(t T, b Backend) {
	g := newGroup(t, b, 1, Options{})
	g.mustCommit(1, 1)
	_, view := g.primary()
	g.stop(0)
	g.start(0)
	_, later := g.primary()
	require.Greater(t, later, view)
	for _, wrong := range []replication.ViewNumber{0, view, later + 1} {
		result := replication.Propose(g.ctx, g.replicas[0], wrong, []byte("of another view"))
		require.ErrorIs(t, result.Err, replication.ErrNotPrimary)
		require.ErrorIs(t, replication.AwaitReadBarrier(g.ctx, g.replicas[0], wrong), replication.ErrNotPrimary)
	}
	g.mustCommit(2, 3)
	g.finished(3)
	require.Zero(t, g.machines[0].times([]byte("of another view")))
}

// readBarrierSees: readers at whoever claims to lead see everything that was acknowledged before they asked, while
// primaries change.
func readBarrierSees(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 1)
	var mu sync.Mutex
	acknowledged, reads := 1, 0
	ctx, stop := context.WithCancel(g.ctx)
	var readers sync.WaitGroup
	for i, replica := range g.running() {
		readers.Go(func() {
			for ctx.Err() == nil {
				status := replica.Status()
				if !status.Leading {
					<-time.After(time.Millisecond) // it looks again
					continue
				}
				mu.Lock()
				before := acknowledged
				mu.Unlock()
				if replication.AwaitReadBarrier(ctx, replica, status.View) != nil {
					continue
				}
				if g.machines[i].times(operation(before)) != 1 {
					t.Errorf("operation %d was acknowledged and is not there", before)
				}
				mu.Lock()
				reads++
				mu.Unlock()
			}
		})
	}
	for last := 1; last < 31; last++ {
		g.mustCommit(last+1, last+1)
		mu.Lock()
		acknowledged = last + 1
		mu.Unlock()
		if last%10 == 0 {
			primary, _ := g.primary()
			g.network.isolate(g.id(primary))
			g.eventually("another one leads", func() bool { other, _ := g.primary(primary); return other != primary })
			g.mustCommit(last+100, last+100, primary)
			g.network.heal()
		}
	}
	stop()
	readers.Wait()
	require.NotZero(t, reads)
	g.converged(31)
}

// stress: clients propose and replicas die, one at a time. What was acknowledged is there once, and what certainly did
// not happen is not.
func stress(t T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 25})
	g.mustCommit(1, 1)
	for round := range 3 {
		primary, view := g.primary()
		answers := g.newAnswers(200)
		for i := range 200 {
			answers.submit(primary, view, fmt.Appendf(nil, "round %d, operation %d", round, i))
		}
		if round%2 == 0 {
			g.crash(primary)
		} else {
			g.crash(g.backups(primary)[0])
		}
		g.judge(g.read(), answers.wait())
		for i, replica := range g.replicas {
			if replica == nil {
				g.start(i)
				g.whole(i)
			}
		}
	}
	g.read()
	g.converged(1)
}
