package node

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
)

// healthInterval is how old what watchers see may be; those who ask get the state of the moment.
const healthInterval = time.Second

// health is gRPC's health service over the node's replicas. The overall service, "", serves while the node takes
// requests and none of its replicas has stopped for good; the service of a group, "viewline.group.<n>", serves
// while this node's replica leads the group.
type health struct {
	*grpchealth.Server
	node *Node
}

// HealthService is the name under which the health service knows a group.
func HealthService(group uint32) string { return fmt.Sprintf("viewline.group.%d", group) }

func newHealth(n *Node) *health { return &health{Server: grpchealth.NewServer(), node: n} }

func (h *health) register(registrar grpc.ServiceRegistrar) { pb.RegisterHealthServer(registrar, h) }

// Check answers for the moment.
func (h *health) Check(ctx context.Context, request *pb.HealthCheckRequest) (*pb.HealthCheckResponse, error) {
	h.refresh()
	return h.Server.Check(ctx, request)
}

// List answers for the moment.
func (h *health) List(ctx context.Context, request *pb.HealthListRequest) (*pb.HealthListResponse, error) {
	h.refresh()
	return h.Server.List(ctx, request)
}

// run keeps the watchers up to date until the node stops.
func (h *health) run() {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.refresh()
		case <-h.node.stopping:
			return
		}
	}
}

// refresh looks at every replica.
func (h *health) refresh() {
	taking := !h.node.draining.Load()
	overall := taking
	for group, replica := range *h.node.replicas.Load() {
		status := replica.Replicator.Status()
		h.SetServingStatus(HealthService(group), serving(taking && status.Leading && status.Failure == nil))
		overall = overall && status.Failure == nil
	}
	h.SetServingStatus("", serving(overall))
}

func serving(is bool) pb.HealthCheckResponse_ServingStatus {
	if is {
		return pb.HealthCheckResponse_SERVING
	}
	return pb.HealthCheckResponse_NOT_SERVING
}
