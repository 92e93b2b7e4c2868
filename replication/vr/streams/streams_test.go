package streams_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is the ends of replicas 1 and 2, in a process each as far as gRPC can tell.
func pair(t *testing.T) (ends [2]vr.Transport, nodes [2]*transport.Transport) {
	t.Helper()
	listeners, addresses := [2]net.Listener{}, map[uint32]string{}
	for i := range listeners {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners[i], addresses[uint32(i+1)] = listener, listener.Addr().String()
	}
	for i := range ends {
		node, err := transport.New(transport.Options{
			Cluster: [16]byte{1}, Dial: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
		})
		require.NoError(t, err)
		server := grpc.NewServer(grpc.MaxRecvMsgSize(transport.PayloadBytesMaxDefault + transport.MessageOverhead))
		node.RegisterServer(server)
		go func() { _ = server.Serve(listeners[i]) }()
		t.Cleanup(func() {
			require.NoError(t, node.Close())
			server.Stop()
		})
		group, err := node.Group(transport.Local{Group: 3, Replica: uint32(i + 1)}, addresses)
		require.NoError(t, err)
		ends[i], nodes[i] = streams.Of(group), node
	}
	return ends, nodes
}

func TestMessages(t *testing.T) {
	ends, nodes := pair(t)
	received := make(chan string, 1)
	ends[1].Receive(func(from core.ReplicaID, payload []byte) {
		select {
		case received <- fmt.Sprint(from, " ", string(payload)):
		default:
		}
	})
	// A message may be lost, above all before there is a stream: it is sent until something comes of it.
	require.Eventually(t, func() bool {
		ends[0].Send(2, []byte("PREPARE"))
		return len(received) > 0
	}, 30*time.Second, time.Millisecond)
	require.Equal(t, "1 PREPARE", <-received)
	ends[1].Receive(nil)
	require.Eventually(t, func() bool {
		ends[0].Send(2, []byte("nobody receives this"))
		return nodes[1].Counters()["dropped_unknown_receiver"] > 0
	}, 30*time.Second, time.Millisecond)
}

func TestCheckpoints(t *testing.T) {
	ends, _ := pair(t)
	request := replication.CheckpointRequest{AtLeast: 77}
	ends[1].ServeCheckpoints(func(from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		if len(request.Resume) > 0 {
			return nil, nil, replication.ErrCheckpointGone
		}
		return fmt.Appendf(nil, "for %d, at least %d", from, request.AtLeast), &oneChunk{chunk: replication.Chunk{Checksum: 7, Data: []byte("the state")}}, nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	header, chunks, err := ends[0].FetchCheckpoint(ctx, 2, request)
	require.NoError(t, err)
	require.Equal(t, "for 1, at least 77", string(header))
	chunk, err := chunks.Next()
	require.NoError(t, err)
	require.Equal(t, replication.Chunk{Checksum: 7, Data: []byte("the state")}, chunk)
	_, err = chunks.Next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, chunks.Close())
	_, _, err = ends[0].FetchCheckpoint(ctx, 2, replication.CheckpointRequest{Resume: []byte("another")})
	require.ErrorIs(t, err, replication.ErrCheckpointGone)

	ends[1].ServeCheckpoints(nil)
	_, _, err = ends[0].FetchCheckpoint(ctx, 2, request)
	require.Error(t, err)
	_, _, err = ends[0].FetchCheckpoint(ctx, 3, request)
	require.ErrorIs(t, err, transport.ErrUnknownPeer)
}

// oneChunk is a checkpoint of one chunk.
type oneChunk struct {
	chunk replication.Chunk
	given bool
}

func (c *oneChunk) Next() (replication.Chunk, error) {
	if c.given {
		return replication.Chunk{}, io.EOF
	}
	c.given = true
	return c.chunk, nil
}

func (c *oneChunk) Close() error { return nil }
