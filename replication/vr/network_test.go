package vr_test

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

var errCut = errors.New("network: no way there")

// network joins the replicas of one group within a process. A message is delivered while it is sent, or lost.
type network struct {
	mu   sync.Mutex // guards what follows
	ends map[core.ReplicaID]*end
	cuts map[[2]core.ReplicaID]bool
	// tamper may change a checkpoint on its way; nil: it does not.
	tamper func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error)
}

func newNetwork() *network {
	return &network{ends: map[core.ReplicaID]*end{}, cuts: map[[2]core.ReplicaID]bool{}}
}

// join returns a replica's end, new each time: a replica that restarts has no old receiver.
func (n *network) join(id core.ReplicaID) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &end{network: n, id: id}
	n.ends[id] = e
	return e
}

// cut takes a replica off the network in one or both directions; heal brings everybody back.
func (n *network) cut(id core.ReplicaID, in, out bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.ends {
		n.cuts[[2]core.ReplicaID{other, id}] = in
		n.cuts[[2]core.ReplicaID{id, other}] = out
	}
}

// lose takes one direction between two replicas.
func (n *network) lose(from, to core.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]core.ReplicaID{from, to}] = true
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// way returns the end that is reached, or nil.
func (n *network) way(from, to core.ReplicaID) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cuts[[2]core.ReplicaID{from, to}] {
		return nil
	}
	return n.ends[to]
}

// end is one replica's vr.Transport. It sends only to those whom it was told to reach, and to those whom it has heard
// since, who may be strangers.
type end struct {
	network *network
	id      core.ReplicaID

	mu      sync.RWMutex // held for reading while deliver is being called
	deliver func(from core.ReplicaID, payload []byte)
	open    vr.OpenFunc

	contacts map[core.ReplicaID]string // guarded by network.mu; whom it reaches
}

var _ vr.Transport = (*end)(nil)

func (e *end) Send(to core.ReplicaID, payload []byte) {
	if other := e.network.way(e.id, to); other != nil && e.network.meet(e, other) {
		other.receive(e.id, payload)
	}
}

// Reach takes the place of whoever was to be reached before.
func (e *end) Reach(members []core.Member) {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	e.contacts = map[core.ReplicaID]string{}
	for _, m := range members {
		e.contacts[m.ID] = m.Address
	}
}

// contactsOf is whom a replica reaches at this moment.
func (n *network) contactsOf(id core.ReplicaID) map[core.ReplicaID]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.ends[id].contacts)
}

// meet reports whether one end may write to another, which can answer then.
func (n *network) meet(from, to *end) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := from.contacts[to.id]; !known {
		return false
	}
	if _, known := to.contacts[from.id]; !known && to.contacts != nil {
		to.contacts[from.id] = "stranger"
	}
	return true
}

func (e *end) receive(from core.ReplicaID, payload []byte) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.deliver != nil {
		e.deliver(from, payload)
	}
}

func (e *end) Receive(deliver func(from core.ReplicaID, payload []byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deliver = deliver
}

func (e *end) ServeCheckpoints(open vr.OpenFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
}

func (e *end) FetchCheckpoint(_ context.Context, from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	other := e.network.way(e.id, from)
	if other == nil {
		return nil, nil, errCut
	}
	other.mu.RLock()
	open := other.open
	other.mu.RUnlock()
	if open == nil {
		return nil, nil, errCut
	}
	header, chunks, err := open(e.id, request)
	if err != nil {
		return nil, nil, err
	}
	e.network.mu.Lock()
	tamper := e.network.tamper
	e.network.mu.Unlock()
	if tamper == nil {
		return header, chunks, nil
	}
	return tamper(header, chunks)
}
