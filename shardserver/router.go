package shardserver

import (
	"context"
	"time"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// Router is what a Server needs of the cluster around it: the coordinator and the other shards. OverRoute makes
// one. All methods may be called from many goroutines at once.
type Router interface {
	// Timestamp returns a timestamp that the coordinator handed out after the call.
	Timestamp(ctx context.Context) (txn.Timestamp, error)
	// Bound returns a timestamp that bounds all that were handed out until some moment; it never falls.
	Bound() txn.Timestamp
	// RefreshBound raises Bound to at least every timestamp handed out before the call, and returns it.
	RefreshBound(ctx context.Context) (txn.Timestamp, error)
	// SlotsOf returns the slots that the map has for a shard, ascending, and the map's version.
	SlotsOf(shard txn.ShardID) (mapVersion uint64, slots []uint16)
	// ReportPrimary tells the coordinator who is primary of a group, and who its members are in the primary's epoch; nil:
	// they never change. It returns when the map has them.
	ReportPrimary(ctx context.Context, primary route.Primary, members []route.Member) error
	// Send brings a request to the primary of another shard, whoever that is; the request may arrive more than
	// once. It does not block. done is called once, soon after the deadline at the latest, and must not block.
	Send(shard txn.ShardID, request *pb.Request, deadline time.Time, done func(*pb.Response, error))
}

// OverRoute makes a Server's Router of the process's own.
func OverRoute(router *route.Router) Router { return overRoute{router} }

type overRoute struct{ *route.Router }

func (r overRoute) SlotsOf(shard txn.ShardID) (mapVersion uint64, slots []uint16) {
	current := r.Map()
	return current.Version, current.Slots(shard)
}

func (r overRoute) Send(shard txn.ShardID, request *pb.Request, deadline time.Time, done func(*pb.Response, error)) {
	r.Router.Send(route.Call{Group: uint32(shard), Request: request, Deadline: deadline, Resend: true}, done)
}
