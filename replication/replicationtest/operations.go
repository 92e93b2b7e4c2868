package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// operation is one of those that are counted.
func operation(i int) []byte { return fmt.Appendf(nil, "operation %d", i) }

// read waits until what was acknowledged can be read somewhere, and returns where.
func (g *group) read(except ...int) int {
	g.t.Helper()
	for {
		leader, view := g.primary(except...)
		ctx, cancel := context.WithTimeout(g.ctx, time.Second)
		err := replication.AwaitReadBarrier(ctx, g.replicas[leader], view)
		cancel()
		if err == nil {
			return leader
		}
		require.NoError(g.t, g.ctx.Err())
	}
}

// commit has an operation executed exactly once, wherever the primary is.
func (g *group) commit(operation []byte, except ...int) {
	g.t.Helper()
	for {
		leader, view := g.primary(except...)
		result := replication.Propose(g.ctx, g.replicas[leader], view, operation)
		switch {
		case result.Err == nil:
			require.Equal(g.t, operation, result.Value)
			require.NotZero(g.t, result.Op)
			return
		case replication.DidNotHappen(result.Err):
		// The machine is busy and the view has changed. Who leads later has the operation, or nobody ever will.
		case g.machines[g.read(except...)].times(operation) > 0:
			return
		}
		require.NoError(g.t, g.ctx.Err())
	}
}

// mustCommit commits operations one after the other.
func (g *group) mustCommit(first, last int, except ...int) {
	g.t.Helper()
	for i := first; i <= last; i++ {
		g.commit(operation(i), except...)
	}
}

// converged waits until all replicas that run have applied the same operations, at least so many.
func (g *group) converged(atLeast int) {
	g.t.Helper()
	g.eventually("all replicas have applied the same", func() bool {
		var applied, hash uint64
		for i, replica := range g.replicas {
			if replica == nil {
				continue
			}
			a, h := g.machines[i].state()
			require.False(g.t, a == applied && h != hash, "two replicas have applied %d operations each, and not the same", a)
			if a < uint64(atLeast) || applied != 0 && a != applied {
				return false
			}
			applied, hash = a, h
		}
		return true
	})
}

// holds makes sure that the operations from 1 to last are on a replica once each, in their order.
func (g *group) holds(i, last int) {
	g.t.Helper()
	next := 1
	for _, each := range g.machines[i].all() {
		if each == string(operation(next)) {
			next++
		}
	}
	require.Equal(g.t, last+1, next, "operations in order, on replica %d", g.id(i))
	for k := 1; k <= last; k++ {
		require.Equal(g.t, 1, g.machines[i].times(operation(k)), "operation %d, on replica %d", k, g.id(i))
	}
}

// finished converges, and checks that nothing that was acknowledged is lost or twice there.
func (g *group) finished(last int) {
	g.t.Helper()
	g.converged(last)
	for i, replica := range g.replicas {
		if replica != nil {
			g.holds(i, last)
		}
	}
}

// proposal is an operation and, once it is there, its outcome.
type proposal struct {
	operation []byte
	result    replication.Result
}

// answers collects what becomes of operations.
type answers struct {
	g       *group
	pending int
	done    chan proposal
}

// newAnswers has room for so many.
func (g *group) newAnswers(room int) *answers { return &answers{g: g, done: make(chan proposal, room)} }

// submit proposes an operation at a replica. Its outcome comes once.
func (a *answers) submit(i int, view replication.ViewNumber, operation []byte) {
	a.pending++
	var told atomic.Bool
	complain := a.g.t.Errorf
	a.g.replicas[i].Submit(view, operation, func(result replication.Result) {
		if told.Swap(true) {
			complain("%q has two outcomes", operation)
			return
		}
		if (result.Err == nil) != (result.Op > 0) || errors.Is(result.Err, replication.ErrOutcomeUnknown) == replication.DidNotHappen(result.Err) && result.Err != nil {
			complain("%q has no outcome that the contract knows: %+v", operation, result)
		}
		a.done <- proposal{operation, result}
	})
}

// wait returns all outcomes.
func (a *answers) wait() []proposal {
	a.g.t.Helper()
	var all []proposal
	for ; a.pending > 0; a.pending-- {
		select {
		case p := <-a.done:
			all = append(all, p)
		case <-a.g.ctx.Done():
			a.g.show()
			require.FailNow(a.g.t, "an operation has no outcome")
		}
	}
	return all
}

// judge holds outcomes against what was applied at a replica that was read: what happened is there once, what did not is
// not, and the rest at most once. It returns how many happened.
func (g *group) judge(reader int, all []proposal) (happened int) {
	g.t.Helper()
	for _, p := range all {
		times := g.machines[reader].times(p.operation)
		switch {
		case p.result.Err == nil:
			happened++
			require.Equal(g.t, 1, times, "%q was acknowledged, at replica %d", p.operation, g.id(reader))
		case replication.DidNotHappen(p.result.Err):
			require.Zero(g.t, times, "%q certainly did not happen: %v, at replica %d", p.operation, p.result.Err, g.id(reader))
		default:
			require.LessOrEqual(g.t, times, 1, "%q, at replica %d", p.operation, g.id(reader))
		}
	}
	return happened
}

// operationOf is one of several of a kind.
func operationOf(kind string, round, i int) []byte {
	return fmt.Appendf(nil, "%s: round %d, operation %d", kind, round, i)
}
