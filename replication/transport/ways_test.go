package transport_test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

// openNamed opens a site that says in its handshake where it is.
func openNamed(t *testing.T) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	return openAt(t, transport.Options{Address: address}, address)
}

// TestAStrangerIsAnswered, as long as it is heard; what it fetches it is given.
func TestAStrangerIsAnswered(t *testing.T) {
	a, b := open(t, transport.Options{}), openNamed(t)
	one := a.join(t, 5, 1, nil)
	nine := b.join(t, 5, 9, map[uint32]string{1: a.address})
	var atOne, atNine inbox
	one.Receive(atOne.receive)
	nine.Receive(atNine.receive)
	one.ServeCheckpoints(func(from uint32, _ replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return []byte("for a stranger"), &chunks{}, nil
	})
	_, _, err := nine.FetchCheckpoint(t.Context(), 1, replication.CheckpointRequest{})
	require.Equal(t, codes.PermissionDenied, status.Code(errorsCause(err)), "it was never heard: %v", err)
	one.Send(9, []byte("nobody is there"))
	require.EqualValues(t, 1, a.Counters()["dropped_not_a_member"])

	sendUntil(t, nine, 1, "a newcomer", &atOne)
	require.EqualValues(t, 9, atOne.senders()[0])
	sendUntil(t, one, 9, "an answer", &atNine)
	header, reader, err := nine.FetchCheckpoint(t.Context(), 1, replication.CheckpointRequest{})
	require.NoError(t, err)
	require.Equal(t, "for a stranger", string(header))
	_, err = reader.Next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, reader.Close())

	b.stop(t)
	before := a.Counters()["dropped_not_a_member"]
	eventually(t, func() bool {
		one.Send(9, []byte("are you there?"))
		return a.Counters()["dropped_not_a_member"] > before
	}, "its stream is over, and it is forgotten")
}

// errorsCause is the error of the call itself.
func errorsCause(err error) error {
	for {
		wrapped, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = wrapped.Unwrap()
	}
}

// chunks has none.
type chunks struct{}

func (*chunks) Next() (replication.Chunk, error) { return replication.Chunk{}, io.EOF }
func (*chunks) Close() error                     { return nil }

// TestReach has the ways follow who is to be reached.
func TestReach(t *testing.T) {
	a, b, c := open(t, transport.Options{}), open(t, transport.Options{}), open(t, transport.Options{})
	one := a.join(t, 5, 1, map[uint32]string{1: a.address, 2: b.address})
	two := b.join(t, 5, 2, nil)
	three := c.join(t, 5, 3, map[uint32]string{1: a.address})
	var atOne, atTwo, atThree inbox
	one.Receive(atOne.receive)
	two.Receive(atTwo.receive)
	three.Receive(atThree.receive)
	two.Reach(map[uint32]string{1: a.address, 2: b.address})
	sendUntil(t, one, 2, "configured", &atTwo)

	one.Reach(map[uint32]string{2: "", 3: c.address})
	sendUntil(t, one, 2, "still configured", &atTwo)
	sendUntil(t, one, 3, "a new member", &atThree)
	sendUntil(t, three, 1, "its answer", &atOne)
	sendUntil(t, two, 1, "another answer", &atOne)

	one.Reach(map[uint32]string{3: c.address})
	before := a.Counters()["dropped_not_a_member"]
	one.Send(2, []byte("it has left"))
	require.Equal(t, before+1, a.Counters()["dropped_not_a_member"])
	refused := a.Counters()["dropped_not_a_member"]
	eventually(t, func() bool {
		two.Send(1, []byte("late"))
		return a.Counters()["dropped_not_a_member"] > refused
	}, "it does not say where it is, and is not heard any more")
	require.False(t, atOne.has("late"))
	sendUntil(t, one, 3, "goes on", &atThree)

	one.Reach(map[uint32]string{2: "", 3: c.address})
	sendUntil(t, one, 2, "back again", &atTwo)
	one.Reach(map[uint32]string{2: c.address, 3: b.address}) // both have moved
	one.Send(2, []byte("nobody is here by that name"))
	one.Reach(nil)
	require.NoError(t, a.Close())
	one.Reach(map[uint32]string{2: b.address})
	one.Send(2, []byte("harmless"))
}

// TestStrangersAreBounded: so many of a group are heard at one time.
func TestStrangersAreBounded(t *testing.T) {
	a := open(t, transport.Options{})
	one := a.join(t, 5, 1, nil)
	var in inbox
	one.Receive(in.receive)
	id := cluster(1)
	greeting := &pb.PeerHello{Version: transport.Version, Cluster: id[:], Address: "127.0.0.1:1"}
	var frames []*pb.PeerFrame
	const many = 100
	for replica := uint32(0); replica < many; replica++ {
		greeting.Replicas = append(greeting.Replicas, &pb.PeerReplica{Group: 5, Replica: replica})
		frames = append(frames, seal(&pb.PeerFrame{Group: 5, From: replica, To: 1, Payload: []byte("x")}))
	}
	for range 3 { // each time the places are free again
		stream, err := dial(t, a.address).Exchange(t.Context())
		require.NoError(t, err)
		arrived, dropped := len(in.all()), a.Counters()["dropped_not_a_member"]
		require.NoError(t, stream.Send(&pb.ExchangeRequest{Hello: greeting, Frames: frames}))
		require.NoError(t, stream.Send(&pb.ExchangeRequest{Frames: frames}))
		eventually(t, func() bool {
			return len(in.all())-arrived+int(a.Counters()["dropped_not_a_member"]-dropped) == 2*many
		}, "all frames are judged")
		require.Equal(t, 2*64, len(in.all())-arrived)
		require.NotContains(t, in.senders(), uint32(0), "nobody")
		require.NotContains(t, in.senders(), uint32(1), "the replica itself")
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestAddressesThatNobodyIsReachedAt(t *testing.T) {
	id := cluster(1)
	for _, address := range []string{
		"nowhere", "host:", "host:0", "unix:7", "a/b:7", "unix:/a:7", string(make([]byte, 256)) + ":7",
	} {
		require.ErrorIs(t, transport.Options{Cluster: id, Address: address}.Validate(), transport.ErrOptions, address)
	}
	for _, address := range []string{"host:7", "127.0.0.1:65535", "[::1]:7", ":7", "host:http"} {
		require.NoError(t, transport.Options{Cluster: id, Address: address}.Validate(), address)
	}
}

// TestDetours: a replica that is reached elsewhere is never reached at its address, whoever says what that is.
func TestDetours(t *testing.T) {
	a, b, c, d := open(t, transport.Options{}), open(t, transport.Options{}), open(t, transport.Options{}), open(t, transport.Options{})
	local := transport.Local{Group: 5, Replica: 1, Detours: map[uint32]string{2: c.address, 3: d.address, 4: d.address}}
	one, err := a.Group(local, map[uint32]string{1: a.address, 2: b.address})
	require.NoError(t, err)
	var wrong, atC, atD inbox
	for _, at := range []struct {
		node *site
		id   uint32
		in   *inbox
	}{{b, 2, &wrong}, {c, 2, &atC}, {b, 3, &wrong}, {d, 3, &atD}, {b, 4, &wrong}, {d, 4, &atD}} {
		at.node.join(t, 5, at.id, map[uint32]string{1: a.address}).Receive(at.in.receive)
	}
	sendUntil(t, one, 2, "instead of the configuration", &atC)
	one.Reach(map[uint32]string{2: b.address, 3: b.address})
	sendUntil(t, one, 2, "instead of a member's address", &atC)
	sendUntil(t, one, 3, "of a later member", &atD)
	one.Reach(map[uint32]string{2: "", 3: ""})
	sendUntil(t, one, 2, "instead of none", &atC)

	var atOne inbox
	one.Receive(atOne.receive)
	stranger := open(t, transport.Options{Address: b.address}).join(t, 5, 4, map[uint32]string{1: a.address})
	sendUntil(t, stranger, 1, "who is at b, it says", &atOne)
	sendUntil(t, one, 4, "instead of a stranger's", &atD)
	require.Empty(t, wrong.all())
}
