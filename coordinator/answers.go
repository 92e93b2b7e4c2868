package coordinator

import (
	"fmt"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// failure is why a request had no effect, where that does not depend on the request.
type failure uint8

const (
	taken failure = iota
	// notServing: this replica does not serve, or not yet; another one may.
	notServing
	// overloaded: a bound is reached.
	overloaded
	// tooLate: the time that the caller gave is used up.
	tooLate
)

// refusal makes the answer of a failure. The caller does not hold the lock.
func (s *Server) refusal(why failure) *pb.Response {
	switch why {
	case overloaded:
		return errorResponse(&pb.Error{
			Code: pb.Code_CODE_OVERLOADED, Message: fmt.Sprintf("%d requests wait here already", s.options.WaitingMax),
		})
	case tooLate:
		return errorResponse(&pb.Error{Code: pb.Code_CODE_DEADLINE, Message: "the time given was used up"})
	default:
		return s.redirect()
	}
}

// redirect names the primary, if that is another replica than this one.
func (s *Server) redirect() *pb.Response {
	s.mu.Lock()
	replicator := s.replicator
	if s.closed {
		replicator = nil
	}
	s.mu.Unlock()
	unavailable := &pb.Error{Code: pb.Code_CODE_UNAVAILABLE, Message: "no primary of the coordinator serves here yet"}
	if replicator == nil {
		return errorResponse(unavailable)
	}
	status := replicator.Status()
	if status.Primary == 0 || status.Primary == status.Replica {
		unavailable.View, unavailable.Epoch = uint64(status.View), status.Epoch
		return errorResponse(unavailable)
	}
	return errorResponse(s.notPrimary(status))
}

func (s *Server) notPrimary(status replication.Status) *pb.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.Error{
		Code: pb.Code_CODE_NOT_PRIMARY, Message: "not the coordinator's primary", PrimaryAddress: s.address(status.Primary), View: uint64(status.View),
		Epoch: status.Epoch,
	}
}

func errorResponse(e *pb.Error) *pb.Response {
	return &pb.Response{Body: &pb.Response_Error{Error: e}}
}

func invalid(format string, arguments ...any) *pb.Response {
	return errorResponse(&pb.Error{Code: pb.Code_CODE_INVALID_ARGUMENT, Message: fmt.Sprintf(format, arguments...)})
}

func limited(limit *txn.LimitError) *pb.Response {
	return errorResponse(&pb.Error{
		Code: pb.Code_CODE_LIMIT, Message: limit.Error(), LimitName: limit.Name, Limit: limit.Limit, Actual: limit.Actual,
	})
}

func timestampsResponse(first uint64, count uint32) *pb.Response {
	return &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: first, Count: count}}}
}

func boundResponse(bound uint64) *pb.Response {
	return &pb.Response{Body: &pb.Response_Bound{Bound: &pb.BoundResponse{Bound: bound}}}
}
