package streams_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/raft/streams"
	"github.com/viewline/viewline/replication/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sums is a state machine that counts: an operation is the next number, and does nothing when it comes again. Its state
// is large, so that it is fetched in many chunks.
type sums struct {
	mu  sync.Mutex
	sum uint64
}

const ballast = 3 << 20

func (s *sums) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, operation := range operations {
		if number, _ := binary.Uvarint(operation); number == s.sum+1 {
			s.sum = number
		}
	}
	return make([][]byte, len(operations))
}

func (s *sums) read() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum
}

func (s *sums) Snapshot() (replication.Snapshot, error) { return heavy(s.read()), nil }

func (s *sums) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil || len(data) != ballast+8 {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum = binary.BigEndian.Uint64(data)
	return nil
}

type heavy uint64

func (h heavy) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(append(binary.BigEndian.AppendUint64(nil, uint64(h)), make([]byte, ballast)...))
	return int64(n), err
}

func (heavy) Release() {}

// node is a process of its own, as far as gRPC can tell, with a replica in each of two groups.
type node struct {
	id        replication.ReplicaID
	address   string
	transport *transport.Transport
	server    *grpc.Server
	groups    []*transport.Group
	storages  []*raft.Storage
	replicas  []*raft.Replica
	machines  []*sums
}

const groups = 2

// patience is how long a test waits for what has to happen, on a machine that is busy with other things.
const patience = 2 * time.Minute

// eventually waits for something.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		require.True(t, time.Now().Before(end), what)
		<-time.After(time.Millisecond) // it looks again
	}
}

// newNodes boots three nodes that know each other.
func newNodes(t *testing.T) []*node {
	t.Helper()
	addresses := map[uint32]string{}
	var listeners []net.Listener
	for i := range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners = append(listeners, listener)
		addresses[uint32(i+1)] = listener.Addr().String()
	}
	var nodes []*node
	for i, listener := range listeners {
		nodes = append(nodes, newNode(t, replication.ReplicaID(i+1), listener, addresses))
	}
	for _, n := range nodes {
		for group := range groups {
			n.start(t, group)
		}
	}
	return nodes
}

// newNode boots a node that knows those at these addresses.
func newNode(t *testing.T, id replication.ReplicaID, listener net.Listener, addresses map[uint32]string) *node {
	t.Helper()
	n := &node{
		id: id, address: listener.Addr().String(),
		server: grpc.NewServer(grpc.MaxRecvMsgSize(transport.PayloadBytesMaxDefault + transport.MessageOverhead)),
	}
	var err error
	n.transport, err = transport.New(transport.Options{Cluster: [16]byte{1}, Address: n.address})
	require.NoError(t, err)
	n.transport.RegisterServer(n.server)
	go func() { _ = n.server.Serve(listener) }()
	n.replicas, n.machines = make([]*raft.Replica, groups), make([]*sums, groups)
	for group := range groups {
		end, err := n.transport.Group(transport.Local{Group: uint32(group), Replica: uint32(n.id), Backend: streams.Backend}, addresses)
		require.NoError(t, err)
		n.groups, n.storages = append(n.groups, end), append(n.storages, raft.NewMemoryStorage())
	}
	t.Cleanup(func() {
		for group := range groups {
			if n.replicas[group] != nil {
				n.stop(t, group)
			}
		}
		require.NoError(t, n.transport.Close())
		n.server.Stop()
	})
	return n
}

func (n *node) start(t *testing.T, group int) {
	t.Helper()
	n.machines[group] = &sums{}
	replica, err := raft.Open(raft.Options{
		Group: replication.GroupID(group), Self: n.id, Members: []replication.ReplicaID{1, 2, 3}, Storage: n.storages[group],
		Transport: streams.Of(n.groups[group]), StateMachine: n.machines[group], Joining: n.id > 3,
		ViewChangeTimeout: 2 * time.Second, // nobody is lost on a machine that is busy with other things
	})
	require.NoError(t, err)
	n.replicas[group] = replica
}

func (n *node) stop(t *testing.T, group int) {
	t.Helper()
	require.NoError(t, n.replicas[group].Close())
	n.replicas[group] = nil
}

// commit has the operations of a group up to a number executed, whatever becomes of each attempt.
func commit(ctx context.Context, t *testing.T, nodes []*node, group int, first, last uint64) *node {
	t.Helper()
	for number := first; ; {
		require.NoError(t, ctx.Err())
		for _, n := range nodes {
			replica := n.replicas[group]
			if replica == nil || !replica.Status().Leading {
				continue
			}
			err := replication.Propose(ctx, replica, replica.Status().View, binary.AppendUvarint(nil, number)).Err
			if err == nil && number == last {
				return n
			}
			if err == nil {
				number++
			}
		}
		<-time.After(time.Millisecond) // it looks again
	}
}

// TestManyGroupsOverOneListener: two groups share the streams between three nodes; a replica that lacks more than any log
// has fetches the state in chunks, while the other group goes on.
func TestManyGroupsOverOneListener(t *testing.T) {
	nodes := newNodes(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	commit(ctx, t, nodes, 0, 1, 20)
	leader := commit(ctx, t, nodes, 1, 1, 20)
	away := nodes[int(leader.id)%3]
	away.stop(t, 1)
	for first := uint64(21); first <= 41; first += 10 {
		commit(ctx, t, nodes, 1, first, first+9)
		for _, n := range nodes {
			if n != away {
				require.NoError(t, n.replicas[1].Checkpoint(ctx))
			}
		}
	}
	away.start(t, 1)
	commit(ctx, t, nodes, 0, 21, 30)
	commit(ctx, t, nodes, 1, 51, 60)
	for group, sum := range []uint64{30, 60} {
		for _, n := range nodes {
			eventually(t, fmt.Sprintf("group %d, node %d", group, n.id), func() bool { return n.machines[group].read() == sum })
		}
	}
	counters := away.replicas[1].Measure().Values
	require.NotZero(t, counters["checkpoint_fetches"])
	require.GreaterOrEqual(t, counters["checkpoint_fetch_bytes"], uint64(ballast))
	require.NotZero(t, away.transport.Counters()["checkpoints_fetched"])
}

// TestANewcomerThatNobodyWasToldOf is answered at the address that it names itself, gets the state, and becomes a member in
// the place of another, who hears that it has left.
func TestANewcomerThatNobodyWasToldOf(t *testing.T) {
	nodes := newNodes(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leader := commit(ctx, t, nodes, 0, 1, 20)
	addresses := map[uint32]string{}
	for _, n := range nodes {
		addresses[uint32(n.id)] = n.address
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	fresh := newNode(t, 4, listener, addresses)
	fresh.start(t, 0)
	goes := nodes[int(leader.id)%3]
	var members []replication.Member
	for _, n := range append(nodes, fresh) {
		if n != goes {
			members = append(members, replication.Member{ID: n.id, Address: n.address})
		}
	}
	eventually(t, "the members change", func() bool {
		for _, n := range nodes {
			_, err := n.replicas[0].Reconfigure(ctx, replication.Change{Epoch: 1, Members: members})
			if err == nil || n.replicas[0].Membership().Epoch == 1 {
				return true
			}
		}
		return false
	})
	eventually(t, "one has come and one has left", func() bool {
		return fresh.replicas[0].Status().Protocol == "normal" && goes.replicas[0].Status().Protocol == "left"
	})
	goes.stop(t, 0)
	all := append(nodes, fresh)
	commit(ctx, t, all, 0, 21, 30)
	eventually(t, "it has all", func() bool { return fresh.machines[0].read() == 30 })
}
