package streams_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

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
	ends[1].ServeCheckpoints(func(from core.ReplicaID, atLeast core.OpNumber) ([]byte, io.ReadCloser, error) {
		return fmt.Appendf(nil, "for %d, at least %d", from, atLeast), io.NopCloser(strings.NewReader("the state")), nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	header, body, err := ends[0].FetchCheckpoint(ctx, 2, 77)
	require.NoError(t, err)
	require.Equal(t, "for 1, at least 77", string(header))
	state, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "the state", string(state))
	require.NoError(t, body.Close())

	ends[1].ServeCheckpoints(nil)
	_, _, err = ends[0].FetchCheckpoint(ctx, 2, 77)
	require.Error(t, err)
	_, _, err = ends[0].FetchCheckpoint(ctx, 3, 77)
	require.ErrorIs(t, err, transport.ErrUnknownPeer)
}
