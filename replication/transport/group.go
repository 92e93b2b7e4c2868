package transport

import (
	"hash/crc32"
	"sync"
	"sync/atomic"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// castagnoli is the table of CRC-32C; it is never changed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the whole frame. With the payload alone under it, one altered byte could hand a message that
// is intact to another group, which may well have the same replicas: as a PREPAREOK for what nobody there has.
func checksum(f *pb.PeerFrame) uint32 {
	sum := sumNumber(0, uint64(f.GetGroup()), 4)
	sum = sumNumber(sum, uint64(f.GetFrom()), 4)
	sum = sumNumber(sum, uint64(f.GetTo()), 4)
	sum = sumNumber(sum, f.GetIncarnation(), 8)
	return crc32.Update(sum, castagnoli, f.GetPayload())
}

// sumNumber is crc32.Update with a number's bytes, little-endian. Update would have them in memory: an allocation
// for each frame.
func sumNumber(sum uint32, value uint64, bytes int) uint32 {
	sum = ^sum
	for range bytes {
		sum = castagnoli[byte(sum)^byte(value)] ^ sum>>8
		value >>= 8
	}
	return ^sum
}

// OpenCheckpoint opens a checkpoint for the replica from, and returns with its chunks the backend's own description of it.
type OpenCheckpoint = func(from uint32, request replication.CheckpointRequest) (header []byte, chunks replication.ChunkReader, err error)

// Group is one local replica's end of the transport.
type Group struct {
	transport *Transport
	local     Local
	// configured are the addresses that the replica was registered with; never changed.
	configured map[uint32]string

	// peers are the ways that are open; a map never changes, a new one replaces it.
	peers  atomic.Pointer[map[uint32]*peer]
	waysMu sync.Mutex // guards ways, and every change of peers
	ways   ways

	mu          sync.RWMutex                      // held for reading while receiver is being called
	receiver    func(from uint32, payload []byte) // guarded by mu
	checkpoints OpenCheckpoint                    // guarded by mu
}

// Send hands a payload on to a replica and returns at once. It drops the payload when there is no way to that one, or
// when it is not reached or slower than the queue allows. The payload must not be changed afterwards.
func (g *Group) Send(to uint32, payload []byte) {
	t, p := g.transport, g.way(to)
	switch {
	case p == nil:
		t.counters.drop(dropNotMember, 1)
		return
	case len(payload) > t.options.PayloadBytesMax:
		t.counters.drop(dropOversized, 1)
		t.notices.warn("a frame is too large to send", "group", g.local.Group, "bytes", len(payload))
		return
	case !t.options.Pass(g.local.Group, g.local.Replica, to):
		t.counters.drop(dropFault, 1)
		return
	}
	frame := &pb.PeerFrame{
		Group: g.local.Group, From: g.local.Replica, To: to, Incarnation: g.local.Incarnation, Payload: payload,
	}
	frame.Checksum = checksum(frame)
	if !p.writer.Put(frame) {
		t.counters.drop(dropQueueFull, 1)
	}
}

// Receive sets the function that gets every payload for this replica, possibly from many goroutines at once;
// it must not block and must not call Receive. The payload is its own. nil stops the delivery and returns when
// no call is under way.
func (g *Group) Receive(deliver func(from uint32, payload []byte)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.receiver = deliver
}

// deliver calls the receiver and reports whether there was one.
func (g *Group) deliver(from uint32, payload []byte) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.receiver == nil {
		return false
	}
	g.receiver(from, payload)
	return true
}

// ServeCheckpoints sets the function that opens this replica's checkpoints for peers. nil stops the
// service; a checkpoint that is on its way is sent to its end.
func (g *Group) ServeCheckpoints(open OpenCheckpoint) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checkpoints = open
}

func (g *Group) opener() OpenCheckpoint {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.checkpoints
}

// Close takes the replica off the transport: peers learn it with the next handshake, frames for it are
// dropped. Sending is still harmless. It returns when its receiver is not being called. Closing twice is
// harmless.
func (g *Group) Close() {
	g.transport.unregister(g)
	g.Receive(nil)
	g.ServeCheckpoints(nil)
}
