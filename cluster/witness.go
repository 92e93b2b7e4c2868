package cluster

import (
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// activeMax is how many replicas with a state there are at most in a group with a witness.
const activeMax = 3

// validateWitness refuses what Viewstamped Replication cannot have (vr.Options.Witness).
func validateWitness(group string, members []Member) error {
	witnesses := 0
	for _, member := range members {
		if member.Witness {
			witnesses++
		}
	}
	switch active := len(members) - witnesses; {
	case witnesses > 1:
		return fmt.Errorf("%w: %s has %d witnesses, at most one can be had", ErrConfig, group, witnesses)
	case witnesses == 1 && (active == 0 || active > activeMax):
		return fmt.Errorf("%w: %s has a witness and %d other replicas, need 1 to %d beside it", ErrConfig, group, active, activeMax)
	}
	return nil
}

// witnessOf is the witness among members, or 0.
func witnessOf(members []Member) uint32 {
	for _, member := range members {
		if member.Witness {
			return member.Replica
		}
	}
	return 0
}

// witness is the witness that the replica has to be told of: the one that the group began with, or itself.
func (c *NodeConfig) witness() uint32 {
	switch {
	case !c.Joining:
		return witnessOf(c.Members)
	case c.Witness:
		return c.Replica
	default:
		return 0
	}
}

func (c *NodeConfig) isWitness() bool { return c.witness() == c.Replica }

// witness stands where a replica with a state has its server: it sends everybody on to the primary.
type witness struct {
	pb.UnimplementedMapServiceServer
	cluster    [16]byte
	replicator atomic.Pointer[replication.Replicator] // nil before Attach
}

var _ server = (*witness)(nil)

func (n *RunningNode) newWitness(id [16]byte) *witness {
	w := &witness{cluster: id}
	if n.config.Group == CoordinatorGroup {
		pb.RegisterMapServiceServer(n.node.Registrar(), w)
	}
	return w
}

// Attach gives the witness its replica.
func (w *witness) Attach(replicator replication.Replicator) { w.replicator.Store(&replicator) }

// Handle refuses a request: certainly nothing happened. The node adds where the primary is.
func (w *witness) Handle(_ *pb.Request, _ time.Time, respond func(*pb.Response)) {
	refusal := &pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, Message: "a witness has no state and serves nobody"}
	if replicator := w.replicator.Load(); replicator != nil {
		status := (*replicator).Status()
		refusal.View, refusal.Epoch = uint64(status.View), status.Epoch
	}
	respond(&pb.Response{Body: &pb.Response_Error{Error: refusal}})
}

// Describe has nothing to add: there is no state.
func (w *witness) Describe(*pb.ReplicaStatus, bool) {}

// WatchMap sends a watcher to another replica of the coordinator: this one has no map.
func (w *witness) WatchMap(request *pb.WatchMapRequest, _ grpc.ServerStreamingServer[pb.WatchMapResponse]) error {
	if asked := request.GetCluster(); len(asked) > 0 && string(asked) != string(w.cluster[:]) {
		return status.Errorf(codes.FailedPrecondition, "this is cluster %x, not %x", w.cluster, asked)
	}
	return status.Error(codes.Unavailable, "this replica of the coordinator is a witness and has no map: ask another")
}

// Close has nothing to end.
func (w *witness) Close() error { return nil }
