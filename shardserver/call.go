package shardserver

import (
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// call is one request on its way through the server. It is answered exactly once.
type call struct {
	server *Server
	// deadline is when the caller gives up; zero: never.
	deadline time.Time
	bytes    int64
	respond  func(*pb.Response)
}

// callBytes is what a request costs besides what its caller chose, entryBytes what each of its entries does.
const (
	callBytes  = 512
	entryBytes = 64
)

// requestBytes is about the memory that a request keeps until it is answered.
func requestBytes(request *pb.Request) int64 {
	size, oids := callBytes, [][]byte(nil)
	transaction := (*pb.Transaction)(nil)
	switch body := request.GetBody().(type) {
	case *pb.Request_Read:
		oids = body.Read.GetOids()
	case *pb.Request_Snapshot:
		oids = body.Snapshot.GetOids()
	case *pb.Request_PrepareTxn:
		transaction = body.PrepareTxn.GetTransaction()
	case *pb.Request_CommitOnePhase:
		transaction = body.CommitOnePhase.GetTransaction()
	case *pb.Request_EndTxn:
		size += entryBytes * len(body.EndTxn.GetIds())
	}
	for _, oid := range oids {
		size += entryBytes + len(oid)
	}
	for _, read := range transaction.GetReads() {
		size += entryBytes + len(read.GetOid())
	}
	for _, write := range transaction.GetWrites() {
		size += entryBytes + len(write.GetOid()) + len(write.GetValue())
	}
	return int64(size)
}

// enter counts a request in, unless too much is under way.
func (s *Server) enter(request *pb.Request, deadline time.Time, respond func(*pb.Response)) (*call, bool) {
	c := &call{server: s, deadline: deadline, respond: respond, bytes: requestBytes(request)}
	if s.underWay.Add(c.bytes) > s.options.UnderWayBytesMax {
		s.counts.overloaded.Add(1)
		c.fail(pb.Code_CODE_OVERLOADED, "more than %d bytes of requests are under way", s.options.UnderWayBytesMax)
		return nil, false
	}
	return c, true
}

func (c *call) answer(response *pb.Response) {
	c.server.underWay.Add(-c.bytes)
	c.respond(response)
}

func (c *call) answerError(message *pb.Error) {
	c.answer(&pb.Response{Body: &pb.Response_Error{Error: message}})
}

func (c *call) fail(code pb.Code, format string, arguments ...any) {
	c.answerError(&pb.Error{Code: code, Message: fmt.Sprintf(format, arguments...)})
}

func (c *call) answerVerdict(verdict *pb.Verdict) {
	c.answer(&pb.Response{Body: &pb.Response_Verdict{Verdict: verdict}})
}

// failArgument refuses a request that breaks a limit or makes no sense.
func (c *call) failArgument(err error) {
	var limit *txn.LimitError
	if errors.As(err, &limit) {
		c.answerError(&pb.Error{
			Code: pb.Code_CODE_LIMIT, Message: err.Error(), LimitName: limit.Name, Limit: limit.Limit, Actual: limit.Actual,
		})
		return
	}
	c.fail(pb.Code_CODE_INVALID_ARGUMENT, "%v", err)
}

// failNotServing refuses a request for which this replica would have to be the serving primary.
func (c *call) failNotServing() { c.answerError(c.server.notServing()) }

// notServing says who may be asked instead. It must not be called with mu held, since the Replicator may take
// its own locks.
func (s *Server) notServing() *pb.Error {
	s.mu.Lock()
	replicator, closed := s.replicator, s.closed
	s.mu.Unlock()
	if replicator == nil || closed {
		return &pb.Error{Code: pb.Code_CODE_UNAVAILABLE, Message: "the replica does not serve"}
	}
	status := replicator.Status()
	message := &pb.Error{View: uint64(status.View), Epoch: status.Epoch}
	if status.Primary == s.options.Replica {
		message.Code = pb.Code_CODE_UNAVAILABLE
		message.Message = fmt.Sprintf("the primary of view %d of shard %d does not serve yet", status.View, s.options.Shard)
		return message
	}
	message.Code = pb.Code_CODE_NOT_PRIMARY
	message.PrimaryAddress = s.options.AddressOf(status.Primary)
	message.Message = fmt.Sprintf("replica %d is not the primary of view %d of shard %d", s.options.Replica, status.View, s.options.Shard)
	return message
}

// failReplication answers what an error of Submit or ReadBarrier means to the caller.
func (c *call) failReplication(err error) {
	switch {
	case !replication.DidNotHappen(err):
		c.fail(pb.Code_CODE_OUTCOME_UNKNOWN, "%v", err)
	case errors.Is(err, replication.ErrOverloaded):
		c.server.counts.overloaded.Add(1)
		c.fail(pb.Code_CODE_OVERLOADED, "%v", err)
	case errors.Is(err, replication.ErrTooLarge):
		c.fail(pb.Code_CODE_LIMIT, "%v", err)
	default:
		c.failNotServing()
	}
}

// expired refuses a request whose caller has given up already.
func (c *call) expired(now time.Time) bool {
	if c.deadline.IsZero() || now.Before(c.deadline) {
		return false
	}
	c.server.counts.deadlines.Add(1)
	c.fail(pb.Code_CODE_DEADLINE, "the request's time is used up")
	return true
}

// parseOIDs reads the objects of a read: one to 10,000, in any order.
func parseOIDs(messages [][]byte) ([]string, error) {
	if len(messages) == 0 {
		return nil, fmt.Errorf("%w: a read names no object", wire.ErrMalformed)
	}
	if len(messages) > txn.KeysMax {
		return nil, &txn.LimitError{Name: "keys of a read", Limit: txn.KeysMax, Actual: uint64(len(messages))}
	}
	oids := make([]string, len(messages))
	for i, message := range messages {
		oids[i] = string(message)
		if err := txn.CheckOID(oids[i]); err != nil {
			return nil, err
		}
	}
	return oids, nil
}
