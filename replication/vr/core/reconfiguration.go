package core

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Errors of Reconfigure beside ErrNotPrimary, ErrHandingOver and ErrStopped. All say that the call had no effect.
var (
	// ErrReconfiguring: one reconfiguration at a time.
	ErrReconfiguring = errors.New("vr: a reconfiguration is under way already")
	// ErrMembership: these cannot be the members of the next epoch.
	ErrMembership = errors.New("vr: no members for an epoch")
	// ErrNewcomer: a replica that is to become a member was not heard, or lacks more than one checkpoint, or the life of
	// it that is to end was heard just now.
	ErrNewcomer = errors.New("vr: a newcomer is not ready")
	// ErrQuorum: fewer than a quorum of the members to be are heard and close to the end of the log.
	ErrQuorum = errors.New("vr: the next epoch would have no quorum")
)

// ReconfigurationOutcome is how a reconfiguration ended.
type ReconfigurationOutcome uint8

// The outcomes.
const (
	// ReconfigurationDone: the old group has committed it, and the epoch has begun.
	ReconfigurationDone ReconfigurationOutcome = iota + 1
	// ReconfigurationOvertaken: something else is in its place; it certainly never happens.
	ReconfigurationOvertaken
	// ReconfigurationUnknown: what became of it cannot be told here. The group's members tell.
	ReconfigurationUnknown
)

// String names the outcome.
func (o ReconfigurationOutcome) String() string {
	names := [...]string{"", "done", "overtaken", "unknown"}
	if o >= 1 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Reconfiguration tells how the reconfiguration that Reconfigure began has ended.
type Reconfiguration struct {
	Outcome ReconfigurationOutcome
	Epoch   EpochNumber // that it was to begin
}

// reconfiguring is a RECONFIGURATION that this replica has proposed and whose fate is not told yet.
type reconfiguring struct {
	epoch EpochNumber
	op    OpNumber
	view  ViewNumber
	hash  Hash
}

// MemberReport is what a primary knows of a replica that is a member, is to become one, or is to leave.
type MemberReport struct {
	ID ReplicaID
	// Incarnation is of the life that is described: the one that will be a member, or else that was.
	Incarnation uint64
	// Was and Will say whether it is a member before and after the change. Raised: both, in two lives, of which the later
	// one is a newcomer.
	Was, Will, Raised bool
	// Heard: it was heard within the shortest time-out. Op is how far its log went then.
	Heard bool
	Op    OpNumber
	// Ready: it is heard and has everything up to the primary's newest checkpoint.
	Ready bool
}

// Reconfigure has the primary propose the members of the next epoch, ascending (VRR 7). It returns what it knows of
// each replica that the change is about, with the verdict. A dry run proposes nothing. How a reconfiguration ends that
// was proposed, a Ready tells in Reconfiguration. From here on the primary takes no operations, until the
// RECONFIGURATION is committed and the first primary of the new epoch leads.
func (r *Replica) Reconfigure(members []Member, dryRun bool) ([]MemberReport, error) {
	switch {
	case r.failure != nil:
		return nil, ErrStopped
	case !r.leads:
		return nil, fmt.Errorf("%w: view %d, primary %d", ErrNotPrimary, r.view, r.primaryOf(r.view))
	}
	next := Membership{
		Epoch: r.membership.Epoch + 1, Members: slices.Clone(members), Previous: r.membership.IDs(), LargestID: r.membership.LargestID,
	}
	if err := r.checkNext(&next); err != nil {
		return nil, err
	}
	report := r.reportOn(&next)
	switch {
	case r.handover != nil || r.handedOver != nil:
		return report, ErrHandingOver
	case r.endsEpoch() && !r.config.Omit.Has(RuleOneReconfiguration), r.reconfigured != nil:
		return report, ErrReconfiguring
	}
	if err := r.judge(&next, report); err != nil || dryRun {
		return report, err
	}
	previous, _ := r.log.hashAt(r.log.last())
	e := Entry{Op: r.log.last() + 1, View: r.view, Kind: EntryReconfiguration, Payload: next.payload()}
	e.Hash = chain(previous, e.Op, e.View, e.Kind, e.Payload)
	r.dropLease() // the next epoch is not bound by it
	r.log.append(e)
	r.primary.bytes += len(e.Payload)
	r.reconfiguring = &reconfiguring{epoch: next.Epoch, op: e.Op, view: e.View, hash: e.Hash}
	if r.config.Omit.Has(RuleEpochIsCommitted) {
		r.advanceCommit(e.Op)
	}
	return report, nil
}

// ExpectNext refuses an epoch that is not the one which the next reconfiguration begins: somebody else has changed the
// members since the caller knew them. Only the primary knows which one that is.
func (r *Replica) ExpectNext(epoch EpochNumber) error {
	if r.failure == nil && r.leads && epoch != r.membership.Epoch+1 {
		return fmt.Errorf("%w: epoch %d cannot begin in epoch %d", ErrMembership, epoch, r.membership.Epoch)
	}
	return nil
}

// checkNext refuses what cannot be an epoch's members, and completes what is.
func (r *Replica) checkNext(next *Membership) error {
	ids := next.IDs()
	if !ascending(ids) {
		return fmt.Errorf("%w: %v do not ascend from 1, or are not 1 to %d", ErrMembership, ids, MembersMax)
	}
	if err := next.checkMembers(); err != nil {
		return fmt.Errorf("%w: %w", ErrMembership, err)
	}
	for _, member := range next.Members {
		was, known := r.membership.Member(member.ID)
		switch {
		case len(member.Address) > AddressBytesMax:
			return fmt.Errorf("%w: an address of %d bytes", ErrMembership, len(member.Address))
		case !utf8.ValidString(member.Address):
			return fmt.Errorf("%w: address %q is no text", ErrMembership, member.Address)
		case member.Incarnation < was.Incarnation:
			return fmt.Errorf("%w: replica %d is of incarnation %d, and goes back to %d", ErrMembership, member.ID, was.Incarnation, member.Incarnation)
		case !known && member.ID <= r.membership.LargestID && !r.config.Omit.Has(RuleIDsAreNew):
			return fmt.Errorf("%w: id %d was used before, a new one is above %d", ErrMembership, member.ID, r.membership.LargestID)
		}
	}
	if err := r.checkWitnesses(next); err != nil {
		return err
	}
	if slices.Equal(next.Members, r.membership.Members) {
		return fmt.Errorf("%w: %v are the members already", ErrMembership, ids)
	}
	next.LargestID = max(next.LargestID, ids[len(ids)-1])
	return nil
}

// reportOn describes everybody that is or will be a member, ascending.
func (r *Replica) reportOn(next *Membership) []MemberReport {
	var report []MemberReport
	ids := append(next.IDs(), r.membership.IDs()...)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		was, isMember := r.membership.Member(id)
		will, stays := next.Member(id)
		m := MemberReport{ID: id, Incarnation: was.Incarnation, Was: isMember, Will: stays}
		if stays {
			m.Incarnation, m.Raised = will.Incarnation, isMember && will.Incarnation > was.Incarnation
		}
		if isMember && !m.Raised {
			m.Heard, m.Op = r.heardOf(id)
		} else {
			m.Heard, m.Op = r.heardOfLearner(id, m.Incarnation, will.Witness)
		}
		m.Ready = m.Heard && m.Op >= r.checkpoint.Op
		report = append(report, m)
	}
	return report
}

// heardOf says whether a member was heard lately, and how far its log goes.
func (r *Replica) heardOf(id ReplicaID) (bool, OpNumber) {
	if id == r.config.Self {
		return true, r.log.last()
	}
	if b := r.primary.backup(id); b != nil {
		return b.joined && b.quiet < r.config.ViewChangeTicksMin, b.match
	}
	return false, 0
}

// heardOfLearner is the same of one who is to become a member.
func (r *Replica) heardOfLearner(id ReplicaID, incarnation uint64, witness bool) (bool, OpNumber) {
	for _, l := range r.learners {
		if l.id == id && l.incarnation == incarnation && l.witness == witness && (!witness || l.kept <= r.checkpoint.Op) {
			return l.quiet < r.config.ViewChangeTicksMin, l.op
		}
	}
	return false, 0
}

// judge refuses what would leave the group without a quorum that has the log, for long or for ever.
func (r *Replica) judge(next *Membership, report []MemberReport) error {
	ready := 0
	for _, m := range report {
		if heard, _ := r.heardOf(m.ID); m.Raised && heard {
			return fmt.Errorf("%w: replica %d needs no later life, this one was heard just now", ErrNewcomer, m.ID)
		}
		if (!m.Was || m.Raised) && !m.Ready && !r.config.Omit.Has(RuleNewcomersReady) {
			return fmt.Errorf("%w: replica %d, heard %v, at %d; the checkpoint is at %d", ErrNewcomer, m.ID, m.Heard, m.Op, r.checkpoint.Op)
		}
		if m.Will && m.Ready {
			ready++
		}
	}
	if ready < next.quorum() && !r.config.Omit.Has(RuleNextQuorum) {
		return fmt.Errorf("%w: %d of %v are ready", ErrQuorum, ready, next.IDs())
	}
	return r.judgeWitnesses(next, report)
}

// endsEpoch reports whether this log ends with a RECONFIGURATION that is not known to be committed: nothing may follow
// it in this epoch (VRR 7.1). It is inherited by later views until it is committed, or gone.
func (r *Replica) endsEpoch() bool {
	last := r.log.last()
	return last > r.commit && r.log.at(last).Kind == EntryReconfiguration
}

// settleReconfiguration tells what became of this replica's own proposal, once that is certain.
func (r *Replica) settleReconfiguration() {
	p := r.reconfiguring
	if p == nil {
		return
	}
	hash, retained := r.log.hashAt(p.op)
	outcome := ReconfigurationOvertaken
	switch {
	case r.failure != nil:
		outcome = ReconfigurationUnknown
	case r.commit < p.op && r.leads && r.view > p.view && (!retained || hash != p.hash):
		// A quorum is normal in a later view whose log does not have it: no log that is ever chosen does.
	case r.commit < p.op:
		return
	case r.membership.Op == p.op && r.membership.Hash == p.hash || retained && hash == p.hash:
		outcome = ReconfigurationDone
	case !retained:
		outcome = ReconfigurationUnknown
	}
	r.reconfiguring, r.reconfigured = nil, &Reconfiguration{Outcome: outcome, Epoch: p.epoch}
}
