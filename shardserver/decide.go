package shardserver

import (
	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// commitTxn, abortTxn, fence and endTxn go through the log, whatever this replica's state says of the
// transaction: they are decided where they are applied. They depend on no Lead, so they are served as soon as
// the replica leads. The log remembers an AbortTxn or a Fence of a transaction that it does not know until the
// record horizon passes the timestamp, so that must not come from nowhere.

func (s *Server) commitTxn(c *call, attempt *pb.Attempt) {
	if _, err := wire.ParseAttempt(attempt); err != nil {
		c.failArgument(err)
		return
	}
	s.log(c, commitOperation(attempt), c.answerResult)
}

func (s *Server) abortTxn(c *call, message *pb.Attempt) {
	attempt, err := wire.ParseAttempt(message)
	if err != nil {
		c.failArgument(err)
		return
	}
	s.bounds.check(c, attempt.TS, func() { s.log(c, abortOperation(message), c.answerResult) })
}

func (s *Server) fence(c *call, request *pb.FenceRequest) {
	attempt, err := wire.ParseAttempt(request.GetAttempt())
	if err != nil {
		c.failArgument(err)
		return
	}
	s.bounds.check(c, attempt.TS, func() { s.log(c, fenceOperation(request), c.answerResult) })
}

func (s *Server) endTxn(c *call, request *pb.EndTxnRequest) {
	if _, err := parseIDs(request.GetIds()); err != nil {
		c.failArgument(err)
		return
	}
	s.log(c, endOperation(request), func([]byte) {
		c.answer(&pb.Response{Body: &pb.Response_EndTxn{EndTxn: &pb.EndTxnResponse{}}})
	})
}

// log proposes an operation that needs no pre-validation and hands its result on.
func (s *Server) log(c *call, operation *pb.ShardOperation, finish func(result []byte)) {
	encoded, err := encodeOperation(operation)
	if err != nil {
		c.fail(pb.Code_CODE_INVALID_ARGUMENT, "%v", err)
		return
	}
	s.mu.Lock()
	view, leads, replicator := s.view, s.leads, s.replicator
	s.mu.Unlock()
	if !leads {
		c.failNotServing()
		return
	}
	replicator.Submit(view, encoded, func(result replication.Result) {
		if result.Err != nil {
			c.failReplication(result.Err)
			return
		}
		finish(result.Value)
	})
}

// answerResult answers with the verdict in an operation's result.
func (c *call) answerResult(encoded []byte) {
	result, err := decodeResult(encoded)
	if err != nil || result.GetVerdict() == nil {
		c.fail(pb.Code_CODE_INTERNAL, "the result of an operation makes no sense: %v", err)
		return
	}
	c.answerVerdict(result.GetVerdict())
}
