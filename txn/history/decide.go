package history

import "github.com/viewline/viewline/txn"

// commit is CommitTxn.
func (s *State) commit(op txn.OpNumber, attempt txn.Attempt) txn.Verdict {
	if !wellFormed(attempt) {
		return s.contradiction(attempt)
	}
	known := s.decisions.get(attempt.ID)
	where := standingOf(known, attempt)
	switch where {
	case prepared:
		t := known.prepared.txn
		if t.TS != attempt.TS {
			return s.contradiction(attempt)
		}
		s.takeOff(attempt.ID, known)
		s.install(op, t)
		return s.verdict(txn.StatusCommitted, txn.ReasonNone, attempt, op)
	case committed:
		if known.ts != attempt.TS {
			return s.contradiction(attempt)
		}
		return s.recorded(known, where, attempt)
	case unknown:
		if s.forgotten(attempt) {
			return s.verdict(txn.StatusForgotten, txn.Forgotten, attempt, op)
		}
	case aborted, superseded, shut, otherCommitted:
	}
	return s.contradiction(attempt)
}

// abort is AbortTxn.
func (s *State) abort(op txn.OpNumber, attempt txn.Attempt) txn.Verdict {
	if !wellFormed(attempt) {
		return s.contradiction(attempt)
	}
	known := s.decisions.get(attempt.ID)
	where := standingOf(known, attempt)
	switch where {
	case unknown:
		return s.entomb(op, known, attempt, false)
	case prepared:
		if known.prepared.txn.TS != attempt.TS {
			return s.contradiction(attempt)
		}
		return s.abortPrepared(op, known, attempt)
	case committed:
		return s.contradiction(attempt)
	case aborted, superseded, shut, otherCommitted:
	}
	return s.recorded(known, where, attempt)
}

// abortPrepared takes an attempt off the line and remembers that. If a later attempt is decided already, that
// answers for this one too.
func (s *State) abortPrepared(op txn.OpNumber, known *memory, attempt txn.Attempt) txn.Verdict {
	participants := known.prepared.txn.Participants
	next := *known
	if next.number < attempt.Number {
		next = memory{
			number: attempt.Number, ts: attempt.TS, status: txn.StatusAborted, reason: txn.Fenced, op: op,
			participants: abbreviate(participants), closed: known.closed, prepared: known.prepared,
		}
	}
	s.takeOff(attempt.ID, &next)
	return s.verdict(txn.StatusAborted, txn.Fenced, attempt, op)
}

// entomb makes sure that an attempt of which nothing is known cannot prepare later.
func (s *State) entomb(op txn.OpNumber, known *memory, attempt txn.Attempt, everyLater bool) txn.Verdict {
	if s.forgotten(attempt) {
		return s.verdict(txn.StatusForgotten, txn.Forgotten, attempt, op)
	}
	if !s.room(known) {
		return s.refuse(txn.Limit, attempt)
	}
	if !s.omits(RuleTombstone) {
		next := memory{
			number: attempt.Number, ts: attempt.TS, status: txn.StatusAborted, reason: txn.Fenced, op: op, closed: everyLater,
		}
		if known != nil {
			next.prepared = known.prepared
		}
		s.remember(attempt.ID, next)
	}
	return s.verdict(txn.StatusAborted, txn.Fenced, attempt, op)
}

// fence is Fence.
func (s *State) fence(op txn.OpNumber, o Fence) txn.Verdict {
	if !wellFormed(o.Attempt) {
		return s.contradiction(o.Attempt)
	}
	known := s.decisions.get(o.Attempt.ID)
	everyLater := o.EveryLater && !s.omits(RuleCloseLater)
	if known != nil && everyLater {
		return s.fenceEveryLater(known, o.Attempt)
	}
	if where := standingOf(known, o.Attempt); where != unknown {
		return s.recorded(known, where, o.Attempt)
	}
	return s.entomb(op, known, o.Attempt, everyLater)
}

// fenceEveryLater closes a transaction that is known and answers for the attempt that matters: see Fence.
func (s *State) fenceEveryLater(known *memory, attempt txn.Attempt) txn.Verdict {
	if !known.closed {
		next := *known
		next.closed = true
		s.remember(attempt.ID, next)
		known = &next
	}
	switch {
	case known.committed():
		return s.recorded(known, committed, attempt)
	case known.prepared != nil:
		return s.recorded(known, prepared, attempt)
	case attempt.Number > known.number:
		return s.recorded(known, shut, attempt)
	default:
		return s.recorded(known, aborted, known.attempt(attempt.ID))
	}
}

// end is EndTxn. It lets go of records below the record horizon only: above it, a late copy of a PrepareTxn
// or a question about the outcome may still come.
func (s *State) end(ids []txn.TxnID) {
	for _, id := range ids {
		known := s.decisions.get(id)
		if known == nil || !known.outlivesHorizon(s.options.Omit) {
			continue
		}
		next := *known
		next.ended = true
		if s.omits(RuleEndKeepsCommit) {
			next.forgetDecision()
		}
		s.remember(id, next)
	}
}
