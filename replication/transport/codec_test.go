package transport

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// TestFramesAreWhatTheGeneratedCodeWrites: every message, to the byte.
func TestFramesAreWhatTheGeneratedCodeWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() uint64 {
		return []uint64{0, 1, 127, 128, math.MaxUint32, random.Uint64()}[random.IntN(6)]
	}
	pieces := 0
	for range 500 {
		request := &pb.ExchangeRequest{}
		if random.IntN(10) == 0 {
			request.Hello = &pb.PeerHello{Version: Version, Cluster: make([]byte, 16)}
		}
		for range random.IntN(5) {
			f := &pb.PeerFrame{
				Group: uint32(number()), From: uint32(number()), To: uint32(number()), Incarnation: number(), Checksum: uint32(number()),
				Payload: make([]byte, []int{0, 1, 100, copiedBytesMax, copiedBytesMax + 1, 70_000}[random.IntN(6)]),
			}
			for i := range f.GetPayload() {
				f.Payload[i] = byte(random.Uint32())
			}
			request.Frames = append(request.Frames, f)
		}
		want, err := proto.Marshal(request)
		require.NoError(t, err)
		got, err := newCodec().Marshal(request)
		require.NoError(t, err)
		require.Equal(t, len(want), got.Len())
		require.True(t, string(want) == string(got.Materialize()))
		pieces = max(pieces, len(got))
	}
	require.Greater(t, pieces, 4, "long payloads were never pieces of their own")
}

// TestEverythingElseIsGRPCs: what is no request is written by gRPC's own codec, and refused by it.
func TestEverythingElseIsGRPCs(t *testing.T) {
	message := &pb.ExchangeResponse{Refused: "no"}
	want, err := proto.Marshal(message)
	require.NoError(t, err)
	got, err := newCodec().Marshal(message)
	require.NoError(t, err)
	require.Equal(t, want, got.Materialize())
	_, err = newCodec().Marshal("no message")
	require.Error(t, err)
}
