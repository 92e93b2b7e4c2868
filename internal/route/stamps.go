package route

import (
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// timestampsKind asks for exactly as many timestamps as wait for one.
func timestampsKind() sharedKind {
	return sharedKind{
		request: func(count int) *pb.Request {
			return &pb.Request{Body: &pb.Request_Timestamps{Timestamps: &pb.TimestampsRequest{Count: uint32(count)}}}
		},
		read: (*Router).readTimestamps,
	}
}

// readTimestamps checks that these timestamps can be what was asked for. One request is under way at a time, so
// each answer lies above the last; what came too late is not looked at.
func (r *Router) readTimestamps(response *pb.Response, count int) (uint64, error) {
	body := response.GetTimestamps()
	first, last := body.GetFirst(), body.GetFirst()+uint64(count)-1
	switch {
	case first == 0 || body.GetCount() != uint32(count) || last < first:
		return 0, malformed("asked for %d timestamps and got %d from %d on", count, body.GetCount(), first)
	case first <= r.lastSeen.Load():
		return 0, malformed("timestamp %d is not above %d, which was handed out before", first, r.lastSeen.Load())
	}
	r.lastSeen.Store(last)
	r.raise(txn.Timestamp(last))
	return first, nil
}

func boundKind() sharedKind {
	return sharedKind{
		request: func(int) *pb.Request {
			return &pb.Request{Body: &pb.Request_Bound{Bound: &pb.BoundRequest{}}}
		},
		read: func(r *Router, response *pb.Response, _ int) (uint64, error) {
			if response.GetBound() == nil {
				return 0, malformed("asked for the bound and got another answer")
			}
			bound := response.GetBound().GetBound()
			r.raise(txn.Timestamp(bound))
			return bound, nil
		},
	}
}
