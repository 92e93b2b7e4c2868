package replicationtest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication"
)

// errNoWay is why a checkpoint cannot be fetched from a replica that is not reached.
var errNoWay = errors.New("replicationtest: no way there")

// heldMax bounds the messages that are held up for one replica; later ones are lost.
const heldMax = 1 << 14

// OpenFunc opens a checkpoint for a peer.
type OpenFunc = func(from replication.ReplicaID, request replication.CheckpointRequest) (header []byte, chunks replication.ChunkReader, err error)

// Network joins the replicas of one group within a process. A message is delivered while it is sent, or lost, or held up.
type Network struct {
	mu    sync.Mutex // guards what follows
	ends  map[replication.ReplicaID]*End
	cuts  map[[2]replication.ReplicaID]bool // from, to
	holds map[replication.ReplicaID][]held
	// tamper may change a checkpoint on its way; nil: it does not.
	tamper func(chunks replication.ChunkReader) replication.ChunkReader
	sent   uint64 // messages that had a way
	tried  map[replication.ReplicaID]uint64
}

// held is a message that is held up.
type held struct {
	from, to replication.ReplicaID
	payload  []byte
}

func newNetwork() *Network {
	return &Network{
		ends: map[replication.ReplicaID]*End{}, cuts: map[[2]replication.ReplicaID]bool{}, holds: map[replication.ReplicaID][]held{},
		tried: map[replication.ReplicaID]uint64{},
	}
}

// join returns a replica's end, a new one each time. It reaches these until it is told otherwise, and whoever has
// reached it.
func (n *Network) join(id replication.ReplicaID, configured []replication.ReplicaID) *End {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &End{network: n, id: id, contacts: map[replication.ReplicaID]bool{}}
	for _, other := range configured {
		e.contacts[other] = true
	}
	n.ends[id] = e
	return e
}

// leave has nothing that comes from a replica's present end arrive any more.
func (n *Network) leave(id replication.ReplicaID) { n.join(id, nil) }

// count is how many messages had a way.
func (n *Network) count() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent
}

// attempts is how many messages a replica wanted to send, whether they had a way or not.
func (n *Network) attempts(id replication.ReplicaID) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tried[id]
}

// heldFrom is how many messages of a replica are held up.
func (n *Network) heldFrom(id replication.ReplicaID) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, messages := range n.holds {
		for _, m := range messages {
			if m.from == id {
				count++
			}
		}
	}
	return count
}

// alter has checkpoints changed on their way from here on.
func (n *Network) alter(how func(chunks replication.ChunkReader) replication.ChunkReader) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tamper = how
}

// cut loses every message from one replica to another.
func (n *Network) cut(from, to replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]replication.ReplicaID{from, to}] = true
}

// idsMax is above every id in the suite.
const idsMax = 64

// isolate cuts replicas off from all others, both ways, from those too who are still to come, and not from each other.
func (n *Network) isolate(ids ...replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range replication.ReplicaID(idsMax) {
		for _, id := range ids {
			if !slices.Contains(ids, other) {
				n.cuts[[2]replication.ReplicaID{other, id}] = true
				n.cuts[[2]replication.ReplicaID{id, other}] = true
			}
		}
	}
}

// heal undoes every cut.
func (n *Network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// hold holds up what comes from a replica and goes to it.
func (n *Network) hold(id replication.ReplicaID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holds[id] = []held{}
}

// release delivers what was held up, in its order.
func (n *Network) release(id replication.ReplicaID) {
	n.mu.Lock()
	messages := n.holds[id]
	delete(n.holds, id)
	ends := make([]*End, len(messages))
	for i, m := range messages {
		ends[i] = n.ends[m.to]
	}
	n.mu.Unlock()
	for i, m := range messages {
		ends[i].deliver(m.from, m.payload)
	}
}

// way returns the end that is reached at this moment, or nil. Who is reached by a stranger can answer.
func (n *Network) way(from *End, to replication.ReplicaID) *End {
	n.mu.Lock()
	defer n.mu.Unlock()
	other := n.ends[to]
	n.tried[from.id]++
	if other == nil || n.ends[from.id] != from || !from.contacts[to] || n.cuts[[2]replication.ReplicaID{from.id, to}] {
		return nil
	}
	other.contacts[from.id] = true
	n.sent++
	return other
}

// fetches returns the end that a checkpoint comes from, and what is done to it on its way.
func (n *Network) fetches(to *End, from replication.ReplicaID) (*End, func(replication.ChunkReader) replication.ChunkReader) {
	other := n.way(to, from)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range []replication.ReplicaID{from, to.id} {
		if _, held := n.holds[id]; held {
			return nil, nil
		}
	}
	return other, n.tamper
}

// holdsUp keeps a message if one of its ends is held up.
func (n *Network) holdsUp(from, to replication.ReplicaID, payload []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range []replication.ReplicaID{from, to} {
		if messages, is := n.holds[id]; is {
			if len(messages) < heldMax {
				n.holds[id] = append(messages, held{from: from, to: to, payload: payload})
			}
			return true
		}
	}
	return false
}

// End is one replica's end of the network, in the shape of every backend's transport.
type End struct {
	network  *Network
	id       replication.ReplicaID
	contacts map[replication.ReplicaID]bool // whom it reaches; guarded by network.mu

	mu       sync.RWMutex                                     // held for reading while receiver is being called
	receiver func(from replication.ReplicaID, payload []byte) // guarded by mu
	open     OpenFunc                                         // guarded by mu
}

// Send delivers at once, or never, or when what holds it up is gone.
func (e *End) Send(to replication.ReplicaID, payload []byte) {
	if other := e.network.way(e, to); other != nil && !e.network.holdsUp(e.id, to, payload) {
		other.deliver(e.id, payload)
	}
}

func (e *End) deliver(from replication.ReplicaID, payload []byte) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.receiver != nil {
		e.receiver(from, payload)
	}
}

// Reach takes the place of what it said before and of the configuration.
func (e *End) Reach(members map[replication.ReplicaID]string) {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	clear(e.contacts)
	for id := range members {
		e.contacts[id] = true
	}
}

// Receive sets the receiver; nil waits for the calls that are under way.
func (e *End) Receive(deliver func(from replication.ReplicaID, payload []byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.receiver = deliver
}

// ServeCheckpoints sets who opens checkpoints for others.
func (e *End) ServeCheckpoints(open OpenFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
}

// FetchCheckpoint has the other replica open its checkpoint.
func (e *End) FetchCheckpoint(_ context.Context, from replication.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	other, tamper := e.network.fetches(e, from)
	if other == nil {
		return nil, nil, errNoWay
	}
	other.mu.RLock()
	open := other.open
	other.mu.RUnlock()
	if open == nil {
		return nil, nil, errNoWay
	}
	header, chunks, err := open(e.id, request)
	if err != nil || tamper == nil {
		return header, chunks, err
	}
	return header, tamper(chunks), nil
}
