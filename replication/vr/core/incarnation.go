package core

import (
	"errors"
	"fmt"
)

// A replica that has lost its storage, or whose storage is an old copy, has forgotten what it acknowledged and promised,
// and cannot be told by its id from the one that has not (Michael et al., DISC 2017). It comes back as another life of
// that id, a larger incarnation: a newcomer in all but its id, which learns what is committed and is counted in no epoch
// before the one whose RECONFIGURATION names that life. The RECONFIGURATION is committed without it, by replicas of which
// one is in every quorum that could still form around what it has forgotten.

// ErrIncarnation says, beside ErrRefused, that a message is of a life that is over.
var ErrIncarnation = errors.New("incarnation that is over")

// belongs reports whether this replica, in this life, is a member.
func (r *Replica) belongs(m *Membership) bool {
	member, found := m.Member(r.config.Self)
	switch {
	case !found:
		return false
	case member.Incarnation > r.config.Incarnation:
		return r.config.Omit.Has(RuleIncarnation)
	case member.Incarnation < r.config.Incarnation:
		return r.config.Omit.Has(RuleWipedStays)
	default:
		return true
	}
}

// joins reports whether this replica is no member yet. An id up to the largest one was a member's, and is never one
// again; a member's own id comes back in a later life.
func (r *Replica) joins() bool {
	member, found := r.membership.Member(r.config.Self)
	switch {
	case r.member:
		return false
	case found:
		return member.Incarnation < r.config.Incarnation
	case r.record == "" && r.config.Incarnation > 0:
		return true // it was not told what became of its id
	default:
		return r.config.Self > r.membership.LargestID
	}
}

// outlived reports whether a later life of this replica's id is a member: this one is over.
func (r *Replica) outlived(m *Membership) bool {
	member, found := m.Member(r.config.Self)
	return found && member.Incarnation > r.config.Incarnation && !r.config.Omit.Has(RuleIncarnation)
}

// becomeOutlived enters an epoch in which another life has this replica's id, as one that has left: its log is of no use
// to anybody, and nothing in it matters any more.
func (r *Replica) becomeOutlived(m Membership) {
	r.leaveEpoch()
	r.setMembership(m)
	r.entered, r.heard = &r.membership, Membership{}
	r.view, r.lastNormalView, r.attempts = m.View, m.View, 0
	r.commitMax = r.commit
	r.status = StatusLeft
}

// checkIncarnation refuses what an earlier life of a member says, and what a later one says that is no member yet, but
// for what a newcomer may say.
func (r *Replica) checkIncarnation(m *Message) error {
	member, found := r.membership.Member(m.From)
	switch {
	case !found || m.Incarnation == member.Incarnation:
		return nil
	case m.Incarnation < member.Incarnation:
		if r.config.Omit.Has(RuleIncarnation) {
			return nil
		}
		return fmt.Errorf("%w: %w: %d of replica %d, which is in incarnation %d", ErrRefused, ErrIncarnation, m.Incarnation, m.From, member.Incarnation)
	case m.Epoch == r.membership.Epoch && m.Kind < KindStartEpoch && !r.config.Omit.Has(RuleWipedStays):
		return fmt.Errorf("%w: %w: replica %d is a member in incarnation %d, not in %d yet", ErrRefused, ErrStranger, m.From, member.Incarnation, m.Incarnation)
	default:
		return nil
	}
}
