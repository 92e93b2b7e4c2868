package vr_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// patience is how long a test waits for what has to happen, on a machine that is busy with other things.
const patience = 30 * time.Second

// group is a whole group in one process. Replica i has the id i+1.
type group struct {
	t           *testing.T
	network     *network
	directories []string
	storages    []vr.Storage // instead of a Disk, where set
	machines    []*journal
	replicas    []*vr.Replica
	change      func(*vr.Options)
	first       int                             // the members of its first epoch; those above join
	asked       map[int][]replication.ReplicaID // whom those ask, as they were told when they joined
	gaps        bool
}

// newGroup makes and starts a group over real directories.
func newGroup(t *testing.T, n int, change func(*vr.Options)) *group {
	t.Helper()
	return newGroupOver(t, make([]vr.Storage, n), change)
}

// newMemoryGroup is one without files.
func newMemoryGroup(t *testing.T, n int, change func(*vr.Options)) *group {
	t.Helper()
	storages := make([]vr.Storage, n)
	for i := range storages {
		storages[i] = storage.NewMemory()
	}
	return newGroupOver(t, storages, change)
}

// newGroupOver makes and starts a group with these storages; nil: a new directory.
func newGroupOver(t *testing.T, storages []vr.Storage, change func(*vr.Options)) *group {
	t.Helper()
	n := len(storages)
	g := &group{
		t: t, network: newNetwork(), directories: make([]string, n), storages: storages, machines: make([]*journal, n),
		replicas: make([]*vr.Replica, n), change: change, first: n, asked: map[int][]replication.ReplicaID{},
	}
	for i := range n {
		if storages[i] == nil {
			g.directories[i] = t.TempDir()
			require.NoError(t, storage.Create(g.directories[i]))
		}
	}
	t.Cleanup(g.closeAll) // after TempDir: what is registered last runs first, and a replica writes until it is closed
	for i := range n {
		g.start(i)
	}
	return g
}

func (g *group) options(i int) vr.Options {
	options := vr.Options{
		Group: 7, Self: replication.ReplicaID(i + 1), Transport: g.network.join(core.ReplicaID(i + 1)), Storage: g.storages[i],
		StateMachine: g.machines[i], Logger: testLogger(), HeartbeatInterval: 30 * time.Millisecond,
		FetchTimeout: 5 * time.Second,
	}
	first := g.first
	if first == 0 {
		first = len(g.replicas) // nobody joins
	}
	for member := range first {
		options.Members = append(options.Members, replication.ReplicaID(member+1))
	}
	if i >= first {
		options.Joining, options.Members = true, g.asked[i]
	}
	if g.change != nil {
		g.change(&options)
	}
	return options
}

func (g *group) open(i int) (*vr.Replica, error) {
	g.machines[i] = &journal{gaps: g.gaps}
	options := g.options(i)
	if options.Storage == nil {
		disk, err := storage.Open(g.directories[i], storage.Options{})
		if err != nil {
			return nil, err
		}
		options.Storage = disk
	}
	replica, err := vr.Open(options)
	if err != nil {
		require.NoError(g.t, options.Storage.Close())
	}
	return replica, err
}

func (g *group) start(i int) {
	g.t.Helper()
	replica, err := g.open(i)
	require.NoError(g.t, err)
	g.replicas[i] = replica
}

func (g *group) stop(i int) {
	g.t.Helper()
	require.NoError(g.t, g.replicas[i].Close())
	g.replicas[i] = nil
}

func (g *group) closeAll() {
	for i, replica := range g.replicas {
		if replica != nil {
			g.stop(i)
		}
	}
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

// primary waits until one of the replicas leads and returns it with its view; the one with the latest view when
// an older primary has not noticed yet.
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

// commit has an operation executed exactly once, wherever the primary is.
func (g *group) commit(operation []byte, except ...int) replication.Result {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for {
		leader, view := g.primary(except...)
		result := replication.Propose(ctx, g.replicas[leader], view, operation)
		if result.Err == nil {
			return result
		}
		require.NoError(g.t, ctx.Err())
		if replication.DidNotHappen(result.Err) {
			continue
		}
		// The machine is busy and the view has changed. A later primary that leads has the operation, or nobody
		// ever will.
		for {
			leader, view = g.primary(except...)
			if replication.AwaitReadBarrier(ctx, g.replicas[leader], view) == nil {
				break
			}
			require.NoError(g.t, ctx.Err())
		}
		if op := g.machines[leader].has(operation); op > 0 {
			return replication.Result{Op: op, Value: operation}
		}
	}
}

// mustCommit commits operations one after the other.
func (g *group) mustCommit(first, last int, except ...int) {
	g.t.Helper()
	for i := first; i <= last; i++ {
		operation := fmt.Appendf(nil, "operation %d", i)
		result := g.commit(operation, except...)
		require.NoError(g.t, result.Err)
		require.Equal(g.t, operation, result.Value)
	}
}

// converged waits until all replicas that run have applied the same operations, at least so many.
func (g *group) converged(atLeast uint64) {
	g.t.Helper()
	g.eventually("all replicas have applied the same", func() bool {
		var applied, hash uint64
		for i, replica := range g.replicas {
			if replica == nil {
				continue
			}
			a, h := g.machines[i].state()
			if a < atLeast || applied != 0 && (a != applied || h != hash) {
				return false
			}
			applied, hash = a, h
		}
		return true
	})
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

// testLogger shows what the replicas say when VIEWLINE_TEST_LOG is set.
func testLogger() *slog.Logger {
	if os.Getenv("VIEWLINE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
