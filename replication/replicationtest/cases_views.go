package replicationtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// electionThatFails: nobody has a quorum for a while, whoever tries; then somebody has.
func electionThatFails(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	for _, id := range g.members {
		g.network.isolate(id)
	}
	g.eventually("nobody leads", func() bool {
		for _, replica := range g.replicas {
			if replica.Status().Leading {
				return false
			}
		}
		return true
	})
	g.network.heal()
	g.mustCommit(6, 10)
	g.finished(10)
}

// sleepingMember: what is said to a backup and by it comes late, all of it.
func sleepingMember(t *testing.T, b Backend) {
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
func sleepingPrimary(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	old, view := g.primary()
	g.network.hold(g.id(old))
	results := make(chan replication.Result, 1)
	g.replicas[old].Submit(view, []byte("while asleep"), func(r replication.Result) { results <- r })
	g.mustCommit(6, 10, old)
	read := make(chan error, 1)
	g.replicas[old].ReadBarrier(view, func(err error) { read <- err })
	g.network.release(g.id(old))
	require.Error(t, <-read, "operations were acknowledged that it does not have")
	var result replication.Result
	select {
	case result = <-results:
	case <-g.ctx.Done():
		t.Fatal("no outcome")
	}
	if replication.DidNotHappen(result.Err) {
		g.read()
	}
	g.mustCommit(11, 15)
	g.finished(15)
	done := g.machines[g.read()].times([]byte("while asleep"))
	require.LessOrEqual(t, done, 1)
	if result.Err == nil {
		require.Equal(t, 1, done)
	} else if replication.DidNotHappen(result.Err) {
		require.Zero(t, done)
	}
}

// viewsOnlyRise: no view is led twice, and each one that leads later has a larger one.
func viewsOnlyRise(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	var mu sync.Mutex
	leaders := map[replication.ViewNumber]replication.ReplicaID{}
	var watching sync.WaitGroup
	watch := func(i int) {
		replica, id := g.replicas[i], g.id(i)
		watching.Go(func() {
			last := replication.ViewNumber(0)
			for event := range replica.Events() {
				if !event.Leading {
					continue
				}
				mu.Lock()
				if _, led := leaders[event.View]; led || event.View <= last {
					t.Errorf("view %d is led by %d and %d; before it, %d", event.View, leaders[event.View], id, last)
				}
				leaders[event.View] = id
				mu.Unlock()
				last = event.View
			}
		})
	}
	for i := range g.replicas {
		watch(i)
	}
	previous := replication.ViewNumber(0)
	for round := range 3 {
		g.mustCommit(round+1, round+1)
		primary, view := g.primary()
		require.Greater(t, view, previous)
		previous = view
		g.stop(primary)
		g.start(primary)
		watch(primary)
		g.eventually("a later view", func() bool { _, later := g.primary(); return later > view })
	}
	g.finished(3)
	for i := range g.replicas {
		g.stop(i)
	}
	watching.Wait()
	require.GreaterOrEqual(t, len(leaders), 3)
}

// boundToTheirView: who proposes under an earlier leadership is refused, though the same replica leads again.
func boundToTheirView(t *testing.T, b Backend) {
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
func readBarrierSees(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 1)
	var mu sync.Mutex
	acknowledged, reads := 1, 0
	ctx, stop := context.WithCancel(g.ctx)
	replicas := append([]replication.Replicator(nil), g.replicas...)
	var readers sync.WaitGroup
	for i, replica := range replicas {
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
func stress(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 25})
	g.mustCommit(1, 1)
	for round := range 3 {
		primary, view := g.primary()
		results := make(chan [2]any, 200)
		for i := range 200 {
			operation := fmt.Appendf(nil, "round %d, operation %d", round, i)
			g.replicas[primary].Submit(view, operation, func(r replication.Result) { results <- [2]any{operation, r} })
		}
		if round%2 == 0 {
			g.crash(primary)
		} else {
			g.crash(g.backups(primary)[0])
		}
		outcomes := map[string]replication.Result{}
		for range 200 {
			select {
			case r := <-results:
				outcomes[string(r[0].([]byte))] = r[1].(replication.Result)
			case <-g.ctx.Done():
				t.Fatal("an operation has no outcome")
			}
		}
		reader := g.read()
		for operation, result := range outcomes {
			times := g.machines[reader].times([]byte(operation))
			switch {
			case result.Err == nil:
				require.Equal(t, 1, times, operation)
			case replication.DidNotHappen(result.Err):
				require.Zero(t, times, operation)
			default:
				require.LessOrEqual(t, times, 1, operation)
			}
		}
		for i, replica := range g.replicas {
			if replica == nil {
				g.start(i)
				g.eventually("it takes part again", func() bool {
					g.commit(fmt.Appendf(nil, "keeps the group busy %d", round))
					return g.replicas[i].Status().Protocol == "normal"
				})
			}
		}
	}
	g.read()
	g.converged(1)
}
