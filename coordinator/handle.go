package coordinator

import (
	"errors"
	"slices"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// Handle serves one request. It never blocks; respond is called exactly once, from any goroutine, possibly
// before Handle returns, and must not block. A zero deadline means that the caller waits for ever.
func (s *Server) Handle(request *pb.Request, deadline time.Time, respond func(*pb.Response)) {
	s.counts.requests.Add(1)
	switch body := request.GetBody().(type) {
	case *pb.Request_Timestamps:
		s.timestamps(body.Timestamps.GetCount(), deadline, respond)
	case *pb.Request_Bound:
		s.enqueue(&waiter{deadline: deadline, respond: respond})
	case *pb.Request_WhoServes:
		respond(s.whoServes(body.WhoServes.GetOids()))
	case *pb.Request_ReportPrimary:
		s.reportPrimary(body.ReportPrimary, deadline, respond)
	default:
		respond(invalid("the coordinator does not serve requests of this kind"))
	}
}

func (s *Server) timestamps(count uint32, deadline time.Time, respond func(*pb.Response)) {
	switch {
	case count == 0:
		respond(invalid("a request for no timestamp"))
	case count > txn.TimestampsMax:
		respond(limited(&txn.LimitError{Name: "most timestamps in a request", Limit: txn.TimestampsMax, Actual: uint64(count)}))
	default:
		s.enqueue(&waiter{count: count, deadline: deadline, respond: respond})
	}
}

// whoServes answers from what this replica knows: like every map it is advice, so it needs no round.
func (s *Server) whoServes(oids [][]byte) *pb.Response {
	if err := checkOIDs(oids); err != nil {
		return limited(err)
	}
	s.mu.Lock()
	current := s.state.Map()
	if s.lead == nil || current == nil {
		s.mu.Unlock()
		return s.refusal(notServing)
	}
	defer s.mu.Unlock()
	answer := &pb.WhoServesResponse{MapVersion: current.Version, Shards: make([]uint32, len(oids))}
	var named []uint32
	for i, oid := range oids {
		answer.Shards[i] = current.Locate(string(oid))
		if at, found := slices.BinarySearch(named, answer.Shards[i]); !found {
			named = slices.Insert(named, at, answer.Shards[i])
		}
	}
	for _, shard := range named {
		answer.Groups = append(answer.Groups, groupMessage(current.Group(shard)))
		if primary, known := s.primaries.Of(shard); known {
			answer.Primaries = append(answer.Primaries, primaryMessage(primary))
		}
	}
	return &pb.Response{Body: &pb.Response_WhoServes{WhoServes: answer}}
}

func checkOIDs(oids [][]byte) *txn.LimitError {
	if len(oids) > txn.WhoServesOIDsMax {
		return &txn.LimitError{Name: "most oids in a question who serves them", Limit: txn.WhoServesOIDsMax, Actual: uint64(len(oids))}
	}
	for _, oid := range oids {
		var limit *txn.LimitError
		if errors.As(txn.CheckOID(string(oid)), &limit) {
			return limit
		}
	}
	return nil
}
