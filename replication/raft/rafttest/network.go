package rafttest

import (
	"context"
	"errors"
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
)

// ErrCut is why a snapshot cannot be fetched from a replica that is not reached.
var ErrCut = errors.New("rafttest: no way there")

// Network joins the replicas of one group within a process. A message is delivered while it is sent, or lost. Its
// methods may be called from many goroutines.
type Network struct {
	mu   sync.Mutex // guards what follows
	ends map[replication.ReplicaID]*end
	cuts map[[2]replication.ReplicaID]bool // from, to
}

// NewNetwork makes one with nobody on it.
func NewNetwork() *Network {
	return &Network{ends: map[replication.ReplicaID]*end{}, cuts: map[[2]replication.ReplicaID]bool{}}
}

// Join returns a replica's Transport, a new one each time: of an earlier one nothing comes any more, and nothing reaches
// it.
func (n *Network) Join(id replication.ReplicaID) raft.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &end{network: n, id: id}
	n.ends[id] = e
	return e
}

// Cut loses every message from one replica to another from now on, and none of those the other way.
func (n *Network) Cut(from, to replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]replication.ReplicaID{from, to}] = true
}

// Isolate cuts a replica off from all others that have joined, both ways.
func (n *Network) Isolate(id replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.ends {
		n.cuts[[2]replication.ReplicaID{other, id}] = true
		n.cuts[[2]replication.ReplicaID{id, other}] = true
	}
}

// Heal undoes every Cut and Isolate.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// way returns the end that is reached, or nil.
func (n *Network) way(from *end, to replication.ReplicaID) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ends[from.id] != from || n.cuts[[2]replication.ReplicaID{from.id, to}] {
		return nil
	}
	return n.ends[to]
}

// end is one replica's raft.Transport.
type end struct {
	network *Network
	id      replication.ReplicaID

	mu      sync.RWMutex                                     // held for reading while deliver is being called
	deliver func(from replication.ReplicaID, payload []byte) // guarded by mu
	open    raft.OpenFunc                                    // guarded by mu
}

// Send delivers at once.
func (e *end) Send(to replication.ReplicaID, payload []byte) {
	other := e.network.way(e, to)
	if other == nil {
		return
	}
	other.mu.RLock()
	defer other.mu.RUnlock()
	if other.deliver != nil {
		other.deliver(e.id, payload)
	}
}

// Reach has nothing to do: everybody is reached who has joined.
func (e *end) Reach(map[replication.ReplicaID]string) {}

// Receive sets the receiver; nil waits for the calls that are under way.
func (e *end) Receive(deliver func(from replication.ReplicaID, payload []byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deliver = deliver
}

// ServeCheckpoints sets who opens snapshots for others.
func (e *end) ServeCheckpoints(open raft.OpenFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
}

// FetchCheckpoint has the other replica open its snapshot.
func (e *end) FetchCheckpoint(_ context.Context, from replication.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	other := e.network.way(e, from)
	if other == nil {
		return nil, nil, ErrCut
	}
	other.mu.RLock()
	open := other.open
	other.mu.RUnlock()
	if open == nil {
		return nil, nil, ErrCut
	}
	return open(e.id, request)
}
