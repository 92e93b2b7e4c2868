package core

import (
	"errors"
	"fmt"
	"slices"
)

// setMembership makes a membership the one that this replica goes by.
func (r *Replica) setMembership(m Membership) {
	r.membership, r.record = m, m.Encode()
	r.config.Members = m.IDs()
	r.quorum = m.quorum()
	r.others = slices.DeleteFunc(m.IDs(), func(id ReplicaID) bool { return id == r.config.Self })
	r.member = r.belongs(&m)
	r.keepInReach()
	r.recontact = true
	r.setActive(&m)
}

// Membership is that of the epoch which this replica is in, or of the last that it knows.
func (r *Replica) Membership() Membership { return r.membership }

// endEpoch looks for a RECONFIGURATION in what has just become committed, of which the last one counts, and enters
// the epoch that it begins (VRR 7.1). Every way in which a commit-number rises comes by here.
func (r *Replica) endEpoch(from OpNumber) {
	for op := r.commit; op >= from && op > r.log.base.Op; op-- {
		if r.log.at(op).Kind != EntryReconfiguration {
			continue
		}
		m, err := begunBy(r.log.at(op))
		switch {
		case op <= r.membership.Op: // it is in that epoch, or a later one, and had lost its log
		case err != nil || m.Epoch <= r.membership.Epoch:
			r.fail("op-number %d is a RECONFIGURATION into epoch %d in epoch %d: %v", op, m.Epoch, r.membership.Epoch, err)
		case r.log.last() > op && !r.config.Omit.Has(RuleReconfigurationIsLast):
			r.fail("epoch %d ends at op-number %d, and the log goes on to %d", r.membership.Epoch, op, r.log.last())
		default:
			r.enterEpoch(m)
		}
		return
	}
}

// enterEpoch begins an epoch, in the first view of its own, with everything before it (VRR 7.1). It is on the disk
// before any message of it leaves. The views of the epoch before do not matter any more: those above the
// RECONFIGURATION's inherited it, and nothing was ever proposed behind it.
func (r *Replica) enterEpoch(m Membership) {
	if p := r.primary; p != nil && !p.deaf && m.Op == r.log.last() {
		// Its backups need not wait for a time-out to learn that their epoch is over.
		r.broadcast(Message{Kind: KindCommit, Op: m.Op, Commit: r.commit, Round: p.round})
	}
	r.leaveEpoch()
	r.setMembership(m)
	r.entered = &r.membership
	if r.heard.Epoch <= m.Epoch {
		r.heard = Membership{}
	}
	r.view, r.lastNormalView, r.attempts = m.View, m.View, 0
	r.commitMax = r.commit
	r.takeRole()
	r.tellLearners()
	r.settleReconfiguration()
}

// leaveEpoch ends all that goes on in an epoch.
func (r *Replica) leaveEpoch() {
	r.stopLeading()
	if r.handover != nil {
		r.endHandover(HandoverOvertaken)
	}
	r.viewChange, r.transfer, r.probe, r.recovery, r.learning, r.leaving = nil, nil, nil, nil, nil, nil
	r.claims, r.spared = map[ReplicaID]ViewNumber{}, 0
	r.leaveLeases()
}

// takeRole begins what this replica is in an epoch that it has just entered: a member, one to be, or one no more.
func (r *Replica) takeRole() {
	switch {
	case r.joins():
		r.becomeTransitioning()
	case r.outlived(&r.membership):
		r.status = StatusLeft
	case !r.member:
		r.becomeLeaving()
	case r.primaryOf(r.view) == r.config.Self && r.log.last() == r.membership.Op:
		r.becomePrimary()
		r.sayStarted()
	case r.primaryOf(r.view) == r.config.Self:
		// The epoch has gone on without its first primary: its first view is over.
		r.becomeViewChange(r.view + 1)
		r.sayStarted()
	default:
		r.enterNormal(r.view)
		r.acknowledge()
		r.sayStarted()
	}
}

// tellLearners tells those of the epoch who go on learning: whoever they were told to ask may be a member no more.
func (r *Replica) tellLearners() {
	for i := range r.learners {
		if r.membership.Has(r.learners[i].id) {
			continue
		}
		r.send(r.learners[i].id, Message{Kind: KindStartEpoch, Membership: r.record})
	}
}

// sayStarted tells those who are members no more that they have one less to wait for (VRR 7.1).
func (r *Replica) sayStarted() {
	for _, id := range r.membership.Previous {
		if !r.membership.Has(id) {
			r.send(id, Message{Kind: KindEpochStarted})
		}
	}
}

// leaving is what a replica keeps that is a member no more, until f'+1 of the new members have said that they have
// begun (VRR 7.1): somebody may still need what only this one has.
type leaving struct {
	started map[ReplicaID]bool
	resend  int
}

func (r *Replica) becomeLeaving() {
	r.status = StatusLeaving
	r.leaving = &leaving{started: map[ReplicaID]bool{}}
	if r.config.Omit.Has(RuleOldMembersStay) {
		r.status, r.leaving = StatusLeft, nil
		return
	}
	r.tellMembers()
}

func (r *Replica) tellMembers() {
	r.leaving.resend = 0
	for _, id := range r.others {
		if !r.leaving.started[id] {
			r.send(id, Message{Kind: KindStartEpoch, Membership: r.record})
		}
	}
}

func (r *Replica) tickLeaving() {
	if l := r.leaving; l != nil {
		if l.resend++; l.resend >= r.config.ResendTicks {
			r.tellMembers()
		}
	}
}

// stepEpoch handles the messages that cross epochs.
func (r *Replica) stepEpoch(m *Message) {
	switch m.Kind {
	case KindStartEpoch:
		r.onStartEpoch(m)
	case KindEpochStarted:
		r.onEpochStarted(m)
	case KindGetCommitted:
		r.onGetCommitted(m)
	case KindNewCommitted:
		r.onNewCommitted(m)
	default:
	}
}

// otherEpoch takes what comes from another epoch than this replica's, and counts it for nothing: a replica of an
// earlier one is told of this one, and one of a later one is asked (VRR 7.1).
func (r *Replica) otherEpoch(m *Message) {
	if m.Epoch < r.membership.Epoch {
		r.tellEpoch(m.From)
	} else if r.mayTell(m.From) {
		r.send(m.From, r.introduced(Message{Kind: KindGetCommitted}))
	}
}

// mayTell bounds what is said to whoever is in another epoch: once to each in ResendTicks, and to so many.
func (r *Replica) mayTell(to ReplicaID) bool {
	if slices.Contains(r.told, to) || len(r.told) >= 2*MembersMax {
		return false
	}
	r.told = append(r.told, to)
	return true
}

// tellEpoch tells a replica of the newest epoch that this one knows.
func (r *Replica) tellEpoch(to ReplicaID) {
	if !r.mayTell(to) {
		return
	}
	record := r.record
	if r.heard.Epoch > r.membership.Epoch {
		record = r.heard.Encode()
	}
	r.send(to, Message{Kind: KindStartEpoch, Membership: record})
}

// onStartEpoch hears that an epoch has begun, which the old group has committed. A log that has its beginning is
// committed up to there; any other is fetched (VRR 7.1).
func (r *Replica) onStartEpoch(m *Message) {
	told, _ := m.Membership.Decode()
	switch {
	case told.Epoch < r.membership.Epoch:
		r.tellEpoch(m.From)
		return
	case told.Epoch == r.membership.Epoch:
		r.keepInReach()
		// One that recovers had begun, and has lost what whoever asks may have.
		if r.member && r.status != StatusRecovering {
			r.send(m.From, Message{Kind: KindEpochStarted})
		}
		return
	case told.Epoch <= r.heard.Epoch:
		return
	}
	if r.outlived(&told) {
		r.becomeOutlived(told)
		return
	}
	if r.status == StatusLeaving || r.status == StatusLeft {
		r.becomeLeft() // a later epoch comes of one that has begun
		return
	}
	r.heard, r.recontact = told, true
	if hash, ok := r.log.hashAt(told.Op); ok && hash == told.Hash {
		r.advanceCommit(told.Op)
		return
	}
	if r.learning != nil && r.status == StatusTransitioning && !r.fetching {
		r.learning.from = m.From // it may be the new epoch's first primary, and everybody waits for it
		r.relearn()
		return
	}
	r.learnFrom(m.From)
}

// onEpochStarted counts the members that have begun.
func (r *Replica) onEpochStarted(m *Message) {
	l := r.leaving
	switch {
	case l == nil || m.Epoch < r.membership.Epoch:
		return
	case m.Epoch == r.membership.Epoch:
		if member, found := r.membership.Member(m.From); found && member.Incarnation == m.Incarnation {
			l.started[m.From] = true
		}
	case m.Epoch > r.membership.Epoch:
		r.becomeLeft()
		return
	}
	if r.begun(l.started) {
		r.becomeLeft()
	}
}

func (r *Replica) becomeLeft() { r.status, r.leaving, r.learning = StatusLeft, nil, nil }

// checkEpoch is check for the messages that cross epochs. Whoever sends one need not be a member of this epoch.
func (r *Replica) checkEpoch(m *Message) error {
	switch {
	case m.From == r.config.Self || m.From == 0:
		return fmt.Errorf("%w: from replica %d", ErrRefused, m.From)
	case m.Epoch > viewMax || m.View > viewMax:
		return fmt.Errorf("%w: epoch %d, view %d", ErrRefused, m.Epoch, m.View)
	case m.Kind != KindNewCommitted && len(m.Entries) > 0:
		return fmt.Errorf("%w: %v with entries", ErrRefused, m.Kind)
	}
	if m.Kind == KindStartEpoch {
		if told, err := m.Membership.Decode(); err != nil || told.Epoch == 0 {
			return fmt.Errorf("%w: STARTEPOCH of epoch %d: %w", ErrRefused, told.Epoch, orNone(err))
		}
	}
	return checkEntries(m)
}

var errNone = errors.New("the first epoch begins by itself")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
