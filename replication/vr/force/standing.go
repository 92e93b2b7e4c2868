package force

import (
	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// Standing is what a disk is to an epoch.
type Standing uint8

// The standings.
const (
	// Member: it is a member of the epoch, and has begun in it.
	Member Standing = iota
	// Behind: it is a member, and was one before, and has not begun in this epoch. It acknowledged nothing there.
	Behind
	// Learning: it is to be a member, in this life, and was none before: what it has is only what it was told.
	Learning
	// Stranger: the epoch does not name it. It is no member any more, or not yet.
	Stranger
	// Over: it is of an earlier life of a member.
	Over
)

// counts reports whether it is one of the 2f+1.
func (s Standing) counts() bool { return s <= Behind }

// String says it, of a directory.
func (s Standing) String() string {
	return [...]string{
		"a member", "a member that has not begun in this epoch", "a newcomer that has not begun to take part", "no member of this epoch",
		"an earlier life of a member",
	}[s]
}

// promised is the membership of the epoch that a disk's promises are of; not known: it was never told.
func (r *Remains) promised() (core.Membership, bool) {
	m, err := r.HardState.Membership.Decode()
	return m, err == nil
}

// FirstMembers are those that a group began with, one of them the witness, or 0; for disks that do not tell.
func FirstMembers(ids []uint32, witness uint32) (first core.Membership) {
	for _, id := range ids {
		first.Members = append(first.Members, core.Member{ID: core.ReplicaID(id), Witness: id == witness})
		first.LargestID = core.ReplicaID(id)
	}
	return first
}

// newest is the newest membership on any disk. The same epoch begins twice only where a force has had it begin anew,
// further below.
func newest(first core.Membership, found []Remains, omitted omit.Set) core.Membership {
	best, known := first, false
	if omitted.Has(RuleNewestEpoch) {
		return first
	}
	for i := range found {
		for _, record := range []core.EncodedMembership{found[i].HardState.Membership, found[i].Checkpoint.Membership} {
			m, err := record.Decode()
			if err == nil && (!known || m.Epoch > best.Epoch || m.Epoch == best.Epoch && m.Op < best.Op) {
				best, known = m, true
			}
		}
	}
	return best
}

// standing tells what a disk is to an epoch.
func (r *Remains) standing(m *core.Membership) Standing {
	member, found := m.Member(r.Replica)
	promised, told := r.promised()
	before, was := promised.Member(r.Replica)
	switch {
	case !found || member.Incarnation < r.Incarnation:
		return Stranger
	case member.Incarnation > r.Incarnation:
		return Over
	case r.Unusable || m.Epoch == 0 || told && promised.Epoch == m.Epoch:
		return Member
	case told && was && before.Incarnation == r.Incarnation:
		return Behind
	default:
		return Learning
	}
}
