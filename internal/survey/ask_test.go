package survey

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// admin answers for one node.
type admin struct {
	pb.UnimplementedAdminServiceServer
	replicas []*pb.ReplicaStatus
	// transfers are what TransferPrimary answers, one after the other.
	transfers chan *pb.TransferPrimaryResponse
}

func (a *admin) NodeStatus(context.Context, *pb.NodeStatusRequest) (*pb.NodeStatusResponse, error) {
	return &pb.NodeStatusResponse{Cluster: []byte{0xab, 1}, Version: "1.2", Replicas: a.replicas, CpuSeconds: 3}, nil
}

// Membership is that of a node that hosts no replica of the group.
func (a *admin) Membership(context.Context, *pb.MembershipRequest) (*pb.MembershipResponse, error) {
	return &pb.MembershipResponse{Error: &pb.Error{Code: pb.Code_CODE_UNKNOWN_GROUP}}, nil
}

func serve(t *testing.T, replicas ...*pb.ReplicaStatus) string {
	t.Helper()
	return (&admin{replicas: replicas}).serve(t)
}

func (a *admin) serve(t *testing.T) string {
	t.Helper()
	return serveAdmin(t, a)
}

func serveAdmin(t *testing.T, a pb.AdminServiceServer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	pb.RegisterAdminServiceServer(server, a)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return listener.Addr().String()
}

func TestAsk(t *testing.T) {
	first := serve(t, &pb.ReplicaStatus{
		Group: 1, Replica: 1, Role: "primary", Status: "normal", Serving: true, View: 3, Op: 12, Commit: 11, Applied: 10,
		StateHash: []byte{1}, Counters: map[string]uint64{"fsyncs": 4},
	})
	second := serve(t, &pb.ReplicaStatus{Group: 1, Replica: 2, Role: "backup", Status: "normal", View: 3, Op: 11, Commit: 4, Applied: 4})
	nobody := unused(t)

	replicas := Ask(t.Context(), []Group{{ID: 1, Members: []Member{{Replica: 1, Address: first}, {Replica: 2, Address: second}, {Replica: 3, Address: nobody}, {Replica: 4, Address: second}}}})
	require.Equal(t, Replica{
		Group: 1, Replica: 1, Address: first, Cluster: "ab01", Version: "1.2", Role: "primary", Status: "normal", Serving: true,
		View: 3, Op: 12, Commit: 11, Applied: 10, StateHash: "01", Counters: map[string]uint64{"fsyncs": 4}, CPUSeconds: 3,
	}, replicas[0])
	require.Equal(t, uint64(7), replicas[1].Lag)
	require.Contains(t, replicas[2].Error, nobody)
	require.Contains(t, replicas[3].Error, "no such replica")
	require.Equal(t, Down, Assess(append(replicas[:1:1], replicas[2:]...)).Health)
}
