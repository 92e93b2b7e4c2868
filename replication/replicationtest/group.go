package replicationtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// patience is how long a test waits for something to move, on a machine that is busy with other things.
const patience = 30 * time.Second

// group is a whole group. Replica i has the id i+1.
type group struct {
	t       T
	ctx     context.Context
	backend Backend
	network *Network
	options Options
	// launch opens a replica, in this process or in one of its own.
	launch func(i int, o Options) (life, error)
	first  int                             // the members of its first epoch; those above join
	asked  map[int][]replication.ReplicaID // whom those ask
	lost   map[int]uint64                  // how often a replica has lost what it had stored

	directories []string
	lives       []life // the present or the last ones
	machines    []machine

	mu       sync.Mutex               // for callers, who look on while replicas come and go
	replicas []replication.Replicator // nil: it does not run

	views views
}

// machine is what a test sees of a replica's state machine.
type machine interface {
	state() (applied, hash uint64)
	times(operation []byte) int
	all() []string
}

// life is one life of a replica.
type life struct {
	replica replication.Replicator
	machine machine
	crash   func()
}

// newGroup makes and starts one. Of options, what is of a single replica is the group's own.
func newGroup(t T, b Backend, n int, options Options) *group {
	t.Helper()
	g := makeGroup(t, b, n, options)
	g.launch = g.open
	g.startAll()
	return g
}

// makeGroup makes one of which no replica runs.
func makeGroup(t T, b Backend, n int, options Options) *group {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(cancel)
	g := &group{t: t, ctx: ctx, backend: b, network: newNetwork(), options: options, first: n, asked: map[int][]replication.ReplicaID{}, lost: map[int]uint64{}}
	for range n {
		g.grow()
	}
	t.Cleanup(g.closeAll) // after the directories were made: what is registered last runs first
	return g
}

// grow makes room for one more replica and returns its place.
func (g *group) grow() int {
	g.t.Helper()
	directory := g.t.TempDir()
	require.NoError(g.t, g.backend.Create(directory))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.directories, g.lives, g.machines = append(g.directories, directory), append(g.lives, life{}), append(g.machines, nil)
	g.replicas = append(g.replicas, nil)
	return len(g.replicas) - 1
}

// id is the one of a place.
func (g *group) id(i int) replication.ReplicaID { return replication.ReplicaID(i + 1) }

// optionsOf are those of a life of a replica, but for transport and state machine.
func (g *group) optionsOf(i int) Options {
	options := g.options
	options.Self = g.id(i)
	if options.BatchMax == 0 {
		options.BatchMax = g.backend.batchMax
	}
	if i >= g.first {
		options.Joining, options.Members = true, g.asked[i]
		return options
	}
	options.Incarnation = g.lost[i]
	options.Joining = g.lost[i] > 0
	for member := range g.first {
		options.Members = append(options.Members, g.id(member))
	}
	return options
}

// open opens a replica in this process.
func (g *group) open(i int, options Options) (life, error) {
	journal := newJournal(g.t.Errorf)
	options.StateMachine, options.Transport = journal, g.network.join(g.id(i), options.Members)
	replica, crash, err := g.backend.Open(g.directories[i], options)
	return life{replica: replica, machine: journal, crash: crash}, err
}

// start starts a replica from what it has stored.
func (g *group) start(i int) {
	g.t.Helper()
	opened, err := g.launch(i, g.optionsOf(i))
	require.NoError(g.t, err)
	g.views.watch(g.t, g.id(i), opened.replica)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives[i], g.machines[i], g.replicas[i] = opened, opened.machine, opened.replica
}

func (g *group) startAll() {
	g.t.Helper()
	for i := range g.replicas {
		g.start(i)
	}
}

// stop ends a replica in order.
func (g *group) stop(i int) {
	g.t.Helper()
	g.mu.Lock()
	g.replicas[i] = nil
	g.mu.Unlock()
	require.NoError(g.t, g.lives[i].replica.Close())
}

// crash ends a replica as if its process were killed.
func (g *group) crash(i int) {
	g.t.Helper()
	g.network.leave(g.id(i))
	g.lives[i].crash()
	g.stop(i)
}

// closeAll ends what runs.
func (g *group) closeAll() {
	g.t.Helper()
	for i, replica := range g.replicas {
		if replica != nil {
			g.stop(i)
		}
	}
	g.views.wait()
}

// running are the replicas that run; for callers.
func (g *group) running() []replication.Replicator {
	g.mu.Lock()
	defer g.mu.Unlock()
	var running []replication.Replicator
	for _, replica := range g.replicas {
		if replica != nil {
			running = append(running, replica)
		}
	}
	return running
}

// eventually waits for a condition, which is asked on the test's own goroutine. It gives up when nothing has moved for as
// long as patience lasts, and with the group's context.
func (g *group) eventually(what string, condition func() bool) {
	g.t.Helper()
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	limit, moved := time.Now().Add(patience), g.movement()
	for ; !condition(); <-pause.C {
		given := g.ctx.Err() != nil || g.t.Failed()
		if !given && time.Now().After(limit) {
			before := moved
			limit, moved = time.Now().Add(patience), g.movement()
			given = moved == before
		}
		if given {
			g.show()
			require.FailNow(g.t, "this did not come about: "+what)
		}
	}
}

// movement is a number that changes when any replica gets on, be it to another view.
func (g *group) movement() (sum uint64) {
	for _, replica := range g.running() {
		status := replica.Status()
		sum += uint64(status.View) + uint64(status.Op) + uint64(status.Applied) + status.Counters["checkpoint_fetch_done_bytes"]
	}
	return sum
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

// nobodyLeads waits until no replica that runs does.
func (g *group) nobodyLeads() {
	g.t.Helper()
	g.eventually("nobody leads", func() bool {
		for _, replica := range g.replicas {
			if replica != nil && replica.Status().Leading {
				return false
			}
		}
		return true
	})
}

// whole waits until a replica takes part again, while the group works.
func (g *group) whole(i int) {
	g.t.Helper()
	g.eventually("it takes part again", func() bool {
		g.commit(fmt.Appendf(nil, "keeps the group busy"))
		status := g.replicas[i].Status()
		return status.Protocol == "normal" && status.Reason == ""
	})
}

// staysStopped makes sure, for a time in which a group that can go on has done so several times, that nobody serves.
func (g *group) staysStopped() {
	g.t.Helper()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); <-pause.C {
		for i, replica := range g.replicas {
			status := replica.Status()
			require.False(g.t, status.Leading, "replica %d leads", g.id(i))
			result := replication.Propose(g.ctx, replica, status.View, []byte("nobody does this"))
			require.True(g.t, replication.DidNotHappen(result.Err), "replica %d: %v", g.id(i), result.Err)
			require.Error(g.t, replication.AwaitReadBarrier(g.ctx, replica, status.View), "replica %d", g.id(i))
		}
	}
}
