package transport_test

import (
	"hash/crc32"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication/transport"
)

func checksum(payload string) uint32 {
	return crc32.Checksum([]byte(payload), crc32.MakeTable(crc32.Castagnoli))
}

func hello() *pb.PeerHello {
	id := cluster(1)
	return &pb.PeerHello{Version: 1, Cluster: id[:], Replicas: []*pb.PeerReplica{
		{Group: 5, Replica: 1, Incarnation: 7}, {Group: 5, Replica: 9, Incarnation: 7},
	}}
}

func peerFrame(change func(*pb.PeerFrame)) *pb.PeerFrame {
	f := &pb.PeerFrame{Group: 5, From: 1, To: 2, Incarnation: 7, Checksum: checksum("good"), Payload: []byte("good")}
	change(f)
	return f
}

// TestFramesThatAreDropped sends one bad frame and then a good one on the same stream: the bad one is counted
// and the stream goes on.
func TestFramesThatAreDropped(t *testing.T) {
	_, b, _, two := pair(t, transport.Options{PayloadBytesMax: 100, Pass: func(_, from, _ uint32) bool { return from != 3 }})
	var in inbox
	two.Receive(in.receive)
	large := string(make([]byte, 101))
	for _, test := range []struct {
		counter string
		change  func(*pb.PeerFrame)
	}{
		{"dropped_unknown_sender", func(f *pb.PeerFrame) { f.From = 3 }},
		{"dropped_unknown_sender", func(f *pb.PeerFrame) { f.Group = 6 }},
		{"dropped_unknown_sender", func(f *pb.PeerFrame) { f.Incarnation = 6 }},
		{"dropped_unknown_receiver", func(f *pb.PeerFrame) { f.To = 4 }},
		{"dropped_not_a_member", func(f *pb.PeerFrame) { f.From = 9 }},
		{"dropped_checksum", func(f *pb.PeerFrame) { f.Payload = []byte("gold") }},
		{"dropped_checksum", func(f *pb.PeerFrame) { f.Checksum = 0 }},
		{"dropped_oversized", func(f *pb.PeerFrame) { f.Payload, f.Checksum = []byte(large), checksum(large) }},
	} {
		t.Run(test.counter, func(t *testing.T) {
			before, arrived := b.Counters()[test.counter], len(in.all())
			stream, err := dial(t, b.address).Exchange(t.Context())
			require.NoError(t, err)
			good := peerFrame(func(*pb.PeerFrame) {})
			require.NoError(t, stream.Send(&pb.ExchangeRequest{Hello: hello(), Frames: []*pb.PeerFrame{peerFrame(test.change), good}}))
			eventually(t, func() bool { return len(in.all()) == arrived+1 }, "the good frame")
			require.Equal(t, before+1, b.Counters()[test.counter])
			require.NoError(t, stream.CloseSend())
			_, err = stream.Recv()
			require.ErrorIs(t, err, io.EOF)
		})
	}
}

func TestTheFaultHookIsAskedByTheReceiverToo(t *testing.T) {
	_, b, _, two := pair(t, transport.Options{Pass: func(_, from, to uint32) bool { return from != 1 || to != 2 }})
	var in inbox
	two.Receive(in.receive)
	stream, err := dial(t, b.address).Exchange(t.Context())
	require.NoError(t, err)
	frames := []*pb.PeerFrame{peerFrame(func(*pb.PeerFrame) {})}
	require.NoError(t, stream.Send(&pb.ExchangeRequest{Hello: hello(), Frames: frames}))
	eventually(t, func() bool { return b.Counters()["dropped_fault"] == 1 }, "the frame is dropped")
	require.Empty(t, in.all())
}

func TestHandshakesThatAreRefused(t *testing.T) {
	_, b, _, _ := pair(t, transport.Options{})
	many := hello()
	many.Replicas = make([]*pb.PeerReplica, 5000)
	for i := range many.Replicas {
		many.Replicas[i] = &pb.PeerReplica{Replica: uint32(i)}
	}
	other := cluster(2)
	for _, test := range []struct {
		name     string
		messages []*pb.ExchangeRequest
		reason   string
	}{
		{"none", []*pb.ExchangeRequest{{}}, "no handshake"},
		{"version", []*pb.ExchangeRequest{{Hello: &pb.PeerHello{Version: 2, Cluster: hello().Cluster}}}, "wire version 2"},
		{"cluster", []*pb.ExchangeRequest{{Hello: &pb.PeerHello{Version: 1, Cluster: other[:]}}}, "this is cluster 01"},
		{"short cluster", []*pb.ExchangeRequest{{Hello: &pb.PeerHello{Version: 1, Cluster: other[:3]}}}, "this is cluster 01"},
		{"too many replicas", []*pb.ExchangeRequest{{Hello: many}}, "5000 replicas"},
		{"a second one", []*pb.ExchangeRequest{{Hello: hello()}, {Hello: hello()}}, "second handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := b.Counters()["refused_here"]
			stream, err := dial(t, b.address).Exchange(t.Context())
			require.NoError(t, err)
			for _, message := range test.messages {
				require.NoError(t, stream.Send(message))
			}
			response, err := stream.Recv()
			require.NoError(t, err)
			require.Contains(t, response.GetRefused(), test.reason)
			_, err = stream.Recv()
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, before+1, b.Counters()["refused_here"])
		})
	}
}

// TestAnotherClusterIsRefusedQuietly: both sides go on trying and refusing, and say so once.
func TestAnotherClusterIsRefusedQuietly(t *testing.T) {
	a := open(t, transport.Options{Cluster: cluster(1)})
	b := open(t, transport.Options{Cluster: cluster(2)})
	peers := map[uint32]string{1: a.address, 2: b.address}
	one, two := a.join(t, 5, 1, peers), b.join(t, 5, 2, peers)
	var in inbox
	two.Receive(in.receive)
	eventually(t, func() bool {
		one.Send(2, []byte("x"))
		return a.Counters()["refused_by_peer"] >= 3
	}, "refusals")
	require.Equal(t, 1, a.log.count("peer refuses our frames"))
	require.Equal(t, 1, a.log.count("this is cluster 02"))
	require.Equal(t, 1, b.log.count("peer refused"))
	require.Empty(t, in.all())
}

func TestTooManyStreams(t *testing.T) {
	_, b, _, _ := pair(t, transport.Options{StreamsMax: 1})
	client := dial(t, b.address)
	first, err := client.Exchange(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Send(&pb.ExchangeRequest{Hello: hello()}))
	_, err = first.Header()
	require.NoError(t, err)
	second, err := client.Exchange(t.Context())
	require.NoError(t, err)
	_, err = second.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
}
