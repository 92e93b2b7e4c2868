package core

import "fmt"

// Propose takes operations as the primary of that view and returns the op-number of the first. Errors are
// ErrNotPrimary, ErrOverloaded and ErrStopped: none of the operations was taken. (VRR 4.1, steps 2 and 3.)
func (r *Replica) Propose(view ViewNumber, payloads [][]byte) (OpNumber, error) {
	if r.failure != nil {
		return 0, ErrStopped
	}
	if !r.leadsView(view) {
		return 0, fmt.Errorf("%w: view %d, primary %d", ErrNotPrimary, r.view, r.primaryOf(r.view))
	}
	if r.sealed() {
		return 0, fmt.Errorf("%w: view %d is being handed over", ErrNotPrimary, r.view)
	}
	if r.endsEpoch() && !r.config.Omit.Has(RuleReconfigurationIsLast) {
		return 0, fmt.Errorf("%w: epoch %d is about to end", ErrNotPrimary, r.membership.Epoch)
	}
	if err := r.checkRoom(); err != nil {
		return 0, err
	}
	size := 0
	for _, payload := range payloads {
		size += len(payload)
	}
	if waiting := r.primary.bytes; waiting > 0 && waiting+size > r.config.ProposalsBytesMax {
		return 0, fmt.Errorf("%w: %d bytes are proposed and not committed", ErrOverloaded, waiting)
	}
	first := r.log.last() + 1
	previous, _ := r.log.hashAt(first - 1)
	for i, payload := range payloads {
		e := Chained(previous, first+OpNumber(i), r.view, payload)
		r.log.append(e)
		previous = e.Hash
	}
	r.primary.bytes += size
	return first, nil
}

// onPrepare appends what the primary proposes (VRR 4.1, step 4). A gap is not acknowledged: it is filled by a
// state transfer within the view.
func (r *Replica) onPrepare(m *Message) {
	if r.config.Omit.Has(RulePrepareView) && m.View > r.view && r.status == StatusNormal && m.First == r.log.last()+1 {
		r.appendUnlinked(m)
		return
	}
	if !r.heardPrimary(m) {
		return
	}
	r.commitMax = max(r.commitMax, m.Commit)
	last := r.log.last()
	if m.First > last+1 {
		if r.config.Omit.Has(RuleNoGap) {
			r.send(m.From, Message{Kind: KindPrepareOK, Op: m.First + OpNumber(len(m.Entries)) - 1})
		}
		r.catchUp()
		return
	}
	if !r.appendLinked(m.First, m.PreviousHash, m.Entries) {
		return
	}
	if r.config.Omit.Has(RuleEpochIsCommitted) && r.endsEpoch() {
		r.commitMax = r.log.last()
	}
	r.advanceCommit(r.commitMax)
	r.acknowledge()
}

// appendUnlinked is what RulePrepareView keeps from happening.
func (r *Replica) appendUnlinked(m *Message) {
	previous, _ := r.log.hashAt(r.log.last())
	for _, e := range m.Entries {
		e.Hash = chain(previous, e.Op, e.View, e.Kind, e.Payload)
		r.log.append(e)
		previous = e.Hash
	}
	r.view, r.lastNormalView = m.View, m.View
	r.acknowledge()
}

// appendLinked appends the part of a suffix that is not here yet, within the view that the replica is normal
// in. Both logs have grown from the same one, so that a difference is a broken invariant, but for what came by
// a checkpoint.
func (r *Replica) appendLinked(first OpNumber, previous Hash, entries []Entry) bool {
	if hash, ok := r.log.hashAt(first - 1); ok && hash != previous {
		r.contradiction(first-1, previous, r.view)
		return false
	}
	for i := range entries {
		op := entries[i].Op
		if op > r.log.last() {
			r.log.append(entries[i:]...)
			break
		}
		if hash, ok := r.log.hashAt(op); ok && hash != entries[i].Hash {
			r.contradiction(op, entries[i].Hash, r.view)
			return false
		}
	}
	return true
}

// acknowledge tells the primary how far this log goes. The message waits until all of it is durable. What was just
// committed may have ended the epoch, and this replica's part as a backup with it.
func (r *Replica) acknowledge() {
	if r.status != StatusNormal || r.primary != nil {
		return
	}
	r.send(r.primaryOf(r.view), Message{Kind: KindPrepareOK, Op: r.log.last(), Kept: r.stateAt()})
}

// onCommit is the primary's sign of life and commit-number (VRR 4.1, step 7), and the question of a round.
func (r *Replica) onCommit(m *Message) {
	if !r.heardPrimary(m) {
		return
	}
	// The answer acknowledges the log too: the PREPAREOK may have been lost, and nothing else would repeat it.
	r.send(m.From, Message{
		Kind: KindCommitOK, Round: m.Round, Op: r.log.last(), Kept: r.stateAt(), Lease: r.grant(m), Stamp: r.commonStamp(), Clock: r.config.Clock,
	})
	r.takeEcho(m)
	r.floor = max(r.floor, min(m.Kept, m.Commit))
	r.commitMax = max(r.commitMax, m.Commit)
	r.advanceCommit(r.commitMax)
	if r.commitMax > r.log.last() {
		r.catchUp()
	}
}

// heardPrimary takes note of a PREPARE or COMMIT and reports whether it is of the view that this replica is a
// normal backup in. One of a later view starts a state transfer (VRR 5.2).
func (r *Replica) heardPrimary(m *Message) bool {
	if m.View < r.view {
		return false
	}
	if m.View > r.view || r.status != StatusNormal {
		r.elapsed = 0 // there is a primary, whatever this replica still lacks
		r.adopt(m.View, m.From)
		return false
	}
	r.elapsed = 0
	r.attempts = 0
	r.probe = nil
	return true
}

// advanceCommit commits up to an op-number, as far as the log goes.
func (r *Replica) advanceCommit(to OpNumber) {
	to = min(to, r.log.last())
	if to <= r.commit {
		return
	}
	if p := r.primary; p != nil {
		for op := r.commit + 1; op <= to; op++ {
			p.bytes -= len(r.log.at(op).Payload)
		}
	}
	from := r.commit + 1
	r.commit = to
	r.commitMax = max(r.commitMax, to)
	r.skipApplying()
	r.endEpoch(from)
	r.settleReconfiguration()
}
