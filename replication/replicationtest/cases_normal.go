package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

func oneOperation(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 1)
	g.finished(1)
}

// unloggedRead: a read barrier is no operation, and is answered at the primary.
func unloggedRead(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 3)
	for range 20 {
		g.holds(g.read(), 3)
	}
	g.finished(3)
	applied, _ := g.machines[0].state()
	require.EqualValues(t, 3, applied)
}

// unloggedReadTimesOut: without a quorum nobody is told that what he reads is the newest.
func unloggedReadTimesOut(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 3)
	primary, view := g.primary()
	for _, i := range g.backups(primary) {
		g.stop(i)
	}
	// A lease may last a little longer, and no other can lead.
	g.eventually("reads end", func() bool {
		ctx, cancel := context.WithTimeout(g.ctx, 50*time.Millisecond)
		defer cancel()
		return replication.AwaitReadBarrier(ctx, g.replicas[primary], view) != nil
	})
	g.eventually("the primary does not lead any more", func() bool { return !g.replicas[primary].Status().Leading })
	err := replication.AwaitReadBarrier(g.ctx, g.replicas[primary], view)
	require.ErrorIs(t, err, replication.ErrNotPrimary)
}

func manyOperations(t T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 40})
	g.mustCommit(1, 200)
	g.finished(200)
}

// manyClients propose at the same time: everybody has an outcome, and what happened did so once, in an order that all
// replicas share. Without batches each operation takes a message at least.
func manyClients(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	var all []proposal
	done, round := 0, 0
	g.eventually("something happens", func() bool { // the view may change just then
		before := g.network.count()
		outcomes := clients(g, round)
		messages := g.network.count() - before
		now := g.judge(g.read(), outcomes)
		if b.batchMax == 1 {
			require.GreaterOrEqual(t, messages, uint64(now))
		}
		all, done, round = append(all, outcomes...), done+now, round+1
		return now > 0
	})
	g.converged(done)
	for i := range g.replicas {
		g.judge(i, all)
	}
}

// clients has many of them propose in the present view, and returns their outcomes.
func clients(g *group, round int) (all []proposal) {
	g.t.Helper()
	primary, view := g.primary()
	var mu sync.Mutex
	var group sync.WaitGroup
	for client := range 16 {
		group.Go(func() {
			for i := range 25 {
				operation := operationOf(fmt.Sprintf("client %d", client), round, i)
				result := replication.Propose(g.ctx, g.replicas[primary], view, operation)
				mu.Lock()
				all = append(all, proposal{operation, result})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return all
}

func groupsOfEverySize(t T, b Backend) {
	for _, n := range []int{1, 2, 3, 5} {
		g := newGroup(t, b, n, Options{})
		g.mustCommit(1, 10)
		g.finished(10)
	}
}

func requestsToBackups(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 1)
	primary, view := g.primary()
	for _, i := range g.backups(primary) {
		g.eventually("a backup knows the primary", func() bool {
			primary, view = g.primary()
			status := g.replicas[i].Status()
			return status.Primary == g.id(primary) && status.View == view && !status.Leading && status.Role == replication.RoleBackup
		})
		result := replication.Propose(g.ctx, g.replicas[i], view, []byte("no"))
		require.ErrorIs(t, result.Err, replication.ErrNotPrimary)
		require.True(t, replication.DidNotHappen(result.Err))
		var refusal *replication.NotPrimaryError
		require.ErrorAs(t, result.Err, &refusal)
		if refusal.View == view { // it may have changed meanwhile
			require.Equal(t, g.id(primary), refusal.Primary)
		}
		require.ErrorIs(t, replication.AwaitReadBarrier(g.ctx, g.replicas[i], view), replication.ErrNotPrimary)
	}
	g.read()
	require.Zero(t, g.machines[primary].times([]byte("no")))
}

func tooLarge(t T, b Backend) {
	g := newGroup(t, b, 1, Options{OperationBytesMax: 100})
	primary, view := g.primary()
	result := replication.Propose(g.ctx, g.replicas[primary], view, make([]byte, 101))
	require.ErrorIs(t, result.Err, replication.ErrTooLarge)
	require.True(t, replication.DidNotHappen(result.Err))
	require.NoError(t, replication.Propose(g.ctx, g.replicas[primary], view, make([]byte, 100)).Err)
}

// overload: with a bound of operations without an answer, those above it certainly do not happen, and the others have an
// outcome when there is a quorum again.
func overload(t T, b Backend) {
	g := newGroup(t, b, 3, Options{QueueMax: 8})
	g.mustCommit(1, 1)
	overloaded, other := 0, 0
	for overloaded == 0 || other == 0 { // the view may change just then
		o, r := overloadOnce(g, 32)
		overloaded, other = overloaded+o, other+r
	}
	g.mustCommit(2, 5)
	g.finished(5)
}

func overloadOnce(g *group, operations int) (overloaded, other int) {
	g.t.Helper()
	primary, view := g.primary()
	for _, i := range g.backups(primary) {
		g.network.cut(g.id(i), g.id(primary)) // what they acknowledge does not arrive
	}
	answers := g.newAnswers(operations)
	for i := range operations {
		answers.submit(primary, view, fmt.Appendf(nil, "overload %d", i))
	}
	g.network.heal()
	for _, p := range answers.wait() {
		if errors.Is(p.result.Err, replication.ErrOverloaded) {
			require.True(g.t, replication.DidNotHappen(p.result.Err))
			overloaded++
		} else {
			other++
		}
	}
	return overloaded, other
}

func afterClose(t T, b Backend) {
	g := newGroup(t, b, 1, Options{})
	g.mustCommit(1, 1)
	primary, view := g.primary()
	replica := g.replicas[primary]
	g.stop(primary)
	require.NoError(t, replica.Close(), "twice is harmless")
	result := replication.Propose(g.ctx, replica, view, []byte("late"))
	require.ErrorIs(t, result.Err, replication.ErrClosed)
	require.True(t, replication.DidNotHappen(result.Err))
	require.ErrorIs(t, replication.AwaitReadBarrier(g.ctx, replica, view), replication.ErrClosed)
	require.ErrorIs(t, replica.Checkpoint(g.ctx), replication.ErrClosed)
	for range replica.Events() { // it is closed
	}
	require.NoError(t, replica.Status().Failure)
}
