package core

import (
	"errors"
	"fmt"
)

// ErrWitness is what a witness says to a read: it has no state. The call had no effect.
var ErrWitness = errors.New("vr: this replica is a witness")

// A witness is a member without a state machine (Harp's, Liskov et al. 1991). It holds log entries and counts in every
// quorum, and never serves, applies or leads: primaries are active members. It keeps the entries above the floor, the least
// checkpoint that all active members have told, so that an active member that lacks an entry finds it in any quorum, and
// has everything below in its own storage. A group has one witness at the most, beside up to three active members: two
// witnesses could each go on without what the other has dropped (docs/DIVERGENCE.md).
const (
	witnessesMax = 1
	// activeMax is for groups with a witness. With more, an active member's log may begin with a checkpoint of another that
	// a third one lacks.
	activeMax = 3
)

// flooring is what is known of the active members' checkpoints.
type flooring struct {
	// floor: every active member of the epoch has told a checkpoint at or above it. It only rises, within an epoch.
	floor OpNumber
	// active are the active members, ascending, sources those of them that are others, witnesses the number of the rest.
	active, sources []ReplicaID
	witnesses       int
}

// IsWitness reports whether a replica is a member that has no state.
func (m *Membership) IsWitness(id ReplicaID) bool {
	member, found := m.Member(id)
	return found && member.Witness
}

// active are the members that have a state, ascending.
func (m *Membership) active() []ReplicaID {
	var ids []ReplicaID
	for i := range m.Members {
		if !m.Members[i].Witness {
			ids = append(ids, m.Members[i].ID)
		}
	}
	return ids
}

// Sources are the other members that have a state, ascending.
func (r *Replica) Sources() []ReplicaID { return r.sources }

// survivors is the least number of members of which one is in every quorum.
func (m *Membership) survivors() int { return len(m.Members) - m.quorum() + 1 }

// setActive notes who has a state.
func (r *Replica) setActive(m *Membership) {
	r.flooring = flooring{active: m.active(), witnesses: len(m.Members)}
	r.witnesses -= len(r.active)
	for _, id := range r.active {
		if id != r.config.Self {
			r.sources = append(r.sources, id)
		}
	}
	if r.config.Omit.Has(RuleWitnessNeverLeads) {
		r.active = m.IDs()
	}
	if own, _ := m.Member(r.config.Self); r.member && own.Witness != r.config.Witness {
		r.fail("replica %d is a witness: %v; in epoch %d: %v", r.config.Self, r.config.Witness, m.Epoch, own.Witness)
	}
}

// raiseFloor has the primary find out what all active members have told. When a RECONFIGURATION is on its way the floor
// stands: those who join were ready up to the checkpoint of that moment, and what is above it they may have to get from the
// witness.
func (r *Replica) raiseFloor() {
	if r.endsEpoch() && !r.config.Omit.Has(RuleFloorStands) {
		return
	}
	least := min(r.checkpoint.Op, r.commit)
	for i := range r.primary.backups {
		if b := &r.primary.backups[i]; !r.membership.IsWitness(b.id) {
			least = min(least, b.kept)
		}
	}
	r.floor = max(r.floor, least)
}

// stateAt is the checkpoint that this replica tells the primary, if it has a state.
func (r *Replica) stateAt() OpNumber {
	if r.config.Witness {
		return 0
	}
	return r.checkpoint.Op
}

// skipApplying lets a witness pass over what is committed, which it has no state to apply to.
func (r *Replica) skipApplying() {
	if r.config.Witness {
		r.applied = r.commit
	}
}

// WitnessBase is where a witness may let its log begin: the floor, if that is above its newest checkpoint. The driver makes
// a checkpoint without a state of it, and says so with CheckpointCreated.
func (r *Replica) WitnessBase() (CheckpointMeta, bool) {
	to := r.keptFrom()
	if !r.config.Witness || r.failure != nil || to <= r.checkpoint.Op {
		return CheckpointMeta{}, false
	}
	return r.MetaAt(to)
}

// keptFrom is the op-number down to which a group with witnesses keeps its log.
func (r *Replica) keptFrom() OpNumber {
	if r.config.Omit.Has(RuleWitnessKeeps) {
		return r.commit
	}
	return min(r.floor, r.commit)
}

// keepForWitnesses is what an active member's log has to begin with instead of a checkpoint, where there are witnesses: one
// that was away has to find all entries above the floor.
func (r *Replica) keepForWitnesses(keep CheckpointMeta) CheckpointMeta {
	if r.witnesses == 0 || r.floor >= keep.Op || r.config.Omit.Has(RuleActivesKeep) {
		return keep
	}
	if lower, ok := r.MetaAt(max(r.floor, r.log.base.Op)); ok {
		return lower
	}
	return r.log.base
}

// position is where the log of a witness may begin that does not go up to this one's beginning, or is of another branch there
// (hasBelow). What is committed and the witness never had, active members have of which one is in every quorum: it may go on
// from anything. One that may have lost what
// it acknowledged needs what is above the floor again: it goes on from where this log begins, which is at or below the
// floor, or a checkpoint that the other active member had too. In a group of an even number a quorum without the witness is
// large enough in any case, for what this epoch has committed; in one of two, where no quorum is without the active member,
// for everything.
//
// Not ok: the epoch of that place is not known here, after a restart; then the one of the active members answers whose
// checkpoint is the least. A witness that lost nothing is not kept waiting for that.
func (r *Replica) position(lost bool) (CheckpointMeta, bool) {
	base, ends, young := r.log.base, r.endsEpoch(), r.floor < r.membership.Op && len(r.active) > 1
	if r.config.Omit.Has(RuleFloorStands) {
		ends, young = false, false
	}
	even := len(r.membership.Members)%2 == 0 && !young
	switch {
	case !ends && (!lost || even), base.Op == r.checkpoint.Op, r.config.Omit.Has(RuleWitnessBase):
		return r.checkpoint, true
	case r.checkpoint.Op <= r.floor:
		return r.checkpoint, true // all active members have one at or above it
	case r.membership.Epoch == 0, r.membership.Epoch == 1 && base.Op < r.membership.Op:
		return base, true
	case base.Op < r.membership.Op && base.Membership == "":
		return r.checkpoint, !lost
	case base.Op >= r.membership.Op:
		base.Membership = r.record
	}
	return base, true
}

// checkpointFor is what a replica is given whose log ends below this one's beginning; not ok: nothing, somebody else has to
// answer. A witness has no state to give. One that learns to become a member, and says so, has promised nothing, though an
// epoch that it has not heard of may have begun with it already.
func (r *Replica) checkpointFor(m *Message) (CheckpointMeta, bool) {
	member, _ := r.membership.Member(m.From)
	newcomer := m.Kind == KindGetCommitted && m.Agree
	switch {
	case r.config.Witness:
		return CheckpointMeta{}, false
	case member.Witness && member.Incarnation == m.Incarnation && !newcomer:
		return r.position(m.Kind == KindGetCommitted || m.Agree)
	default:
		return r.checkpoint, true
	}
}

// checkRoom refuses proposals while too much of the log has to be kept for an active member that does not get on.
func (r *Replica) checkRoom() error {
	if r.witnesses == 0 || r.log.bytes <= r.config.RetainedBytesMax {
		return nil
	}
	behind, at := r.config.Self, r.checkpoint.Op
	for i := range r.primary.backups {
		if b := &r.primary.backups[i]; b.kept <= at && !r.membership.IsWitness(b.id) {
			behind, at = b.id, b.kept
		}
	}
	return fmt.Errorf("%w: %d bytes of the log are kept for replica %d, whose checkpoint is at %d", ErrOverloaded, r.log.bytes, behind, at)
}

// checkWitnesses refuses a group of which a quorum may have no state, and a life that is a witness in one epoch and not in
// the next: what a witness lacks it can only learn as a newcomer.
func (r *Replica) checkWitnesses(next *Membership) error {
	for _, member := range next.Members {
		was, known := r.membership.Member(member.ID)
		if known && was.Incarnation == member.Incarnation && was.Witness != member.Witness {
			return fmt.Errorf("%w: replica %d changes to and from a witness in another incarnation only", ErrMembership, member.ID)
		}
	}
	return nil
}

// judgeWitnesses refuses witnesses beside which too few have what is below their logs: so many of the next active members
// that one is in every quorum of theirs, and, for a new witness, whose log may begin anywhere below the next epoch, a
// quorum of the present group that is as large.
func (r *Replica) judgeWitnesses(next *Membership, report []MemberReport) error {
	if len(next.active()) == len(next.Members) || r.config.Omit.Has(RuleActivesReady) {
		return nil
	}
	ready := 0
	for _, m := range report {
		if m.Will && m.Ready && !next.IsWitness(m.ID) {
			ready++
		}
		if m.Will && next.IsWitness(m.ID) && (!m.Was || m.Raised) && r.quorum < next.survivors() {
			return fmt.Errorf("%w: replica %d joins as a witness once %d members are active, not with them", ErrQuorum, m.ID, next.survivors())
		}
	}
	if ready < next.survivors() {
		return fmt.Errorf("%w: %d active members of %v are ready, %d are needed beside witnesses", ErrQuorum, ready, next.Members, next.survivors())
	}
	return nil
}

// begun reports whether so many of an epoch's members have begun that those who leave may go: a quorum, and as many of
// those that have a state, or all of them.
func (r *Replica) begun(started map[ReplicaID]bool) bool {
	members, active := 0, 0
	for _, member := range r.membership.Members {
		if !started[member.ID] {
			continue
		}
		members++
		if !member.Witness {
			active++
		}
	}
	return members >= r.quorum && (active >= min(r.quorum, len(r.active)) || r.config.Omit.Has(RuleActivesBegin))
}
