package shardserver

import (
	"fmt"
	"strconv"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// Handle serves one request. It never blocks; respond is called exactly once, from any goroutine, possibly
// before Handle returns, and must not block. The request must not be changed afterwards. A zero deadline means
// that the caller waits for ever.
func (s *Server) Handle(request *pb.Request, deadline time.Time, respond func(*pb.Response)) {
	c, ok := s.enter(request, deadline, respond)
	if !ok || !deadline.IsZero() && c.expired(time.Now()) {
		return
	}
	switch body := request.GetBody().(type) {
	case *pb.Request_Read:
		s.read(c, body.Read)
	case *pb.Request_Snapshot:
		s.snapshotRead(c, body.Snapshot)
	case *pb.Request_PrepareTxn:
		s.prepare(c, body.PrepareTxn.GetTransaction(), false)
	case *pb.Request_CommitOnePhase:
		s.prepare(c, body.CommitOnePhase.GetTransaction(), true)
	case *pb.Request_CommitTxn:
		s.commitTxn(c, body.CommitTxn.GetAttempt())
	case *pb.Request_AbortTxn:
		s.abortTxn(c, body.AbortTxn.GetAttempt())
	case *pb.Request_Fence:
		s.fence(c, body.Fence)
	case *pb.Request_EndTxn:
		s.endTxn(c, body.EndTxn)
	default:
		c.fail(pb.Code_CODE_INVALID_ARGUMENT, "a shard does not serve requests of this kind")
	}
}

func (s *Server) shardName() string { return strconv.FormatUint(uint64(s.options.Shard), 10) }

// quoted shows the beginning of an oid.
func quoted(oid string) string { return fmt.Sprintf("%.100q", oid) }
