package node_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

func TestNodesThatOthersReachHaveToBeAllowed(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		var refusal *node.InsecureListenError
		_, err := node.Open(node.Options{Listen: address, Cluster: clusterOne})
		require.ErrorAs(t, err, &refusal, address)
		require.ErrorContains(t, err, "insecure")
	}
	listener, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer listener.Close()
	var refusal *node.InsecureListenError
	_, err = node.Open(node.Options{Listener: listener, Cluster: clusterOne})
	require.ErrorAs(t, err, &refusal)
	n, err := node.Open(node.Options{Listen: ":0", Cluster: clusterOne, Insecure: true})
	require.NoError(t, err)
	require.NoError(t, n.Close())
	for _, address := range []string{"localhost:0", "127.0.0.2:0"} {
		n, err := node.Open(node.Options{Listen: address, Cluster: clusterOne})
		require.NoError(t, err)
		require.Equal(t, n.Addr(), n.Advertise())
		require.NoError(t, n.Close())
		require.NoError(t, n.Serve(), "a node that was closed before it served")
	}
}

func TestOpenRefusesWhatMakesNoSense(t *testing.T) {
	listener := bufconn.Listen(1)
	for _, options := range []node.Options{
		{},
		{Listen: "127.0.0.1:0"},
		{Cluster: clusterOne},
		{Cluster: clusterOne, Listen: "127.0.0.1:0", Listener: listener},
		{Cluster: clusterOne, Listen: "nonsense"},
		{Cluster: clusterOne, Listen: "127.0.0.1:0", RequestsMax: -1},
		{Cluster: clusterOne, Listen: "127.0.0.1:0", AnswerBytesMax: 1000},
		{Cluster: clusterOne, Listen: "127.0.0.1:0", Transport: transport.Options{StreamsMax: -1}},
	} {
		_, err := node.Open(options)
		require.ErrorIs(t, err, node.ErrOptions)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = node.Open(node.Options{Listen: taken.Addr().String(), Cluster: clusterOne})
	require.ErrorContains(t, err, "in use")
}

func TestAddReplicaRefusesWhatMakesNoSense(t *testing.T) {
	h := start(t, nil)
	whole := node.Replica{Group: 6, Replica: 1, Handler: h.handler, Replicator: h.replicator}
	for _, change := range []func(*node.Replica){
		func(r *node.Replica) { r.Replica = 0 },
		func(r *node.Replica) { r.Handler = nil },
		func(r *node.Replica) { r.Replicator = nil },
	} {
		broken := whole
		change(&broken)
		require.ErrorIs(t, h.AddReplica(broken), node.ErrOptions)
	}
	require.NoError(t, h.AddReplica(whole))
	whole.Replica = 2
	require.ErrorIs(t, h.AddReplica(whole), node.ErrDuplicate)
}

func TestANodeOverAnotherListener(t *testing.T) {
	listener := bufconn.Listen(1 << 16)
	h := start(t, func(o *node.Options) { o.Listen, o.Listener, o.Advertise = "", listener, "somewhere:1" })
	require.Equal(t, "somewhere:1", h.Advertise())
	connection, err := grpc.NewClient("passthrough:///x", grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	}), insecureCredentials())
	require.NoError(t, err)
	defer connection.Close()
	response, err := pb.NewAdminServiceClient(connection).NodeStatus(t.Context(), &pb.NodeStatusRequest{})
	require.NoError(t, err)
	require.Equal(t, clusterOne[:], response.GetCluster())
}

func TestNodeStatus(t *testing.T) {
	h := start(t, nil)
	h.replicator.set(replication.Status{
		Group: 5, Replica: 1, Role: replication.RolePrimary, Protocol: "normal", Epoch: 1, View: 2, Op: 3, Commit: 4, Applied: 5,
		Checkpoint: 6, Members: []replication.ReplicaID{1, 2, 3}, Backend: "vr", Durability: "sync", Log: "wal",
		Failure: errors.New("disk"), Counters: map[string]uint64{"fsyncs": 9},
	})
	require.NoError(t, h.AddReplica(node.Replica{Group: 0, Replica: 4, Handler: h.handler, Replicator: &replicator{}}))
	response, err := pb.NewAdminServiceClient(connect(t, h.Addr())).NodeStatus(t.Context(), &pb.NodeStatusRequest{})
	require.NoError(t, err)
	require.Equal(t, "test", response.GetVersion())
	require.Equal(t, clusterOne[:], response.GetCluster())
	require.Positive(t, response.GetCpuSeconds())
	require.Contains(t, response.GetCounters(), "peers_frames_sent")
	require.Len(t, response.GetReplicas(), 2)
	require.Zero(t, response.GetReplicas()[0].GetGroup(), "in ascending order")
	r := response.GetReplicas()[1]
	require.Equal(t, []uint64{5, 1, 1, 2, 3, 4, 5, 6, 3}, []uint64{
		uint64(r.GetGroup()), uint64(r.GetReplica()), r.GetEpoch(), r.GetView(), r.GetOp(), r.GetCommit(), r.GetApplied(),
		r.GetCheckpoint(), uint64(r.GetMembers()),
	})
	require.Equal(t, []string{"primary", "normal", "vr", "sync", "wal", "disk"}, []string{
		r.GetRole(), r.GetStatus(), r.GetBackend(), r.GetDurability(), r.GetLog(), r.GetFailure(),
	})
	require.Equal(t, map[string]uint64{"fsyncs": 9, "handled": 7}, r.GetCounters())
	require.True(t, r.GetServing())
	require.Equal(t, []byte{1, 2, 3}, r.GetStateHash())
}

func TestHealth(t *testing.T) {
	h := start(t, nil)
	client := grpc_health_v1.NewHealthClient(connect(t, h.Addr()))
	check := func(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
		response, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		return response.GetStatus()
	}
	const serving, not = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	require.Equal(t, serving, check(""))
	require.Equal(t, not, check(node.HealthService(5)))
	watch, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: node.HealthService(5)})
	require.NoError(t, err)
	seen, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, not, seen.GetStatus())
	h.replicator.set(replication.Status{Leading: true})
	seen, err = watch.Recv()
	require.NoError(t, err, "a watcher learns it without anybody asking")
	require.Equal(t, serving, seen.GetStatus())
	require.Equal(t, serving, check(node.HealthService(5)))
	h.replicator.set(replication.Status{Leading: true, Failure: errors.New("disk")})
	require.Equal(t, not, check(""))
	require.Equal(t, not, check(node.HealthService(5)))
	list, err := client.List(t.Context(), &grpc_health_v1.HealthListRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetStatuses(), 2)
	_, err = client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: node.HealthService(6)})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func TestReflectionNamesTheServices(t *testing.T) {
	h := start(t, nil)
	stream, err := grpc_reflection_v1.NewServerReflectionClient(connect(t, h.Addr())).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}))
	response, err := stream.Recv()
	require.NoError(t, err)
	var names []string
	for _, service := range response.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, name := range []string{"SessionService", "PeerService", "AdminService"} {
		require.Contains(t, names, "viewline.v1."+name)
	}
}

// TestNodesTalk: the transport of one node reaches the replicas of another through its listener.
func TestNodesTalk(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	peers := map[uint32]string{1: a.Addr(), 2: b.Addr()}
	one, err := a.Transport().Group(transport.Local{Group: 5, Replica: 1}, peers)
	require.NoError(t, err)
	two, err := b.Transport().Group(transport.Local{Group: 5, Replica: 2}, peers)
	require.NoError(t, err)
	arrived := make(chan string, 1)
	two.Receive(func(_ uint32, payload []byte) {
		select {
		case arrived <- string(payload):
		default:
		}
	})
	require.Eventually(t, func() bool {
		one.Send(2, []byte("hello"))
		return len(arrived) > 0
	}, patience, time.Millisecond)
	require.Equal(t, "hello", <-arrived)
}
