package sessions_test

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// network joins the replicas of one group within a process: a message is delivered while it is sent, or lost.
type network struct {
	mu   sync.Mutex // guards what follows
	ends map[core.ReplicaID]*end
	cut  core.ReplicaID // nothing reaches it or comes from it; 0: nobody is cut off
}

func newNetwork() *network { return &network{ends: map[core.ReplicaID]*end{}} }

// join returns a replica's end, new each time: a replica that restarts has no old receiver.
func (n *network) join(id core.ReplicaID) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &end{network: n, id: id}
	n.ends[id] = e
	return e
}

func (n *network) cutOff(id core.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = id
}

// way returns the end that is reached, or nil.
func (n *network) way(from, to core.ReplicaID) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut == from || n.cut == to {
		return nil
	}
	return n.ends[to]
}

// end is one replica's vr.Transport.
type end struct {
	network *network
	id      core.ReplicaID

	mu      sync.RWMutex // held for reading while deliver is being called
	deliver func(from core.ReplicaID, payload []byte)
	open    func(from core.ReplicaID, atLeast core.OpNumber) ([]byte, io.ReadCloser, error)
}

var _ vr.Transport = (*end)(nil)

func (e *end) Send(to core.ReplicaID, payload []byte) {
	other := e.network.way(e.id, to)
	if other == nil {
		return
	}
	other.mu.RLock()
	defer other.mu.RUnlock()
	if other.deliver != nil {
		other.deliver(e.id, payload)
	}
}

func (e *end) Receive(deliver func(from core.ReplicaID, payload []byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deliver = deliver
}

func (e *end) ServeCheckpoints(open func(from core.ReplicaID, atLeast core.OpNumber) ([]byte, io.ReadCloser, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
}

func (e *end) FetchCheckpoint(_ context.Context, from core.ReplicaID, atLeast core.OpNumber) ([]byte, io.ReadCloser, error) {
	if other := e.network.way(e.id, from); other != nil {
		other.mu.RLock()
		open := other.open
		other.mu.RUnlock()
		if open != nil {
			return open(e.id, atLeast)
		}
	}
	return nil, nil, errors.New("network: no way there")
}
