package rafttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
)

// Errors of a Group.
var (
	// ErrClosed: the group is closed.
	ErrClosed = errors.New("rafttest: group is closed")
	// ErrRunning: Restart was called for a replica that runs.
	ErrRunning = errors.New("rafttest: replica is running")
	// ErrNotRunning: Kill was called for a replica that does not run.
	ErrNotRunning = errors.New("rafttest: replica is not running")
)

// Group is the replicas of one group, 1 to n. Its methods may be called from many goroutines, but of those that start and
// end replicas one at a time. A replica that is not in the group is a mistake of the test, and panics.
type Group struct {
	// Network is what joins the replicas.
	Network *Network

	machine func() replication.StateMachine
	ids     []replication.ReplicaID

	mu       sync.Mutex    // guards what follows
	replicas []*member     // by id - 1
	changed  chan struct{} // closed when something in replicas changes
	closed   bool
}

// member is one replica in all of its lives.
type member struct {
	storage *raft.Storage
	machine replication.StateMachine // of the present life, or of the last
	replica *raft.Replica            // nil: it does not run
	newest  replication.Event        // of the present life
	watched chan struct{}            // closed when the present life's Events are over
}

// Start starts a group of n replicas, each with a state machine that machine makes, once for each of its lives. Errors are
// those of raft.Open.
func Start(n int, machine func() replication.StateMachine) (*Group, error) {
	if n < 1 {
		return nil, fmt.Errorf("%w: a group of %d", raft.ErrOptions, n)
	}
	g := &Group{Network: NewNetwork(), machine: machine, changed: make(chan struct{})}
	for i := range n {
		g.ids = append(g.ids, replication.ReplicaID(i+1))
		g.replicas = append(g.replicas, &member{storage: raft.NewMemoryStorage()})
	}
	for _, id := range g.ids {
		if err := g.Restart(id); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

// Replica returns a replica, or nil when it does not run. Its Events are the group's own.
func (g *Group) Replica(id replication.ReplicaID) *raft.Replica {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.replicas[id-1].replica
}

// StateMachine returns the machine of a replica's present life, or of its last. The replica calls Apply at any time: the
// machine itself has to guard what a test reads.
func (g *Group) StateMachine(id replication.ReplicaID) replication.StateMachine {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.replicas[id-1].machine
}

// Restart starts a replica that was killed, from what it stored and with a new state machine.
func (g *Group) Restart(id replication.ReplicaID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.replicas[id-1]
	switch {
	case g.closed:
		return ErrClosed
	case m.replica != nil:
		return fmt.Errorf("%w: %d", ErrRunning, id)
	}
	machine := g.machine()
	replica, err := raft.Open(raft.Options{
		Self: id, Members: g.ids, Transport: g.Network.Join(id), Storage: m.storage, StateMachine: machine,
	})
	if err != nil {
		return err
	}
	watched := make(chan struct{})
	m.machine, m.replica, m.newest, m.watched = machine, replica, replication.Event{}, watched
	go func() {
		defer close(watched)
		for event := range replica.Events() {
			g.change(func() { m.newest = event })
		}
	}()
	return nil
}

// Kill ends a replica: nothing comes from it any more, and nobody learns what became of its operations.
func (g *Group) Kill(id replication.ReplicaID) error {
	g.Network.Join(id) // the old end is off the network
	var replica *raft.Replica
	var watched chan struct{}
	g.change(func() {
		m := g.replicas[id-1]
		replica, watched, m.replica = m.replica, m.watched, nil
	})
	if replica == nil {
		return fmt.Errorf("%w: %d", ErrNotRunning, id)
	}
	err := replica.Close()
	<-watched
	return err
}

// change changes something and wakes all who wait for that.
func (g *Group) change(how func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	how()
	close(g.changed)
	g.changed = make(chan struct{})
}

// leader returns who leads in the latest view, or 0, and a channel that is closed when that may have changed.
func (g *Group) leader() (id replication.ReplicaID, leader member, changed <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, member{}, nil, ErrClosed
	}
	for i, m := range g.replicas {
		if m.replica != nil && m.newest.Leading && m.newest.View > leader.newest.View {
			id, leader = g.ids[i], *m
		}
	}
	return id, leader, g.changed, nil
}

// Primary waits until a replica leads, and returns the one of the latest view. One that is cut off may not have noticed
// yet: what it is asked then, it does not acknowledge.
func (g *Group) Primary(ctx context.Context) (replication.ReplicaID, replication.ViewNumber, error) {
	for {
		id, leader, changed, err := g.leader()
		if err != nil || id != 0 {
			return id, leader.newest.View, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
}

// Propose has whoever leads execute an operation, and tries again when that one did not because it does not lead any more.
// An outcome that is not known comes back as it is: replication/sessions finds it out.
func (g *Group) Propose(ctx context.Context, operation []byte) replication.Result {
	for {
		id, leader, changed, err := g.leader()
		if err != nil {
			return replication.Result{Err: err}
		}
		if id != 0 {
			result := replication.Propose(ctx, leader.replica, leader.newest.View, operation)
			if !errors.Is(result.Err, replication.ErrNotPrimary) && !errors.Is(result.Err, replication.ErrClosed) {
				return result
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return replication.Result{Err: context.Cause(ctx)}
		}
	}
}

// Close ends all replicas and the group. Closing twice is harmless.
func (g *Group) Close() error {
	var err error
	for _, id := range g.ids {
		if g.Replica(id) != nil {
			err = errors.Join(err, g.Kill(id))
		}
	}
	g.change(func() { g.closed = true })
	return err
}
