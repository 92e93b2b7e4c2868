package history

import (
	"slices"

	"github.com/viewline/viewline/txn"
)

// standing is where an attempt stands by what is remembered of its transaction.
type standing uint8

const (
	// unknown: nothing is decided about this attempt; it may be the first one heard of.
	unknown standing = iota
	// prepared: it is on the line.
	prepared
	// committed, aborted: as recorded.
	committed
	aborted
	// superseded: a higher attempt is known, and it is not on the line: it never prepares.
	superseded
	// shut: a fence closed the transaction against it.
	shut
	// otherCommitted: another attempt has committed, so this one never prepares.
	otherCommitted
)

// standingOf looks an attempt up by id and number. known is nil when nothing is remembered of its
// transaction.
func standingOf(known *memory, attempt txn.Attempt) standing {
	switch {
	case known == nil:
		return unknown
	case known.prepared != nil && known.prepared.txn.Number == attempt.Number:
		return prepared
	case known.number == attempt.Number && known.committed():
		return committed
	case known.number == attempt.Number && known.number != 0:
		return aborted
	case known.committed():
		return otherCommitted
	case attempt.Number < known.highest():
		return superseded
	case known.closed:
		return shut
	default:
		return unknown
	}
}

// forgotten reports whether nothing can be said about an attempt that is unknown: at or below the record
// horizon it may have been decided either way. Above, it was never prepared here.
func (s *State) forgotten(attempt txn.Attempt) bool {
	return attempt.TS <= s.decisions.horizon && !s.omits(RuleForgotten)
}

// recorded answers with what the log has decided about an attempt that is not unknown.
func (s *State) recorded(known *memory, where standing, attempt txn.Attempt) txn.Verdict {
	switch where {
	case prepared:
		m := known.prepared
		v := s.verdict(txn.StatusPrepared, txn.ReasonNone, m.txn.Attempt, m.op)
		v.Participants = m.txn.Participants
		return v
	case committed:
		v := s.verdict(txn.StatusCommitted, txn.ReasonNone, known.attempt(attempt.ID), known.op)
		v.Participants = s.participantsOf(known)
		return v
	case aborted:
		v := s.verdict(txn.StatusAborted, known.reason, attempt, known.op)
		v.Participants = known.participants
		return v
	case shut:
		return s.verdict(txn.StatusAborted, txn.Fenced, attempt, known.latestOp())
	default:
		return s.verdict(txn.StatusAborted, txn.Superseded, attempt, known.latestOp())
	}
}

// latestOp is the op-number of the youngest thing known, for answers that rest on all of it.
func (m *memory) latestOp() txn.OpNumber {
	if m.prepared == nil {
		return m.op
	}
	return max(m.op, m.prepared.op)
}

// participantsOf returns a committed attempt's participants.
func (s *State) participantsOf(known *memory) []txn.ShardID {
	if len(known.participants) > 0 {
		return known.participants
	}
	return []txn.ShardID{s.options.Shard}
}

// abbreviate leaves out a list of participants that says no more than that this shard is the only one.
func abbreviate(participants []txn.ShardID) []txn.ShardID {
	if len(participants) <= 1 {
		return nil
	}
	return participants
}

// wellFormed reports whether an attempt can exist at all.
func wellFormed(attempt txn.Attempt) bool {
	return attempt.Number != 0 && attempt.TS != 0 && attempt.ID.Home != 0
}

// wellFormedTxn reports whether a transaction is what txn.Transaction promises, as far as rules rely on it.
func (s *State) wellFormedTxn(t *txn.Transaction) bool {
	if t == nil || !wellFormed(t.Attempt) || len(t.Reads) > txn.KeysMax || len(t.Writes) > txn.KeysMax ||
		len(t.Participants) > txn.ParticipantsMax {
		return false
	}
	for i := range t.Participants {
		if t.Participants[i] == 0 || i > 0 && t.Participants[i-1] >= t.Participants[i] {
			return false
		}
	}
	if !contains(t.Participants, s.options.Shard) || !contains(t.Participants, t.ID.Home) {
		return false
	}
	for i := range t.Reads {
		if txn.CheckOID(t.Reads[i].OID) != nil || i > 0 && t.Reads[i-1].OID >= t.Reads[i].OID {
			return false
		}
	}
	for i := range t.Writes {
		w := &t.Writes[i]
		if txn.CheckOID(w.OID) != nil || txn.CheckValue(w.Value) != nil || i > 0 && t.Writes[i-1].OID >= w.OID {
			return false
		}
		if w.Kind != txn.Put && w.Kind != txn.Delete {
			return false
		}
	}
	return true
}

func contains(ascending []txn.ShardID, shard txn.ShardID) bool {
	_, found := slices.BinarySearch(ascending, shard)
	return found
}
