package core

import "slices"

// claimAheadMax is how many views ahead a replica follows on the word of one member.
const claimAheadMax = 1000

// viewChanging is the state of a view change under way.
type viewChanging struct {
	// startViewChangeFrom are the members that are in this view change, this replica included.
	startViewChangeFrom map[ReplicaID]bool
	// doViewChanges are what the new primary has gathered: one for each replica, its own included.
	doViewChanges []Message
	patience
}

// withinReach reports whether a member's word is enough to go to the view that a message names. A view far ahead
// needs f+1 members that name it or one above it, so that one broken replica cannot use up the view-numbers. While
// f are down there may be no such f+1. So a replica that has no primary to lose goes towards such a view, so many
// views at a time, and where it comes near whoever is in the view answers it.
func (r *Replica) withinReach(m *Message) bool {
	switch m.Kind {
	case KindPrepare, KindCommit, KindStartViewChange, KindDoViewChange, KindStartView, KindRecovery:
	default:
		return true // they take nobody to another view
	}
	if m.View <= r.view+claimAheadMax {
		return true
	}
	r.claims[m.From] = max(r.claims[m.From], m.View)
	voices := 0
	for _, member := range r.others {
		if r.claims[member] >= m.View {
			voices++
		}
	}
	if voices >= r.quorum {
		return true
	}
	if r.lost() {
		r.becomeViewChange(r.view + claimAheadMax)
	}
	return false
}

// becomeViewChange enters a view change (VRR 4.2, step 1). The log is frozen from here on, until the replica
// knows the new view's.
func (r *Replica) becomeViewChange(view ViewNumber) {
	r.stopLeading()
	r.status = StatusViewChange
	r.view = view
	r.transfer, r.probe = nil, nil
	r.viewChange = &viewChanging{startViewChangeFrom: map[ReplicaID]bool{r.config.Self: true}}
	r.attempts++
	r.drawTimeout()
	r.broadcast(Message{Kind: KindStartViewChange})
	r.doViewChange()
}

// tickViewChange sends again what may have been lost.
func (r *Replica) tickViewChange() {
	c := r.viewChange
	if c == nil || r.status != StatusViewChange || !c.due(r.config.ResendTicks) {
		return
	}
	r.broadcast(Message{Kind: KindStartViewChange})
	r.doViewChange()
}

// onStartViewChange joins a later view change, and counts those who are in this one (VRR 4.2, step 2).
func (r *Replica) onStartViewChange(m *Message) {
	switch {
	case m.View > r.view:
		r.becomeViewChange(m.View)
	case m.View < r.view || r.status == StatusNormal:
		// The sender missed how its view change ended, or that there was a later one.
		r.tellAgain(m.From, r.commit)
		return
	}
	if r.viewChange.startViewChangeFrom[m.From] {
		return
	}
	r.viewChange.startViewChangeFrom[m.From] = true
	if len(r.viewChange.startViewChangeFrom) == r.quorum {
		r.doViewChange()
	}
}

// doViewChange tells the new primary what this replica has, once f others are in the view change too. The
// suffix is the newest part that fits into a message; what is missing below it the primary asks for.
func (r *Replica) doViewChange() {
	if len(r.viewChange.startViewChangeFrom) < r.quorum {
		return
	}
	entries := r.log.tail(r.commit+1, r.config.BatchEntriesMax, r.config.BatchBytesMax)
	last := r.log.last()
	hash, _ := r.log.hashAt(last)
	m := Message{
		Kind: KindDoViewChange, LastNormalView: r.lastNormalView, Op: last, Hash: hash, Commit: r.commit, Entries: entries,
		First: last + 1 - OpNumber(len(entries)),
	}
	m.PreviousHash, _ = r.log.hashAt(m.First - 1)
	if primary := r.primaryOf(r.view); primary != r.config.Self {
		r.send(primary, m)
		return
	}
	m.From, m.To, m.View = r.config.Self, r.config.Self, r.view
	r.recordDoViewChange(&m)
}

// renewDoViewChange takes back what this replica said of its log, and says it anew.
func (r *Replica) renewDoViewChange() {
	c := r.viewChange
	c.doViewChanges = slices.DeleteFunc(c.doViewChanges, func(m Message) bool { return m.From == r.config.Self })
	r.doViewChange()
}

// onDoViewChange gathers what the others have (VRR 4.2, step 3).
func (r *Replica) onDoViewChange(m *Message) {
	if m.View > r.view {
		r.becomeViewChange(m.View)
	}
	switch {
	case m.View < r.view:
		return
	case r.status != StatusViewChange:
		r.tellAgain(m.From, m.Commit)
		return
	}
	// Who sends a DOVIEWCHANGE has sent a STARTVIEWCHANGE before.
	if !r.viewChange.startViewChangeFrom[m.From] {
		r.viewChange.startViewChangeFrom[m.From] = true
		r.doViewChange()
	}
	if r.status == StatusViewChange && r.view == m.View {
		r.recordDoViewChange(m)
	}
}

// recordDoViewChange counts one DOVIEWCHANGE for each replica; the log of its sender is frozen, so that a
// second one says the same.
func (r *Replica) recordDoViewChange(m *Message) {
	c := r.viewChange
	if t := r.transfer; t != nil && (t.kind == gather || t.view > r.view) {
		return // the choice is made, or a later view has begun
	}
	known := false
	for i := range c.doViewChanges {
		known = known || c.doViewChanges[i].From == m.From
	}
	if !known || r.config.Omit.Has(RuleOneDoViewChange) {
		c.doViewChanges = append(c.doViewChanges, *m)
	}
	own := false
	for i := range c.doViewChanges {
		own = own || c.doViewChanges[i].From == r.config.Self
	}
	if len(c.doViewChanges) >= r.quorum && own {
		r.chooseLog()
	}
}

// chooseLog takes the log with the largest last-normal view, and among those the longest: it has everything
// that was committed in any earlier view. What of it is not in the message is asked for before the view starts.
func (r *Replica) chooseLog() {
	best := &r.viewChange.doViewChanges[0]
	for i := range r.viewChange.doViewChanges {
		m := &r.viewChange.doViewChanges[i]
		r.commitMax = max(r.commitMax, m.Commit)
		if r.betterLog(m, best) {
			best = m
		}
	}
	if r.contradicts(best) {
		return
	}
	if hash, ok := r.log.hashAt(best.Op); ok && hash == best.Hash {
		r.replaceAbove(best.Op, nil) // the same log up to there
	} else if !r.join(best) {
		r.gather(best)
		return
	}
	r.startView()
}

func (r *Replica) betterLog(a, b *Message) bool {
	if a.LastNormalView != b.LastNormalView && !r.config.Omit.Has(RuleLogChoice) {
		return a.LastNormalView > b.LastNormalView
	}
	if a.Op != b.Op {
		return a.Op > b.Op
	}
	return a.From == r.config.Self // it costs nothing
}

// startView begins the view with the log as it stands now (VRR 4.2, steps 3 and 4).
func (r *Replica) startView() {
	if r.failure != nil {
		return
	}
	least := r.commit
	for i := range r.viewChange.doViewChanges {
		least = min(least, r.viewChange.doViewChanges[i].Commit)
	}
	r.becomePrimary()
	p := r.primary
	r.advanceCommit(r.commitMax)
	if r.primary != p {
		return // the epoch is over
	}
	for _, to := range r.others {
		r.sendStartView(to, least)
	}
}

// tellAgain sends STARTVIEW again to a backup that does not know of it. Each next one waits longer: it is much to send for
// each of the messages that a backup behind a slow link repeats while one is on its way.
func (r *Replica) tellAgain(to ReplicaID, above OpNumber) {
	if r.primary == nil || r.primary.deaf {
		return
	}
	b := r.primary.backup(to)
	if b.told >= r.config.ResendTicks<<resendDoublingsMax {
		b.toldAgain = 0 // that was long ago
	}
	if b.toldAgain > 0 && b.told < r.config.ResendTicks<<(b.toldAgain-1) {
		return
	}
	b.told, b.toldAgain = 0, min(b.toldAgain+1, resendDoublingsMax)
	r.sendStartView(to, above)
}

// sendStartView sends the log's end, from what the receiver is likely to have.
func (r *Replica) sendStartView(to ReplicaID, above OpNumber) {
	entries := r.log.tail(above+1, r.config.BatchEntriesMax, r.config.BatchBytesMax)
	last := r.log.last()
	m := Message{
		Kind: KindStartView, Op: last, Commit: r.commit, Entries: entries, First: last + 1 - OpNumber(len(entries)),
	}
	m.Hash, _ = r.log.hashAt(last)
	m.PreviousHash, _ = r.log.hashAt(m.First - 1)
	r.send(to, m)
}

// onStartView takes over the new view's log (VRR 4.2, step 5), once: a late copy would remove what was
// acknowledged since. When the suffix does not link to this log, the replica keeps log and promise and asks.
func (r *Replica) onStartView(m *Message) {
	again := m.View == r.view && r.status == StatusNormal && r.primary == nil && r.config.Omit.Has(RuleStartViewOnce)
	if m.View < r.view || m.View == r.view && r.status != StatusViewChange && !again {
		return
	}
	if r.contradicts(m) {
		return
	}
	r.abdicate()
	if hash, ok := r.log.hashAt(m.Op); ok && hash == m.Hash {
		r.replaceAbove(m.Op, nil)
	} else if !r.join(m) {
		r.adopt(m.View, m.From)
		return
	}
	if r.failure != nil {
		return
	}
	r.commitMax = max(r.commitMax, m.Commit)
	r.takePart(m.View)
}

// join puts a message's suffix in the place of this log's, if the two logs are the same just below it, and
// reports whether they are. What is at or below commit is the same in every log that is ever chosen.
func (r *Replica) join(m *Message) bool {
	if len(m.Entries) == 0 && m.Op != m.First-1 || len(m.Entries) > 0 && m.Entries[len(m.Entries)-1].Op != m.Op {
		return false
	}
	below := m.First - 1
	entries, previous := m.Entries, m.PreviousHash
	if below < r.log.base.Op {
		// The suffix starts below what this replica retains.
		skip := r.log.base.Op - below
		if skip > OpNumber(len(entries)) {
			return false
		}
		below, previous, entries = r.log.base.Op, entries[skip-1].Hash, entries[skip:]
	}
	if hash, ok := r.log.hashAt(below); !ok || hash != previous && !r.config.Omit.Has(RuleLink) {
		return false
	}
	r.replaceAbove(below, entries)
	return true
}

// contradicts reports whether the log in a DOVIEWCHANGE or STARTVIEW differs from this one where this one is
// committed. No later view's log does, so that its view is over, or an invariant is broken.
func (r *Replica) contradicts(m *Message) bool {
	if m.Op < r.commit {
		r.contradiction(r.commit, 0, m.View)
		return true
	}
	differs := func(op OpNumber, hash Hash) bool {
		own, ok := r.log.hashAt(op)
		if !ok || op > r.commit || own == hash {
			return false
		}
		r.contradiction(op, hash, m.View)
		return true
	}
	if differs(m.Op, m.Hash) || differs(m.First-1, m.PreviousHash) {
		return true
	}
	for i := range m.Entries {
		if differs(m.Entries[i].Op, m.Entries[i].Hash) {
			return true
		}
	}
	return false
}

// contradiction stops the replica, which has met another operation in the place of one that it takes for
// committed, or none (hash 0); unless it learnt of that one by a checkpoint. A checkpoint may be of a later
// view than this replica is in, and what belongs to the views between may well differ: they are over.
func (r *Replica) contradiction(op OpNumber, hash Hash, view ViewNumber) {
	if op > r.fetched {
		own, _ := r.log.hashAt(op)
		r.fail("op-number %d has hash %x here and %x in view %d; committed up to %d", op, own, hash, view, r.commit)
	}
}

// replaceAbove makes entries the log above an op-number, and keeps what is the same.
func (r *Replica) replaceAbove(below OpNumber, entries []Entry) {
	same := 0
	for same < len(entries) {
		hash, ok := r.log.hashAt(entries[same].Op)
		if !ok || hash != entries[same].Hash {
			break
		}
		same++
	}
	keep := below + OpNumber(same)
	if keep < r.log.last() {
		if keep < r.commit {
			r.fail("op-numbers above %d are committed up to %d, and would be replaced", keep, r.commit)
			return
		}
		r.log.truncateAbove(keep)
	}
	r.log.append(entries[same:]...)
}
