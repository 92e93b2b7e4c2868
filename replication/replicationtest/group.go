package replicationtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// patience is how long a test waits for what has to happen, on a machine that is busy with other things.
const patience = 30 * time.Second

// group is a whole group in one process. Replica i has the id i+1.
type group struct {
	t        *testing.T
	ctx      context.Context
	network  *Network
	stores   Replicas
	options  Options
	members  []replication.ReplicaID
	machines []*journal
	replicas []replication.Replicator // nil: it does not run
}

// newGroup makes and starts one. Of options, what is of a single replica is the group's own.
func newGroup(t *testing.T, b Backend, n int, options Options) *group {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*patience)
	t.Cleanup(cancel)
	g := &group{
		t: t, ctx: ctx, network: newNetwork(), stores: b.Make(t, n), options: options, machines: make([]*journal, n), replicas: make([]replication.Replicator, n),
	}
	for i := range n {
		g.members = append(g.members, replication.ReplicaID(i+1))
	}
	t.Cleanup(func() {
		for i, replica := range g.replicas {
			if replica != nil {
				g.stop(i)
			}
		}
	})
	for i := range n {
		g.start(i)
	}
	return g
}

// id is the one of a place.
func (g *group) id(i int) replication.ReplicaID { return g.members[i] }

// start starts a replica from what it has stored.
func (g *group) start(i int) {
	g.t.Helper()
	options := g.options
	g.machines[i] = &journal{}
	options.Self, options.Members, options.StateMachine, options.Transport = g.id(i), g.members, g.machines[i], g.network.join(g.id(i))
	replica, err := g.stores.Open(options)
	require.NoError(g.t, err)
	g.replicas[i] = replica
}

// stop ends a replica in order.
func (g *group) stop(i int) {
	g.t.Helper()
	require.NoError(g.t, g.replicas[i].Close())
	g.replicas[i] = nil
}

// crash ends a replica as if its process were killed.
func (g *group) crash(i int) {
	g.t.Helper()
	g.network.join(g.id(i)) // nothing that it sends from here on arrives
	g.stores.Crash(g.id(i))
	g.stop(i)
}

func (g *group) eventually(what string, condition func() bool) {
	g.t.Helper()
	if !assert.Eventually(g.t, condition, patience, 2*time.Millisecond, what) {
		g.show()
		g.t.FailNow()
	}
}

// show tells where every replica is.
func (g *group) show() {
	g.t.Helper()
	for i, replica := range g.replicas {
		if replica != nil {
			g.t.Logf("%+v", replica.Status())
			applied, hash := g.machines[i].state()
			g.t.Logf("  state at %d is %x", applied, hash)
		}
	}
}

// primary waits until a replica leads, and returns the one with the latest view, and the view.
func (g *group) primary(except ...int) (int, replication.ViewNumber) {
	g.t.Helper()
	leader, view := -1, replication.ViewNumber(0)
	g.eventually("somebody leads", func() bool {
		leader, view = -1, 0
		for i, replica := range g.replicas {
			if replica == nil || len(except) > 0 && except[0] == i {
				continue
			}
			if status := replica.Status(); status.Leading && status.View > view {
				leader, view = i, status.View
			}
		}
		return leader >= 0
	})
	return leader, view
}

// backups are the replicas that run and are not the one.
func (g *group) backups(primary int) []int {
	var backups []int
	for i, replica := range g.replicas {
		if replica != nil && i != primary {
			backups = append(backups, i)
		}
	}
	return backups
}

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

func operation(i int) []byte { return fmt.Appendf(nil, "operation %d", i) }

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
			if a < uint64(atLeast) || applied != 0 && (a != applied || h != hash) {
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
		require.Equal(g.t, 1, g.machines[i].times(operation(k)), "operation %d", k)
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
