package transport_test

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication/transport"
)

// seal gives a frame its checksum, as docs/FORMATS.md describes it.
func seal(f *pb.PeerFrame) *pb.PeerFrame {
	var data []byte
	for _, number := range []uint32{f.GetGroup(), f.GetFrom(), f.GetTo()} {
		data = binary.LittleEndian.AppendUint32(data, number)
	}
	data = append(binary.LittleEndian.AppendUint64(data, f.GetIncarnation()), f.GetPayload()...)
	f.Checksum = crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return f
}

func hello() *pb.PeerHello {
	id := cluster(1)
	return &pb.PeerHello{Version: transport.Version, Cluster: id[:], Replicas: []*pb.PeerReplica{
		{Group: 5, Replica: 1, Incarnation: 7}, {Group: 5, Replica: 9, Incarnation: 7},
	}}
}

func peerFrame(change func(*pb.PeerFrame)) *pb.PeerFrame {
	f := seal(&pb.PeerFrame{Group: 5, From: 1, To: 2, Incarnation: 7, Payload: []byte("good")})
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
		{"dropped_unknown_receiver", func(f *pb.PeerFrame) { f.To = 4; seal(f) }},
		{"dropped_not_a_member", func(f *pb.PeerFrame) { f.From = 9; seal(f) }},
		{"dropped_checksum", func(f *pb.PeerFrame) { f.Payload = []byte("gold") }},
		{"dropped_checksum", func(f *pb.PeerFrame) { f.Checksum = 0 }},
		{"dropped_oversized", func(f *pb.PeerFrame) { f.Payload = []byte(large); seal(f) }},
	} {
		t.Run(test.counter, func(t *testing.T) {
			before, arrived := b.Counters()[test.counter], len(in.all())
			reason := "reason=" + test.counter
			stream, err := dial(t, b.address).Exchange(t.Context())
			require.NoError(t, err)
			good := peerFrame(func(*pb.PeerFrame) {})
			require.NoError(t, stream.Send(&pb.ExchangeRequest{Hello: hello(), Frames: []*pb.PeerFrame{peerFrame(test.change), good}}))
			eventually(t, func() bool { return len(in.all()) == arrived+1 }, "the good frame")
			require.Equal(t, before+1, b.Counters()[test.counter])
			if test.counter == "dropped_unknown_receiver" {
				require.Zero(t, b.log.count(reason))
			} else {
				require.Equal(t, 1, b.log.count(reason), "each reason is told once, however many frames")
			}
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
	other, nowhere := cluster(2), hello()
	nowhere.Address = "unix:/etc/passwd"
	for _, test := range []struct {
		name     string
		messages []*pb.ExchangeRequest
		reason   string
		counter  string
	}{
		{"none", []*pb.ExchangeRequest{{}}, "no handshake", "no_handshake"},
		{"version", []*pb.ExchangeRequest{{Hello: &pb.PeerHello{Version: 1, Cluster: hello().Cluster}}}, "wire version 1", "version"},
		{"cluster", []*pb.ExchangeRequest{{Hello: &pb.PeerHello{Version: transport.Version, Cluster: other[:]}}}, "this is cluster 01", "cluster"},
		{"short cluster", []*pb.ExchangeRequest{{Hello: &pb.PeerHello{Version: transport.Version, Cluster: other[:3]}}}, "this is cluster 01", "cluster"},
		{"too many replicas", []*pb.ExchangeRequest{{Hello: many}}, "5000 replicas", "too_many_replicas"},
		{"no address", []*pb.ExchangeRequest{{Hello: nowhere}}, "not HOST:PORT", "address"},
		{"a second one", []*pb.ExchangeRequest{{Hello: hello()}, {Hello: hello()}}, "second handshake", "second_handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			counter := "refused_here." + test.counter
			before := b.Counters()[counter]
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
			require.Equal(t, before+1, b.Counters()[counter])
			require.Equal(t, 1, b.log.count("reason="+test.counter), "the same once")
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
	require.EqualValues(t, 1, b.Counters()["refused_here.too_many_streams"])
	require.Equal(t, 1, b.log.count("reason=too_many_streams"))
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (rawCodec) Name() string                         { return "proto" }

// TestMessagesThatCannotBeRead: the stream ends, others go on, and a flood of them is one line.
func TestMessagesThatCannotBeRead(t *testing.T) {
	_, b, one, two := pair(t, transport.Options{})
	var in inbox
	two.Receive(in.receive)
	connection, err := grpc.NewClient("passthrough:///"+b.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close()) })
	for range 50 {
		for _, bad := range []struct {
			message []byte
			reason  string
		}{{[]byte{0xff}, "malformed_message"}, {make([]byte, 33<<20), "oversized_message"}} {
			if bad.reason == "oversized_message" && b.Counters()["refused_here."+bad.reason] > 1 {
				continue // two of those are enough
			}
			before := b.Counters()["refused_here."+bad.reason]
			stream, err := connection.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
				pb.PeerService_Exchange_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
			require.NoError(t, err)
			_ = stream.SendMsg(bad.message) // it may be refused before all of it is sent
			var answer []byte
			require.Error(t, stream.RecvMsg(&answer))
			eventually(t, func() bool { return b.Counters()["refused_here."+bad.reason] == before+1 }, bad.reason)
			require.Equal(t, 1, b.log.count("reason="+bad.reason))
		}
	}
	require.Equal(t, 2, b.log.count("level=WARN"))
	sendUntil(t, one, 2, "still works", &in)
}

// TestAFloodOfBadFramesIsOneLine: and the next minute tells how many were held back.
func TestAFloodOfBadFramesIsOneLine(t *testing.T) {
	_, b, _, two := pair(t, transport.Options{})
	var in inbox
	two.Receive(in.receive)
	stream, err := dial(t, b.address).Exchange(t.Context())
	require.NoError(t, err)
	frames := make([]*pb.PeerFrame, 10_000)
	for i := range frames {
		frames[i] = peerFrame(func(f *pb.PeerFrame) { f.Checksum = uint32(i) })
	}
	good := peerFrame(func(*pb.PeerFrame) {})
	require.NoError(t, stream.Send(&pb.ExchangeRequest{Hello: hello(), Frames: append(frames, good)}))
	eventually(t, func() bool { return len(in.all()) == 1 }, "the good frame")
	require.EqualValues(t, len(frames), b.Counters()["dropped_checksum"])
	require.Equal(t, 1, b.log.count("frame dropped"))
	require.Equal(t, 1, b.log.count("peer=127.0.0.1"))
}

// TestAFrameForAnotherGroupIsNoticed: both nodes have a second group with the same replicas, so that nothing but
// the checksum tells a frame whose group was altered on its way.
func TestAFrameForAnotherGroupIsNoticed(t *testing.T) {
	a, b, _, two := pair(t, transport.Options{})
	peers := map[uint32]string{1: a.address, 2: b.address}
	a.join(t, 6, 1, peers)
	other := b.join(t, 6, 2, peers)
	var in, wrong inbox
	two.Receive(in.receive)
	other.Receive(wrong.receive)
	both := hello()
	both.Replicas = append(both.Replicas, &pb.PeerReplica{Group: 6, Replica: 1, Incarnation: 7})
	stream, err := dial(t, b.address).Exchange(t.Context())
	require.NoError(t, err)
	altered := peerFrame(func(f *pb.PeerFrame) { f.Group = 6 })
	good := peerFrame(func(*pb.PeerFrame) {})
	require.NoError(t, stream.Send(&pb.ExchangeRequest{Hello: both, Frames: []*pb.PeerFrame{altered, good}}))
	eventually(t, func() bool { return len(in.all()) == 1 }, "the good frame")
	require.Empty(t, wrong.all())
	require.EqualValues(t, 1, b.Counters()["dropped_checksum"])
}

// TestAMuteStreamGivesItsPlaceBack: a stream without a handshake ends, and another takes its place.
func TestAMuteStreamGivesItsPlaceBack(t *testing.T) {
	_, b, _, _ := pair(t, transport.Options{StreamsMax: 1, HandshakeTimeout: 20 * time.Millisecond})
	client := dial(t, b.address)
	mute, err := client.Exchange(t.Context())
	require.NoError(t, err)
	response, err := mute.Recv()
	require.NoError(t, err)
	require.Contains(t, response.GetRefused(), "no handshake came")
	require.EqualValues(t, 1, b.Counters()["refused_here.silent"])
	_, err = mute.Recv()
	require.ErrorIs(t, err, io.EOF)
	eventually(t, func() bool {
		next, err := client.Exchange(t.Context())
		require.NoError(t, err)
		if next.Send(&pb.ExchangeRequest{Hello: hello()}) != nil {
			return false
		}
		_, err = next.Header()
		return err == nil
	}, "a stream that speaks")
}

// talker refuses every stream at length.
type talker struct {
	pb.UnimplementedPeerServiceServer
}

func (talker) Exchange(stream pb.PeerService_ExchangeServer) error {
	return stream.Send(&pb.ExchangeResponse{Refused: strings.Repeat("no ", 1<<20)})
}

// TestALongReasonIsCut: what a peer says of us is remembered for a minute, and so has a bound.
func TestALongReasonIsCut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	pb.RegisterPeerServiceServer(server, talker{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	a := open(t, transport.Options{})
	one := a.join(t, 5, 1, map[uint32]string{1: a.address, 2: listener.Addr().String()})
	eventually(t, func() bool {
		one.Send(2, []byte("x"))
		return a.log.count("peer refuses our frames") == 1
	}, "the refusal")
	require.Less(t, a.log.size(), 1<<10)
}

// TestReplicasOfAnotherBackendAreNotHeard: a group keeps the backend that it began with.
func TestReplicasOfAnotherBackendAreNotHeard(t *testing.T) {
	a, b := open(t, transport.Options{}), open(t, transport.Options{})
	peers := map[uint32]string{1: a.address, 2: b.address}
	join := func(s *site, replica uint32, backend string) *transport.Group {
		g, err := s.Group(transport.Local{Group: 5, Replica: replica, Backend: backend}, peers)
		require.NoError(t, err)
		t.Cleanup(g.Close)
		return g
	}
	one, two := join(a, 1, "raft"), join(b, 2, "")
	var in inbox
	two.Receive(in.receive)
	eventually(t, func() bool {
		one.Send(2, []byte("of another kind"))
		return b.Counters()["dropped_other_backend"] > 0
	}, "it is dropped")
	require.Empty(t, in.all())
	require.NotZero(t, b.log.count("there=raft here=vr"))
	two.Close()
	two = join(b, 2, "raft")
	two.Receive(in.receive)
	eventually(t, func() bool {
		one.Send(2, []byte("of its own kind"))
		return len(in.all()) > 0
	}, "it is heard")
	_, err := a.Group(transport.Local{Group: 6, Replica: 1, Backend: strings.Repeat("x", 256)}, peers)
	require.ErrorIs(t, err, transport.ErrOptions)
}
