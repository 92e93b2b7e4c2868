package vrtest

import (
	"context"
	"errors"
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// ErrCut is why a checkpoint cannot be fetched from a replica that is not reached.
var ErrCut = errors.New("vrtest: no way there")

// Network joins the replicas of one group within a process. A message is delivered while it is sent, or lost. Its
// methods may be called from many goroutines.
type Network struct {
	mu   sync.Mutex // guards what follows
	ends map[core.ReplicaID]*end
	cuts map[[2]core.ReplicaID]bool // from, to
}

// NewNetwork makes one with nobody on it.
func NewNetwork() *Network {
	return &Network{ends: map[core.ReplicaID]*end{}, cuts: map[[2]core.ReplicaID]bool{}}
}

// Join returns a replica's Transport, a new one each time: of an earlier one nothing comes any more, and nothing reaches
// it.
func (n *Network) Join(id replication.ReplicaID) vr.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &end{network: n, id: core.ReplicaID(id)}
	n.ends[e.id] = e
	return e
}

// Cut loses every message from one replica to another from now on, and none of those the other way.
func (n *Network) Cut(from, to replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]core.ReplicaID{core.ReplicaID(from), core.ReplicaID(to)}] = true
}

// Isolate cuts a replica off from all others that have joined, both ways.
func (n *Network) Isolate(id replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.ends {
		n.cuts[[2]core.ReplicaID{other, core.ReplicaID(id)}] = true
		n.cuts[[2]core.ReplicaID{core.ReplicaID(id), other}] = true
	}
}

// Heal undoes every Cut and Isolate.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// way returns the end that is reached, or nil.
func (n *Network) way(from *end, to core.ReplicaID) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ends[from.id] != from || n.cuts[[2]core.ReplicaID{from.id, to}] {
		return nil
	}
	return n.ends[to]
}

// end is one replica's vr.Transport.
type end struct {
	network *Network
	id      core.ReplicaID

	mu      sync.RWMutex                              // held for reading while deliver is being called
	deliver func(from core.ReplicaID, payload []byte) // guarded by mu
	open    vr.OpenFunc                               // guarded by mu
}

// Send delivers at once.
func (e *end) Send(to core.ReplicaID, payload []byte) {
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
func (e *end) Reach([]core.Member) {}

// Receive sets the receiver; nil waits for the calls that are under way.
func (e *end) Receive(deliver func(from core.ReplicaID, payload []byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deliver = deliver
}

// ServeCheckpoints sets who opens checkpoints for others.
func (e *end) ServeCheckpoints(open vr.OpenFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
}

// FetchCheckpoint reads the other replica's own file.
func (e *end) FetchCheckpoint(_ context.Context, from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
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
