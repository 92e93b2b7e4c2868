package node_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

func insecureCredentials() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}

func TestDrainAnswersWhatIsUnderWayAndRefusesTheRest(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(1), bound(2))
	requests := h.handler.take(2)
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	health := grpc_health_v1.NewHealthClient(connect(t, h.Addr()))
	require.Eventually(t, func() bool {
		response, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		return err == nil && response.GetStatus() == grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}, patience, time.Millisecond)
	c.send(bound(3))
	require.Equal(t, pb.Code_CODE_UNAVAILABLE, c.refused(3))
	requests[0].respond(boundAnswer(1))
	require.EqualValues(t, 1, c.next().GetId())
	require.Empty(t, drained, "a request is still under way")
	requests[1].respond(boundAnswer(2))
	require.EqualValues(t, 2, c.next().GetId())
	require.NoError(t, <-drained)
	_, err := c.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.NoError(t, h.Close())
}

// TestDrainHandsTheLastAnswersToTheNetwork: many answers at the last moment, none of them lost.
func TestDrainHandsTheLastAnswersToTheNetwork(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	for i := range uint64(200) {
		c.send(bound(i))
	}
	requests := h.handler.take(200)
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	for _, r := range requests {
		r.respond(reading(50_000))
	}
	for range requests {
		require.NotNil(t, c.next().GetRead())
	}
	require.NoError(t, <-drained)
}

func TestDrainEndsWithItsContext(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(1))
	request := h.handler.take(1)[0]
	cause := errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	require.ErrorIs(t, h.Drain(ctx), cause)
	_, err := c.Recv()
	require.Error(t, err)
	request.respond(boundAnswer(1)) // late, and harmless
}

func TestDrainOfANodeWithNothingToDo(t *testing.T) {
	h := start(t, nil)
	h.session(t)
	require.NoError(t, h.Drain(t.Context()))
	require.NoError(t, h.Drain(t.Context()))
}

func TestCloseDoesNotWaitForAnswers(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(1))
	request := h.handler.take(1)[0]
	require.NoError(t, h.Close())
	_, err := c.Recv()
	require.Error(t, err)
	request.respond(boundAnswer(1))
	require.ErrorIs(t, h.AddReplica(node.Replica{Group: 5, Replica: 1, Handler: h.handler, Replicator: h.replicator}), node.ErrDuplicate)
}

// TestCloseWhileAClientDoesNotRead: its writer is stuck until the connection is closed.
func TestCloseWhileAClientDoesNotRead(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	for i := range uint64(10) {
		c.send(bound(i))
	}
	for _, r := range h.handler.take(10) {
		r.respond(reading(4 << 20))
	}
	require.NoError(t, h.Close())
}

// endless is a service whose streams have no end of their own, like the map's.
type endless struct {
	pb.UnimplementedMapServiceServer
}

func (endless) WatchMap(_ *pb.WatchMapRequest, stream pb.MapService_WatchMapServer) error {
	if err := stream.Send(&pb.WatchMapResponse{Bound: 1}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func TestStreamsOfOtherServicesEndWithTheNode(t *testing.T) {
	n, err := node.Open(node.Options{Listen: "127.0.0.1:0", Cluster: clusterOne})
	require.NoError(t, err)
	pb.RegisterMapServiceServer(n.Registrar(), endless{})
	served := make(chan error, 1)
	go func() { served <- n.Serve() }()
	watch, err := pb.NewMapServiceClient(connect(t, n.Addr())).WatchMap(t.Context(), &pb.WatchMapRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)
	require.NoError(t, n.Drain(t.Context()))
	_, err = watch.Recv()
	require.ErrorIs(t, err, io.EOF, "it ended in order")
	require.NoError(t, <-served)
}

// TestDrainWritesACheckpoint when the next start would have much to execute again, and waits no longer for it than it
// may.
func TestDrainWritesACheckpoint(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  replication.Status
		written int
	}{
		{"much above the checkpoint", replication.Status{Applied: 9000, Checkpoint: 7000}, 1},
		{"little", replication.Status{Applied: 9000, Checkpoint: 8500}, 0},
		{"stopped", replication.Status{Applied: 9000, Failure: errors.New("broken")}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, nil)
			written := 0
			h.replicator.checkpoint = func(context.Context) error { written++; return nil }
			h.replicator.set(c.status)
			require.NoError(t, h.Drain(t.Context()))
			require.Equal(t, c.written, written)
		})
	}
	t.Run("without an end", func(t *testing.T) {
		h := start(t, nil)
		h.replicator.checkpoint = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		h.replicator.set(replication.Status{Applied: 9000})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.NoError(t, h.Drain(ctx), "every request was answered")
	})
}
