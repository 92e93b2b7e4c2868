package shardserver

import (
	"slices"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// preparing is a PrepareTxn or CommitOnePhase on its way.
type preparing struct {
	server   *Server
	call     *call
	message  *pb.Transaction
	txn      *txn.Transaction
	onePhase bool
	lead     *lead // under which it was admitted
}

// prepare serves a PrepareTxn, or a CommitOnePhase, whose only participant this shard must be.
func (s *Server) prepare(c *call, message *pb.Transaction, onePhase bool) {
	transaction, err := wire.ParseTransaction(message)
	switch {
	case err != nil:
		c.failArgument(err)
		return
	case !slices.Contains(transaction.Participants, s.options.Shard):
		c.fail(pb.Code_CODE_INVALID_ARGUMENT, "shard %d takes no part in transaction %v", s.options.Shard, transaction.Attempt)
		return
	case onePhase && !transaction.OnePhase():
		c.fail(pb.Code_CODE_INVALID_ARGUMENT, "transaction %v has %d participants and cannot commit in one phase",
			transaction.Attempt, len(transaction.Participants))
		return
	}
	p := &preparing{server: s, call: c, message: message, txn: transaction, onePhase: onePhase}
	s.bounds.check(c, transaction.TS, p.admit)
}

// admit pre-validates the transaction and proposes it if it passes. From the moment it passes it is in the
// in-flight list, which is what makes it safe that the proposal comes after the critical section.
func (p *preparing) admit() {
	s := p.server
	s.mu.Lock()
	lead, serving := s.serving()
	mapVersion, owned := s.state.Owned()
	if !serving || !owned {
		s.mu.Unlock()
		p.refuse(serving)
		return
	}
	verdict, admitted := s.front.Admit(p.txn, p.onePhase)
	replicator := s.replicator
	s.mu.Unlock()
	p.lead = lead
	switch {
	case admitted:
		p.propose(replicator)
	case verdict.Status == txn.StatusRefused && verdict.Reason == txn.WrongShard && len(verdict.OIDs) > 0:
		p.call.failWrongShard(verdict.OIDs[0], mapVersion)
	default:
		s.counts.refused(verdict)
		p.call.answerVerdict(wire.Verdict(verdict))
	}
}

func (p *preparing) refuse(serving bool) {
	if !serving {
		p.call.failNotServing()
		return
	}
	p.call.fail(pb.Code_CODE_UNAVAILABLE, "shard %d has not been given its slots yet", p.server.options.Shard)
}

func (p *preparing) propose(replicator replication.Replicator) {
	operation := prepareOperation(p.lead.number, p.message)
	if p.onePhase {
		operation = onePhaseOperation(p.lead.number, p.message)
	}
	encoded, err := encodeOperation(operation)
	if err != nil {
		p.leave()
		p.call.fail(pb.Code_CODE_INVALID_ARGUMENT, "%v", err)
		return
	}
	replicator.Submit(p.lead.view, encoded, p.finish)
}

// finish takes what became of the proposal. A copy whose fate is unknown stays in the in-flight list: it may
// still be applied under this Lead, so the Lead must end before anything is read past it.
func (p *preparing) finish(result replication.Result) {
	switch {
	case result.Err == nil:
		p.leave()
		p.call.answerResult(result.Value)
	case replication.DidNotHappen(result.Err):
		p.leave()
		p.call.failReplication(result.Err)
	default:
		p.server.loseLead(p.lead)
		p.call.failReplication(result.Err)
	}
}

// leave takes the copy off the in-flight list and releases those who waited for it.
func (p *preparing) leave() {
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.front.Leave(p.lead.number, p.txn.Attempt)
	s.release()
}
