package history

import (
	"bytes"
	"cmp"

	"github.com/tidwall/btree"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// memory is what a shard remembers of one transaction. It is never changed once it is in a table: a change
// replaces it. There may be millions of them, so it repeats neither the id nor what a single participant
// knows anyway.
//
// Invariant: an attempt is decided, or one is prepared. With a committed one nothing is prepared.
type memory struct {
	number       uint32        // of the highest decided attempt; 0 when there is none
	ts           txn.Timestamp // of that attempt, as all down to ended
	status       txn.Status    // Committed or Aborted
	reason       txn.Reason
	op           txn.OpNumber
	participants []txn.ShardID // nil: not known, or this shard alone
	ended        bool          // every participant has applied the commit
	closed       bool          // no later attempt may prepare
	// prepared is the attempt on the line, or nil. It may be below a decided one, if a fence of a later
	// attempt came in between; its own fate is still open.
	prepared *member
}

func (m *memory) committed() bool { return m.status == txn.StatusCommitted }

// attempt returns the decided attempt.
func (m *memory) attempt(id txn.TxnID) txn.Attempt {
	return txn.Attempt{ID: id, Number: m.number, TS: m.ts}
}

// forgetDecision leaves what is prepared and whether the id is closed.
func (m *memory) forgetDecision() { *m = memory{closed: m.closed, prepared: m.prepared} }

// outlivesHorizon reports whether the decision has to be kept although it is below the record horizon.
func (m *memory) outlivesHorizon(omitted omit.Set) bool {
	return m.committed() && len(m.participants) > 1 && !m.ended && !omitted.Has(RuleCommitUntilEnd)
}

// highest returns the number of the highest attempt known.
func (m *memory) highest() uint32 {
	if m.prepared == nil {
		return m.number
	}
	return max(m.number, m.prepared.txn.Number)
}

// memoryOf is a memory under its id.
type memoryOf struct {
	id txn.TxnID
	*memory
}

// decidedAt places a decided transaction in the order of timestamps.
type decidedAt struct {
	ts txn.Timestamp
	id txn.TxnID
}

// decisionTable is everything that is remembered of transactions.
//
// Invariant: byTS holds exactly the decisions above horizon, unended the commits of several participants
// without END.
type decisionTable struct {
	byID    *btree.BTreeG[memoryOf]
	byTS    *btree.BTreeG[decidedAt]
	unended *btree.BTreeG[decidedAt]
	horizon txn.Timestamp // the record horizon
	omit    omit.Set
}

func newDecisionTable(omitted omit.Set) decisionTable {
	return decisionTable{
		byID: newTree(memoryLess), byTS: newTree(decidedLess), unended: newTree(decidedLess), omit: omitted,
	}
}

func memoryLess(a, b memoryOf) bool { return compareIDs(&a.id, &b.id) < 0 }

func decidedLess(a, b decidedAt) bool {
	if a.ts != b.ts {
		return a.ts < b.ts
	}
	return compareIDs(&a.id, &b.id) < 0
}

// compareIDs is txn.TxnID.Compare for the inner loop of every look-up.
func compareIDs(a, b *txn.TxnID) int {
	if c := bytes.Compare(a.Clerk[:], b.Clerk[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Home, b.Home))
}

// get returns what is remembered of a transaction, or nil.
func (d *decisionTable) get(id txn.TxnID) *memory {
	found, _ := d.byID.Get(memoryOf{id: id})
	return found.memory
}

// set replaces what is remembered of a transaction. A decision that need not be kept is dropped at once, and
// with nothing prepared so is the rest.
func (d *decisionTable) set(id txn.TxnID, next memory) {
	if next.ts <= d.horizon && !next.outlivesHorizon(d.omit) {
		next.forgetDecision()
	}
	if next.number == 0 && next.prepared == nil {
		previous, _ := d.byID.Delete(memoryOf{id: id})
		d.unindex(id, previous.memory)
		return
	}
	previous, _ := d.byID.Set(memoryOf{id: id, memory: &next})
	d.unindex(id, previous.memory)
	d.index(id, &next)
}

func (d *decisionTable) index(id txn.TxnID, m *memory) {
	if m.number == 0 {
		return
	}
	place := decidedAt{ts: m.ts, id: id}
	if place.ts > d.horizon {
		d.byTS.Set(place)
	}
	if m.outlivesHorizon(d.omit) {
		d.unended.Set(place)
	}
}

func (d *decisionTable) unindex(id txn.TxnID, m *memory) {
	if m == nil || m.number == 0 {
		return
	}
	place := decidedAt{ts: m.ts, id: id}
	if place.ts > d.horizon {
		d.byTS.Delete(place)
	}
	if m.outlivesHorizon(d.omit) {
		d.unended.Delete(place)
	}
}

// raise moves the record horizon up and forgets what it passes.
func (d *decisionTable) raise(horizon txn.Timestamp) {
	d.horizon = max(d.horizon, horizon)
	for {
		first, ok := d.byTS.Min()
		if !ok || first.ts > d.horizon {
			return
		}
		d.byTS.PopMin()
		d.set(first.id, *d.get(first.id))
	}
}

// committedAt returns the attempt that committed at ts, if it is still remembered.
func (d *decisionTable) committedAt(ts txn.Timestamp) (txn.Attempt, bool) {
	var found txn.Attempt
	d.byTS.Ascend(decidedAt{ts: ts}, func(place decidedAt) bool {
		if place.ts == ts {
			if m := d.get(place.id); m.committed() {
				found = m.attempt(place.id)
			}
		}
		return place.ts == ts && found.Number == 0
	})
	return found, found.Number != 0
}
