package history

import (
	"slices"

	"github.com/viewline/viewline/txn"
)

// prepare is PrepareTxn and CommitOnePhase. Its order is the argument: what is known is answered first, for
// an answer has no effect; then the Lead decides whether this copy may have one; then an older attempt goes,
// of whose death this one is the proof; only then do the rules look at the attempt itself.
func (s *State) prepare(op txn.OpNumber, lead uint64, t *txn.Transaction, onePhase bool) txn.Verdict {
	if !s.wellFormedTxn(t) || onePhase && !t.OnePhase() {
		s.invariantBreaks++
		return s.refuse(txn.Invariant, attemptOf(t))
	}
	known := s.decisions.get(t.ID)
	if verdict, answered := s.known(known, t); answered {
		switch verdict.Reason {
		case txn.Invariant:
			s.invariantBreaks++
		case txn.Forgotten:
			verdict.Op = op
		default:
		}
		return verdict
	}
	if lead != s.leadNumber && !s.omits(RuleLead) {
		return s.refuse(txn.OtherLead, t.Attempt)
	}
	if !s.room(known) || !onePhase && s.lineIsFull(known) {
		return s.refuse(txn.Limit, t.Attempt)
	}
	if known != nil && known.prepared != nil && !s.omits(RuleTakeOffOlder) {
		known = s.takeOff(t.ID, known)
	}
	found := s.unserved(t)
	if found.reason == txn.ReasonNone {
		found = s.validate(t, nil)
	}
	if found.reason != txn.ReasonNone {
		return s.reject(op, known, t, found)
	}
	if known != nil && known.prepared != nil {
		s.takeOff(t.ID, known)
	}
	if onePhase {
		s.install(op, t)
		return s.verdict(txn.StatusCommitted, txn.ReasonNone, t.Attempt, op)
	}
	m := &member{txn: t, op: op}
	s.line.add(m)
	s.remember(t.ID, memory{prepared: m})
	return s.verdict(txn.StatusPrepared, txn.ReasonNone, t.Attempt, op)
}

func attemptOf(t *txn.Transaction) txn.Attempt {
	if t == nil {
		return txn.Attempt{}
	}
	return t.Attempt
}

// known answers an attempt about which something is decided already, the same in Apply and at the front. It
// reports false when the attempt has to be looked at.
func (s *State) known(known *memory, t *txn.Transaction) (txn.Verdict, bool) {
	where := standingOf(known, t.Attempt)
	switch where {
	case unknown:
		return s.verdict(txn.StatusForgotten, txn.Forgotten, t.Attempt, 0), s.forgotten(t.Attempt)
	case prepared, committed:
		verdict := s.recorded(known, where, t.Attempt)
		if verdict.Attempt.TS != t.TS {
			return s.refuse(txn.Invariant, t.Attempt), true
		}
		verdict.Participants = nil
		return verdict, !s.omits(RuleKnownAnswer)
	case otherCommitted:
		if t.Number > known.number {
			return s.refuse(txn.Invariant, t.Attempt), !s.omits(RuleOneCommit)
		}
	case superseded:
		if s.omits(RuleSuperseded) {
			return txn.Verdict{}, false
		}
	case aborted, shut:
	}
	verdict := s.recorded(known, where, t.Attempt)
	verdict.Participants = nil
	return verdict, true
}

// room makes sure that one more transaction can be remembered: it raises the record horizon as little as that
// takes, as far as it may rise. It reports false when there is no room and none can be made.
func (s *State) room(known *memory) bool {
	if known != nil {
		return true
	}
	for s.decisions.byID.Len() >= s.options.DecisionsMax {
		oldest, ok := s.decisions.byTS.Min()
		if !ok || oldest.ts > s.recordsBelow() {
			return false
		}
		s.changed = true
		s.decisions.raise(oldest.ts)
	}
	return true
}

// lineIsFull reports whether nothing more may prepare. An older attempt of the same transaction makes room
// for itself.
func (s *State) lineIsFull(known *memory) bool {
	return s.line.len() >= s.options.PreparedMax && (known == nil || known.prepared == nil)
}

// unserved finds the keys whose slots this shard does not serve.
func (s *State) unserved(t *txn.Transaction) obstacle {
	if s.omits(RuleOwnSlots) {
		return obstacle{}
	}
	var oids []string
	for i := range t.Reads {
		if !s.Owns(t.Reads[i].OID) {
			oids = append(oids, t.Reads[i].OID)
		}
	}
	for i := range t.Writes {
		if !s.Owns(t.Writes[i].OID) {
			oids = append(oids, t.Writes[i].OID)
		}
	}
	if len(oids) == 0 {
		return obstacle{}
	}
	slices.Sort(oids)
	return obstacle{reason: txn.WrongShard, oids: slices.Compact(oids)}
}

// reject records that the attempt can never prepare here, and says why.
func (s *State) reject(op txn.OpNumber, known *memory, t *txn.Transaction, found obstacle) txn.Verdict {
	next := memory{
		number: t.Number, ts: t.TS, status: txn.StatusAborted, reason: found.reason, op: op,
		participants: abbreviate(t.Participants),
	}
	if known != nil {
		next.prepared = known.prepared
	}
	s.remember(t.ID, next)
	verdict := s.verdict(txn.StatusAborted, found.reason, t.Attempt, op)
	verdict.OIDs, verdict.Other = found.oids, found.other
	return verdict
}

// takeOff removes the prepared attempt of a transaction from the line and returns what is known then; nil if
// nothing is.
func (s *State) takeOff(id txn.TxnID, known *memory) *memory {
	next := *known
	s.line.remove(known.prepared)
	if s.front != nil {
		s.departed = append(s.departed, known.prepared.txn.Attempt)
	}
	next.prepared = nil
	s.remember(id, next)
	return s.decisions.get(id)
}

// install makes a transaction's writes versions at its timestamp, remembers its reads in the read stamps and
// the commit itself in its record.
func (s *State) install(op txn.OpNumber, t *txn.Transaction) {
	for i := range t.Writes {
		w := &t.Writes[i]
		s.versions.install(w.OID, t.TS, &write{installed: op, kind: w.Kind, value: w.Value})
	}
	if !s.omits(RuleStampsRaisedAtCommit) {
		for i := range t.Reads {
			s.readStamps.raise(t.Reads[i].OID, t.TS)
		}
	}
	if s.omits(RuleRememberCommit) {
		s.changed = true
		s.decisions.set(t.ID, memory{})
		return
	}
	s.remember(t.ID, memory{
		number: t.Number, ts: t.TS, status: txn.StatusCommitted, op: op, participants: abbreviate(t.Participants),
	})
}
