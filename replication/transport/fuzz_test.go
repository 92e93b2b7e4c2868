package transport

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// FuzzExchange takes any bytes for a peer's first message: nothing panics, every frame is delivered or counted
// as dropped, and only what a named sender, a checksum, and a member or an address to answer at vouch for is delivered.
func FuzzExchange(f *testing.F) {
	t, err := New(Options{Cluster: [16]byte{1}, PayloadBytesMax: 100})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, t.Close()) })
	g, err := t.Group(Local{Group: 5, Replica: 2}, map[uint32]string{1: "127.0.0.1:1"})
	require.NoError(f, err)
	delivered, wrongly, stranger := 0, 0, false
	g.Receive(func(from uint32, payload []byte) {
		delivered++
		if from != 1 && (!stranger || from == 2 || from == 0) || len(payload) > 100 {
			wrongly++
		}
	})
	good := &pb.PeerFrame{Group: 5, From: 1, To: 2, Payload: []byte("x")}
	good.Checksum = checksum(good)
	for _, change := range []func(*pb.PeerHello, *pb.PeerFrame){
		func(*pb.PeerHello, *pb.PeerFrame) {},
		func(h *pb.PeerHello, _ *pb.PeerFrame) { h.Version++ },
		func(h *pb.PeerHello, _ *pb.PeerFrame) { h.Replicas = nil },
		func(_ *pb.PeerHello, f *pb.PeerFrame) { f.Checksum++ },
		func(h *pb.PeerHello, f *pb.PeerFrame) {
			h.Address, h.Replicas[0].Replica = "127.0.0.1:1", 9
			f.From = 9
			f.Checksum = checksum(f)
		},
		func(_ *pb.PeerHello, f *pb.PeerFrame) { f.To++; f.Checksum = checksum(f) },
	} {
		hello := &pb.PeerHello{Version: Version, Cluster: t.options.Cluster[:], Replicas: []*pb.PeerReplica{{Group: 5, Replica: 1}}}
		frame := proto.Clone(good).(*pb.PeerFrame)
		change(hello, frame)
		seed, err := proto.Marshal(&pb.ExchangeRequest{Hello: hello, Frames: []*pb.PeerFrame{frame, good}})
		require.NoError(f, err)
		f.Add(seed)
	}
	f.Fuzz(func(test *testing.T, data []byte) {
		request := &pb.ExchangeRequest{}
		if proto.Unmarshal(data, request) != nil {
			return
		}
		known, err := t.admit(request.GetHello())
		if err != nil {
			require.Nil(test, known)
			return
		}
		stranger = request.GetHello().GetAddress() != ""
		before, dropped := delivered, total(&t.counters)
		from := &caller{host: "a fuzzer", replicas: known, address: request.GetHello().GetAddress(), met: map[meeting]bool{}}
		for _, frame := range request.GetFrames() {
			t.deliver(from, frame)
		}
		from.part()
		require.Zero(test, wrongly)
		require.EqualValues(test, len(request.GetFrames()), uint64(delivered-before)+total(&t.counters)-dropped)
	})
}

func total(c *counters) (sum uint64) {
	for reason := range dropReasons {
		sum += c.dropped[reason].Load()
	}
	return sum
}

func TestEveryDropReasonHasAName(t *testing.T) {
	var c counters
	for reason := range dropReasons {
		c.drop(reason, 3)
		require.NotEmpty(t, reason.name())
		require.EqualValues(t, 3, c.snapshot()[reason.name()])
	}
}

func TestEveryRefusalReasonHasAName(t *testing.T) {
	var c counters
	for reason := range refusalReasons {
		c.refused[reason].Add(4)
		require.NotEmpty(t, reason.name())
		require.EqualValues(t, 4, c.snapshot()["refused_here."+reason.name()])
	}
}

func TestPausesAreJitteredAndBounded(t *testing.T) {
	o := Options{Cluster: [16]byte{1}, BackoffMin: 10 * time.Millisecond, BackoffMax: time.Second}
	tr, err := New(o)
	require.NoError(t, err)
	p := &peer{transport: tr}
	for doublings := range 100 {
		full := min(o.BackoffMax, o.BackoffMin<<min(doublings, 10))
		before := time.Now()
		p.pause(doublings)
		pause := p.retryAt.Sub(before)
		require.GreaterOrEqual(t, pause, full/2)
		require.LessOrEqual(t, pause, full+time.Second, "full %v", full)
	}
	require.NoError(t, tr.Close())
}

func TestSumNumberIsTheChecksumOfItsBytes(t *testing.T) {
	for _, value := range []uint64{0, 1, 0x1122334455667788, 1<<64 - 1} {
		bytes := binary.LittleEndian.AppendUint64(nil, value)
		require.Equal(t, crc32.Checksum(bytes, castagnoli), sumNumber(0, value, 8))
		require.Equal(t, crc32.Update(7, castagnoli, bytes[:4]), sumNumber(7, value, 4))
	}
	frame := &pb.PeerFrame{Group: 1, From: 2, To: 3, Incarnation: 4, Payload: make([]byte, 1000)}
	require.Zero(t, testing.AllocsPerRun(100, func() { frame.Checksum = checksum(frame) }))
}
