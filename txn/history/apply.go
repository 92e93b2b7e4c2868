package history

import (
	"slices"

	"github.com/viewline/viewline/txn"
)

// Apply executes one operation of the log. It is total: an operation that makes no sense has a result that
// says so. Op-numbers ascend. What the operation points to must not be changed afterwards.
func (s *State) Apply(op txn.OpNumber, o Operation) Result {
	s.changed = false
	verdict := s.dispatch(op, o)
	s.applied = op
	if s.front != nil {
		for _, attempt := range s.departed {
			s.front.leftTheLine(attempt)
		}
		s.departed = s.departed[:0]
	}
	return Result{Verdict: verdict, TookEffect: s.changed}
}

func (s *State) dispatch(op txn.OpNumber, o Operation) txn.Verdict {
	switch o := o.(type) {
	case Lead:
		s.lead(o)
	case PrepareTxn:
		return s.prepare(op, o.Lead, o.Txn, false)
	case CommitOnePhase:
		return s.prepare(op, o.Lead, o.Txn, true)
	case CommitTxn:
		return s.commit(op, o.Attempt)
	case AbortTxn:
		return s.abort(op, o.Attempt)
	case Fence:
		return s.fence(op, o)
	case EndTxn:
		s.end(o.IDs)
	case Advance:
		s.advance(o)
	case Own:
		s.own(o)
	default:
		s.invariantBreaks++
	}
	return txn.Verdict{Shard: s.options.Shard, View: s.leadView, Op: op}
}

func (s *State) lead(o Lead) {
	if o.Number != s.leadNumber+1 && !s.omits(RuleLeadSuccession) {
		return
	}
	s.changed = true
	s.leadNumber, s.leadView = o.Number, o.View
	s.floor = max(s.floor, o.Floor)
}

func (s *State) own(o Own) {
	switch {
	case o.Shard != s.options.Shard || !slotsAscend(o.Slots):
		s.invariantBreaks++
	case s.owned && !slices.Equal(s.slots, o.Slots):
		// Another version of the map with the same slots is none: it counts changes of members too, which may come
		// between what two primaries propose.
		s.invariantBreaks++
	case !s.owned:
		s.changed = true
		s.setSlots(o.MapVersion, o.Slots)
	}
}

func slotsAscend(slots []uint16) bool {
	for i, slot := range slots {
		if slot >= txn.SlotCount || i > 0 && slots[i-1] >= slot {
			return false
		}
	}
	return true
}

func (s *State) setSlots(mapVersion uint64, slots []uint16) {
	s.owned, s.mapVersion, s.slots = true, mapVersion, slices.Clone(slots)
	for _, slot := range slots {
		s.served[slot] = true
	}
}

// advance raises threshold and horizons. The threshold may pass a prepared transaction, which stays; the
// version horizon may not, since what it folds could still get a version below.
func (s *State) advance(o Advance) {
	if o.Lead != s.leadNumber && !s.omits(RuleLead) {
		return
	}
	if o.Threshold > s.threshold {
		s.changed, s.threshold = true, o.Threshold
	}
	versions, records := o.VersionHorizon, o.RecordHorizon
	if !s.omits(RuleHorizonsBelowThreshold) {
		versions, records = min(versions, s.threshold), min(records, s.recordsBelow())
	}
	if smallest, held := s.line.smallest(); held && !s.omits(RuleFoldBelowPrepared) {
		versions = min(versions, smallest-1)
	}
	if versions > s.versions.horizon {
		s.changed = true
		s.versions.fold(versions)
	}
	if records > s.decisions.horizon {
		s.changed = true
		s.decisions.raise(records)
	}
}

// recordsBelow is how far the record horizon may rise. An attempt that can still prepare is above the
// threshold, and so the first attempt of its transaction is above this.
func (s *State) recordsBelow() txn.Timestamp {
	if s.options.AttemptSpan == AttemptSpanNone || s.omits(RuleAttemptSpan) {
		return s.threshold
	}
	return s.threshold - min(s.threshold, s.options.AttemptSpan)
}

// verdict starts an answer about an attempt that is a decision of the log, made or recorded at op.
func (s *State) verdict(status txn.Status, reason txn.Reason, attempt txn.Attempt, op txn.OpNumber) txn.Verdict {
	return txn.Verdict{
		Status: status, Reason: reason, Attempt: attempt, Shard: s.options.Shard, View: s.leadView, Op: op,
	}
}

// refuse answers that this copy had no effect.
func (s *State) refuse(reason txn.Reason, attempt txn.Attempt) txn.Verdict {
	return s.verdict(txn.StatusRefused, reason, attempt, 0)
}

// contradiction counts an operation that cannot be if everybody keeps the rules.
func (s *State) contradiction(attempt txn.Attempt) txn.Verdict {
	s.invariantBreaks++
	return s.refuse(txn.Invariant, attempt)
}

// remember replaces what is known of a transaction.
func (s *State) remember(id txn.TxnID, next memory) {
	s.changed = true
	s.decisions.set(id, next)
}
