package transport

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/viewline/viewline/internal/notice"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// Local is a replica of this node.
type Local struct {
	Group   uint32
	Replica uint32 // not 0
	// Incarnation goes into the handshake and into every frame.
	Incarnation uint64
	// Detours are replicas of the group that this node reaches elsewhere than everyone else, through a proxy or over a
	// network of its own, whatever Reach says of them and whatever they say of themselves. Never changed.
	Detours map[uint32]string
	// Backend is what replicates the group; "": Viewstamped Replication. It goes into the handshake, and replicas of the
	// same group with another one do not hear each other. At most 255 bytes.
	Backend string
}

// key names a replica of any group.
type key struct{ group, replica uint32 }

// registry is the local replicas at one time; it never changes, a new one replaces it.
type registry struct {
	groups map[key]*Group
	// hello is the handshake that names them. Its address stands for the registry's version: a stream whose
	// handshake is another one is opened anew.
	hello *pb.PeerHello
}

// Transport carries the frames of all local replicas. Make one with New and end it with Close.
type Transport struct {
	options  Options
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	registry atomic.Pointer[registry]
	counters counters
	notices  notices
	// streams and checkpoints hold one element for each incoming stream that is open.
	streams     chan struct{}
	checkpoints chan struct{}

	mu      sync.Mutex
	peers   map[string]*peer // by address, all that are in use; guarded by mu, emptied by Close
	closed  bool             // guarded by mu; once set, running grows no more
	running sync.WaitGroup   // every goroutine of this package but the writers'
}

// New makes a Transport. It opens no connection before a local replica sends something.
func New(options Options) (*Transport, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	t := &Transport{
		options:     options,
		notices:     notices{notice.New(options.Logger)},
		streams:     make(chan struct{}, options.StreamsMax),
		checkpoints: make(chan struct{}, options.CheckpointsMax),
		peers:       map[string]*peer{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.register(map[key]*Group{})
	return t, nil
}

// RegisterServer registers the PeerService, which receives what peers send, with a gRPC server. The server's
// owner stops it; Close only ends the streams.
func (t *Transport) RegisterServer(registrar grpc.ServiceRegistrar) {
	pb.RegisterPeerServiceServer(registrar, &server{transport: t})
}

// Group registers a local replica and returns its end of the transport. peers holds the address of every
// configured member by replica id, those who are to be reached until Reach says otherwise; the replica's own entry is
// ignored. The errors are ErrOptions, ErrDuplicate and ErrClosed.
func (t *Transport) Group(local Local, peers map[uint32]string) (*Group, error) {
	if local.Replica == 0 {
		return nil, fmt.Errorf("%w: replica 0 of group %d", ErrOptions, local.Group)
	}
	if len(local.Backend) > backendBytesMax {
		return nil, fmt.Errorf("%w: a backend's name of %d bytes", ErrOptions, len(local.Backend))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	groups := maps.Clone(t.registry.Load().groups)
	name := key{local.Group, local.Replica}
	switch {
	case t.closed:
		return nil, ErrClosed
	case groups[name] != nil:
		return nil, fmt.Errorf("%w: group %d, replica %d", ErrDuplicate, local.Group, local.Replica)
	}
	local.Detours = maps.Clone(local.Detours)
	g := &Group{transport: t, local: local, configured: maps.Clone(peers)}
	g.ways.contacts, g.ways.strangers = map[uint32]string{}, map[uint32]*stranger{}
	for replica, address := range peers {
		if replica != local.Replica {
			g.ways.contacts[replica] = g.detour(replica, address)
		}
	}
	open := map[uint32]*peer{}
	for replica, address := range g.ways.contacts {
		p, err := t.peer(address)
		if err != nil {
			return nil, fmt.Errorf("%w: address %q of group %d, replica %d: %w", ErrOptions, address, local.Group, replica, err)
		}
		open[replica] = p
	}
	g.peers.Store(&open)
	groups[name] = g
	t.register(groups)
	return g, nil
}

// register publishes a new set of local replicas.
func (t *Transport) register(groups map[key]*Group) {
	hello := &pb.PeerHello{Version: Version, Cluster: t.options.Cluster[:], Address: t.options.Address}
	names := slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.replica, b.replica))
	})
	for _, name := range names {
		hello.Replicas = append(hello.Replicas, &pb.PeerReplica{
			Group: name.group, Replica: name.replica, Incarnation: groups[name].local.Incarnation, Backend: groups[name].local.Backend,
		})
	}
	t.registry.Store(&registry{groups: groups, hello: hello})
}

// unregister removes a local replica.
func (t *Transport) unregister(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	groups := maps.Clone(t.registry.Load().groups)
	name := key{g.local.Group, g.local.Replica}
	if groups[name] == g {
		delete(groups, name)
		t.register(groups)
	}
}

// peer returns the way to an address, in use once more; the caller holds the lock.
func (t *Transport) peer(address string) (p *peer, err error) {
	if p = t.peers[address]; p == nil {
		if p, err = newPeer(t, address); err != nil {
			return nil, err
		}
		t.peers[address] = p
	}
	p.uses++
	return p, nil
}

// acquire is peer for those who do not hold the lock.
func (t *Transport) acquire(address string) (*peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	return t.peer(address)
}

// release gives the use of a way back. The last one closes it.
func (t *Transport) release(p *peer) {
	t.mu.Lock()
	p.uses--
	last := p.uses == 0 && !t.closed
	if last {
		delete(t.peers, p.address)
	}
	t.mu.Unlock()
	if last && !t.start(p.end) {
		p.end()
	}
}

// start runs a function in a goroutine that Close waits for, and returns false when it is too late for that.
func (t *Transport) start(run func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(run)
	return true
}

// Counters returns totals since the start, by name: frames, bytes, streams, refusals, and what was dropped
// and why; and how many ways to peers there are, and what waits in the queues of
// all of them at this moment.
func (t *Transport) Counters() map[string]uint64 {
	values := t.counters.snapshot()
	frames, bytes := 0, 0
	t.mu.Lock()
	values["ways"] = uint64(len(t.peers))
	for _, p := range t.peers {
		waiting, size := p.writer.Waiting()
		frames, bytes = frames+waiting, bytes+size
	}
	t.mu.Unlock()
	values["queue_frames"], values["queue_bytes"] = uint64(frames), uint64(bytes)
	return values
}

// Close ends every stream, drops what waits, and returns when all goroutines are gone. No receiver is called
// afterwards. Closing twice is harmless.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	peers := t.peers
	t.peers = map[string]*peer{}
	t.mu.Unlock()
	t.cancel()
	var first error
	for _, p := range peers {
		if err := p.close(); err != nil && first == nil {
			first = err
		}
	}
	t.running.Wait()
	return first
}
