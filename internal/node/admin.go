package node

import (
	"context"
	"maps"
	"slices"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// adminServer is the AdminService of a node.
type adminServer struct {
	pb.UnimplementedAdminServiceServer
	node *Node
}

// NodeStatus describes every replica, in ascending order of groups, and the process.
func (a *adminServer) NodeStatus(_ context.Context, request *pb.NodeStatusRequest) (*pb.NodeStatusResponse, error) {
	n := a.node
	seconds, err := cpuSeconds()
	if err != nil {
		return nil, status.Errorf(codes.Internal, "reading the CPU time: %v", err)
	}
	response := &pb.NodeStatusResponse{
		Cluster: n.options.Cluster[:], Version: n.options.Version, CpuSeconds: seconds, Counters: n.Counters(),
	}
	replicas := *n.replicas.Load()
	for _, group := range slices.Sorted(maps.Keys(replicas)) {
		response.Replicas = append(response.Replicas, replicas[group].describe(request.GetStateHash()))
	}
	return response, nil
}

// describe merges what the replicator and the handler say of a replica.
func (r *Replica) describe(stateHash bool) *pb.ReplicaStatus {
	s := r.Replicator.Status()
	described := &pb.ReplicaStatus{
		Group: r.Group, Replica: r.Replica, Role: s.Role.String(), Status: s.Protocol, Epoch: s.Epoch,
		View: uint64(s.View), Op: uint64(s.Op), Commit: uint64(s.Commit), Applied: uint64(s.Applied),
		Checkpoint: uint64(s.Checkpoint), Members: uint32(len(s.Members)), Backend: s.Backend, Durability: s.Durability, Log: s.Log, Reason: s.Reason,
		Counters: map[string]uint64{},
	}
	if s.Failure != nil {
		described.Failure = s.Failure.Error()
	}
	maps.Copy(described.Counters, s.Counters)
	r.Handler.Describe(described, stateHash)
	return described
}

// cpuSeconds is the CPU time of the process so far, its own and the kernel's for it.
func cpuSeconds() (float64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9, nil
}
