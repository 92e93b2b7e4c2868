package core

import "slices"

// learning is how a replica gets what is committed that it cannot get as a member: it is none yet, or an epoch has
// begun that it has only heard of. What is committed is the same in every epoch, so that anybody may answer.
type learning struct {
	from ReplicaID
	question
	// One who is a member of an earlier epoch keeps its log until all of the new epoch's beginning is here, since it may
	// still be needed in its own: the buffer begins above below, and ends at the beginning of the epoch heard of.
	below  OpNumber
	buffer []Entry
}

// learner is what a member knows of a replica that is to become one.
type learner struct {
	id          ReplicaID
	incarnation uint64
	witness     bool
	kept        OpNumber // where its log begins
	op          OpNumber // how far what it knows to be committed goes
	quiet       int
}

// becomeTransitioning begins to learn, to become a member. It takes part in nothing until then.
func (r *Replica) becomeTransitioning() {
	r.status = StatusTransitioning
	teachers := r.others
	if len(teachers) == 0 {
		teachers = r.teachers()
	}
	if len(teachers) > 0 {
		r.learnFrom(teachers[r.config.Rand()%uint64(len(teachers))])
	}
}

// behind reports whether the beginning of an epoch is missing here that this replica is to enter, or that it leaves to
// others and has lost.
func (r *Replica) behind() bool {
	switch r.status {
	case StatusTransitioning, StatusLeft, StatusStopped:
		return false
	case StatusLeaving:
		return r.commit < r.membership.Op
	default:
		return r.heard.Epoch > r.membership.Epoch
	}
}

// beginning is the end of the log that is wanted by one who is behind.
func (r *Replica) beginning() *Membership {
	if r.heard.Epoch > r.membership.Epoch && r.status != StatusLeaving {
		return &r.heard
	}
	return &r.membership
}

// teachers are those who may be asked: the members of the newest epoch that is known, and those before them.
func (r *Replica) teachers() []ReplicaID {
	newest := r.beginning()
	ids := append(append(newest.IDs(), newest.Previous...), r.others...)
	slices.Sort(ids)
	self := func(id ReplicaID) bool { return id == r.config.Self }
	if ids = slices.DeleteFunc(slices.Compact(ids), self); len(ids) > 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(r.advised), self) // its own earlier life is the only member that it knows
}

// learnFrom begins to ask, if it has not begun yet.
func (r *Replica) learnFrom(from ReplicaID) {
	if r.learning == nil {
		r.learning = &learning{from: from}
		r.relearn()
	}
}

// relearn asks from this replica's own state.
func (r *Replica) relearn() {
	r.learning.below, r.learning.buffer = r.commit, nil
	r.askCommitted()
}

// askCommitted asks one for what is missing. Who is to become a member tells all others how far it is.
func (r *Replica) askCommitted() {
	l := r.learning
	if r.fetching {
		return
	}
	first := r.commit + 1
	if r.behind() {
		first = l.below + OpNumber(len(l.buffer)) + 1
	}
	l.ask(first, r.config.Rand)
	r.send(l.from, r.introduced(Message{Kind: KindGetCommitted, First: first, Nonce: l.nonce}))
	if r.status == StatusTransitioning {
		r.tellTeachers(l.from)
	}
}

// introduced completes a GETCOMMITTED with what its sender is. Of one that is to become a member what is above the
// commit-number does not count: an earlier life may have left it, of no branch that lives.
func (r *Replica) introduced(m Message) Message {
	if m.Op = r.log.last(); r.status == StatusTransitioning {
		m.Op, m.Kept, m.Agree = r.commit, r.log.base.Op, r.config.Witness
	}
	return m
}

// tellTeachers tells all but one how far this replica is that is to become a member: often enough to be one that is heard.
func (r *Replica) tellTeachers(but ReplicaID) {
	for _, id := range r.teachers() {
		if id != but {
			r.send(id, r.introduced(Message{Kind: KindGetCommitted}))
		}
	}
}

// tickLearning asks the next one when an answer does not come, and for what is new.
func (r *Replica) tickLearning() {
	for i := range r.learners {
		r.learners[i].quiet++
	}
	r.learners = slices.DeleteFunc(r.learners, func(l learner) bool { return l.quiet >= r.config.ViewChangeTicksMax })
	if r.toldTicks++; r.toldTicks >= r.config.ResendTicks {
		r.toldTicks, r.told = 0, nil
	}
	l := r.learning
	if l == nil && r.behind() {
		r.learnFrom(r.teachers()[0])
		return
	}
	if l == nil || r.fetching {
		return
	}
	if !l.due(r.config.ResendTicks) {
		if r.status == StatusTransitioning && l.ticks%r.config.ResendTicks == 0 {
			r.tellTeachers(0)
		}
		return
	}
	teachers := r.teachers()
	at := slices.Index(teachers, l.from)
	l.from = teachers[(at+1)%len(teachers)]
	if len(l.buffer) == 0 {
		r.relearn()
		return
	}
	r.askCommitted()
}

// onGetCommitted tells what is committed, and nothing else. First is 0 where nothing is asked for; a replica of an
// earlier epoch that asks for nothing wants to know of this one.
func (r *Replica) onGetCommitted(m *Message) {
	r.noteLearner(m)
	if m.First == 0 {
		if m.Epoch < r.membership.Epoch && r.mayTell(m.From) {
			r.send(m.From, Message{Kind: KindStartEpoch, Membership: r.record})
		}
		return
	}
	if r.status == StatusRecovering || r.status == StatusTransitioning {
		return
	}
	last := r.commit
	if r.config.Omit.Has(RuleLearnCommitted) {
		last = r.log.last()
	}
	answer := Message{Kind: KindNewCommitted, Nonce: m.Nonce, Commit: last, First: m.First}
	switch {
	case m.First > last:
	case m.First <= r.log.base.Op:
		given, ok := r.checkpointFor(m)
		if answer.Checkpoint = given; !ok {
			return
		}
	default:
		answer.Entries = r.log.batch(m.First, r.config.BatchEntriesMax, r.config.BatchBytesMax)
		answer.Entries = answer.Entries[:min(OpNumber(len(answer.Entries)), last-m.First+1)]
		answer.PreviousHash, _ = r.log.hashAt(m.First - 1)
	}
	r.send(m.From, answer)
}

// noteLearner remembers how far a replica is that wants to become a member, so many of them at the most.
// Of one id it is the latest life.
func (r *Replica) noteLearner(m *Message) {
	member, found := r.membership.Member(m.From)
	if found && m.Incarnation <= member.Incarnation || !found && m.From <= r.membership.LargestID {
		return
	}
	at := slices.IndexFunc(r.learners, func(l learner) bool { return l.id == m.From })
	if at < 0 {
		if len(r.learners) >= MembersMax {
			return
		}
		at = len(r.learners)
		r.learners = append(r.learners, learner{id: m.From})
	}
	if m.Incarnation >= r.learners[at].incarnation {
		r.learners[at] = learner{id: m.From, incarnation: m.Incarnation, witness: m.Agree, kept: m.Kept, op: m.Op}
	}
}

// onNewCommitted takes the answer to the question that is open.
func (r *Replica) onNewCommitted(m *Message) {
	l := r.learning
	if l == nil || r.fetching || !l.answers(m, r.config.ResendTicks) {
		return
	}
	l.from = m.From
	switch {
	case m.Checkpoint.Op > 0:
		r.fetchCheckpoint(m)
	case len(m.Entries) == 0: // there is nothing new; it is asked again later
	case r.behind():
		r.buffer(m)
	default:
		r.learn(m)
	}
}

// buffer gathers what is committed up to where the epoch begins that was heard of, and enters that epoch with it.
func (r *Replica) buffer(m *Message) {
	l, until := r.learning, r.beginning()
	if m.First != l.below+OpNumber(len(l.buffer))+1 {
		return
	}
	previous, known := r.log.hashAt(l.below)
	if last := len(l.buffer) - 1; last >= 0 {
		previous, known = l.buffer[last].Hash, true
	}
	if known && previous != m.PreviousHash {
		r.contradiction(m.First-1, m.PreviousHash, m.View)
		r.learning = nil
		return
	}
	l.buffer = append(l.buffer, m.Entries...)
	if l.below+OpNumber(len(l.buffer)) < until.Op {
		r.askCommitted()
		return
	}
	entries := l.buffer[:until.Op-l.below]
	if hash := entries[len(entries)-1].Hash; hash != until.Hash {
		r.fail("op-number %d is committed with hash %x, and epoch %d begins there with %x", until.Op, hash, until.Epoch, until.Hash)
		return
	}
	if have := r.commit - l.below; have > 0 {
		// The epoch that this replica is in has committed some of it meanwhile.
		if own, ok := r.log.hashAt(r.commit); ok && own != entries[have-1].Hash {
			r.contradiction(r.commit, entries[have-1].Hash, m.View)
			r.learning = nil
			return
		}
		entries = entries[have:]
	}
	r.takeBeginning(entries, until.Op)
}

// takeBeginning makes entries the log above the commit-number, in one step with the epoch that they lead to.
func (r *Replica) takeBeginning(entries []Entry, last OpNumber) {
	r.abdicate()
	r.replaceAbove(r.commit, entries)
	r.learning = nil
	if r.failure == nil {
		r.advanceCommit(last)
	}
}

// learn takes what is committed as it comes, one epoch after the other: in the first that it is a member of, this
// replica is one like any other, with nothing beyond its beginning.
func (r *Replica) learn(m *Message) {
	if hash, ok := r.log.hashAt(m.First - 1); !ok || hash != m.PreviousHash || m.First > r.commit+1 {
		if ok && m.First-1 <= r.commit && hash != m.PreviousHash {
			r.contradiction(m.First-1, m.PreviousHash, m.View)
		}
		return
	}
	entries := m.Entries
	if end := slices.IndexFunc(entries, func(e Entry) bool { return e.Kind == EntryReconfiguration }); end >= 0 {
		entries = entries[:end+1]
	}
	last := entries[len(entries)-1].Op
	if last <= r.commit {
		return
	}
	r.replaceAbove(r.commit, entries[r.commit+1-m.First:])
	if r.failure != nil {
		return
	}
	before := r.learning
	r.advanceCommit(min(last, m.Commit))
	if r.learning == before && m.Commit > r.commit {
		r.askCommitted()
	}
}
