package streams_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/streams"
)

// machine is a node of its own, as far as gRPC can tell, with one replica.
type machine struct {
	member  replication.Member
	node    *transport.Transport
	replica *vr.Replica
	sums    *sums
}

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

// boot starts a machine that knows the addresses of these others, and no more.
func boot(t *testing.T, id replication.ReplicaID, joining bool, known ...replication.Member) *machine {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &machine{member: replication.Member{ID: id, Address: listener.Addr().String()}, sums: &sums{}}
	m.node, err = transport.New(transport.Options{Cluster: [16]byte{1}, Address: m.member.Address})
	require.NoError(t, err)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(transport.PayloadBytesMaxDefault + transport.MessageOverhead))
	m.node.RegisterServer(server)
	go func() { _ = server.Serve(listener) }()
	addresses, asked := map[uint32]string{}, []replication.ReplicaID{}
	for _, other := range known {
		addresses[uint32(other.ID)] = other.Address
		asked = append(asked, other.ID)
	}
	if !joining {
		asked = append(asked, id)
	}
	group, err := m.node.Group(transport.Local{Group: 3, Replica: uint32(id)}, addresses)
	require.NoError(t, err)
	m.replica, err = vr.Open(vr.Options{
		Group: 3, Self: id, Members: asked, Joining: joining, Transport: streams.Of(group), Storage: storage.NewMemory(), StateMachine: m.sums,
		CheckpointEvery: 10,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.replica.Close())
		require.NoError(t, m.node.Close())
		server.Stop()
	})
	return m
}

// leader waits until one of them leads.
func leader(t *testing.T, machines ...*machine) *machine {
	t.Helper()
	var found *machine
	require.Eventually(t, func() bool {
		at := slices.IndexFunc(machines, func(m *machine) bool { return m.replica.Status().Leading })
		if at >= 0 {
			found = machines[at]
		}
		return at >= 0
	}, 30*time.Second, 2*time.Millisecond)
	return found
}

// commit has the operations up to a number executed, whatever becomes of each attempt.
func commit(ctx context.Context, t *testing.T, first, last uint64, machines ...*machine) {
	t.Helper()
	for number := first; number <= last; number++ {
		for {
			m := leader(t, machines...)
			err := replication.Propose(ctx, m.replica, m.replica.Status().View, binary.AppendUvarint(nil, number)).Err
			if err == nil {
				break
			}
			require.NoError(t, ctx.Err())
			if !errors.Is(err, replication.ErrNotPrimary) {
				require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
			}
		}
	}
}

// TestOverTheNetwork: machines that nobody was told of join, fetch the state in chunks, and in the end they are the
// group. Where they are each says for itself, and the reconfiguration for good.
func TestOverTheNetwork(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	one := boot(t, 1, false)
	commit(ctx, t, 1, 25, one)
	require.NoError(t, one.replica.Checkpoint(ctx))
	two, three := boot(t, 2, true, one.member), boot(t, 3, true, one.member)
	reconfigure := func(machines []*machine, next ...*machine) {
		t.Helper()
		change := replication.Change{}
		for _, m := range next {
			change.Members = append(change.Members, m.member)
		}
		require.Eventually(t, func() bool {
			_, err := leader(t, machines...).replica.Reconfigure(ctx, change)
			require.False(t, errors.Is(err, replication.ErrOutcomeUnknown), err)
			require.False(t, errors.Is(err, replication.ErrMembership), err)
			return err == nil
		}, 30*time.Second, 20*time.Millisecond)
	}
	reconfigure([]*machine{one}, one, two, three)
	all := []*machine{one, two, three}
	commit(ctx, t, 26, 30, all...)
	four := boot(t, 4, true, two.member)
	rest := []*machine{two, three, four}
	reconfigure(all, rest...)
	commit(ctx, t, 31, 35, rest...)
	require.Eventually(t, func() bool { return one.replica.Status().Protocol == "left" }, 30*time.Second, 2*time.Millisecond)
	for _, m := range rest {
		require.Eventually(t, func() bool { return m.sums.read() == 35 }, 30*time.Second, 2*time.Millisecond)
		require.EqualValues(t, 2, m.replica.Membership().Epoch)
		require.Equal(t, []replication.Member{two.member, three.member, four.member}, m.replica.Membership().Members)
	}
	require.NotZero(t, two.node.Counters()["checkpoints_fetched"])
	require.NotZero(t, four.node.Counters()["checkpoints_fetched"])
	// Who has left is not reached any more once nobody waits for anything there.
	require.Eventually(t, func() bool {
		ways := map[uint64]int{}
		for _, m := range rest {
			ways[m.node.Counters()["ways"]]++
		}
		return ways[2] == 3
	}, 30*time.Second, 20*time.Millisecond, "each reaches two others")
}
