package core

import (
	"errors"
	"fmt"
	"slices"
)

// Errors of HandOver beside ErrNotPrimary and ErrStopped. All say that the call had no effect.
var (
	// ErrNoMember: the role can go only to another member of the group.
	ErrNoMember = errors.New("vr: no such member to hand over to")
	// ErrHandingOver: one handover at a time.
	ErrHandingOver = errors.New("vr: a handover is under way already")
)

// HandoverOutcome is how a handover ended.
type HandoverOutcome uint8

// The outcomes.
const (
	// HandoverDone: To is the primary of View.
	HandoverDone HandoverOutcome = iota + 1
	// HandoverBehind: the target did not have the whole log in time. This replica is still the primary of View.
	HandoverBehind
	// HandoverOvertaken: this replica lost its view in another way, or another than the target got the role.
	HandoverOvertaken
	// HandoverCancelled: CancelHandover came in time. This replica is still the primary of View.
	HandoverCancelled
	// HandoverUnknown: CancelHandover came when the view was left already.
	HandoverUnknown
)

// String names the outcome.
func (o HandoverOutcome) String() string {
	names := [...]string{"", "done", "behind", "overtaken", "cancelled", "unknown"}
	if o >= 1 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Handover tells how the handover that HandOver began has ended.
type Handover struct {
	Outcome HandoverOutcome
	To      ReplicaID // 0 while it was not chosen
	View    ViewNumber
}

// handoverPatience is for how many of the longest time-outs a primary waits until its target has caught up. It
// serves meanwhile.
const handoverPatience = 4

// handingOver is a transfer of the primary's role under way. It is not in the paper (docs/DIVERGENCE.md): the
// primary itself begins a view change into a view of the target's. Safety rests on that view change alone. What
// comes before it is courtesy: nobody who has proposed is left without an answer, and the view that begins has
// nothing to fetch.
type handingOver struct {
	to   ReplicaID // 0: whichever backup is found to be the most caught-up
	from ViewNumber
	// round is that of a COMMIT sent when the handover began: who has not answered it may be dead.
	round uint64
	// sealed: no proposal is taken any more, and what was taken is being finished.
	sealed bool
	ticks  int // in this step: serving, or sealed
	// view is the one that this replica has left its own for; 0 before.
	view ViewNumber
}

// HandOver has the primary hand its role over to another replica, or, for 0, to the most caught-up backup. How that
// ends, a Ready tells in Handover. Errors are ErrNotPrimary, ErrNoMember, ErrHandingOver, ErrReconfiguring and ErrStopped.
func (r *Replica) HandOver(to ReplicaID) error {
	switch {
	case r.failure != nil:
		return ErrStopped
	case !r.leads:
		return fmt.Errorf("%w: view %d, primary %d", ErrNotPrimary, r.view, r.primaryOf(r.view))
	case r.handover != nil || r.handedOver != nil:
		return ErrHandingOver
	case r.endsEpoch():
		return ErrReconfiguring
	case to == r.config.Self:
		r.handedOver = &Handover{Outcome: HandoverDone, To: to, View: r.view} // it has the role already
		return nil
	case r.membership.IsWitness(to):
		return fmt.Errorf("%w: replica %d is a witness, which has no state and never leads", ErrNoMember, to)
	case to != 0 && !slices.Contains(r.sources, to), len(r.sources) == 0:
		return fmt.Errorf("%w: %d of %v", ErrNoMember, to, r.membership.Members)
	}
	p := r.primary
	p.round++
	r.handover = &handingOver{to: to, from: r.view, round: p.round}
	r.sendRound()
	return nil
}

// CancelHandover gives up the handover that is under way, if one is.
func (r *Replica) CancelHandover() {
	switch {
	case r.handover == nil || r.failure != nil:
	case r.handover.view > 0:
		r.endHandover(HandoverUnknown)
	default:
		r.endHandover(HandoverCancelled)
	}
}

func (r *Replica) endHandover(outcome HandoverOutcome) {
	r.handedOver = &Handover{Outcome: outcome, To: r.handover.to, View: r.view}
	r.handover = nil
}

// Redirect says where requests belong that this replica does not take: its view and that view's primary; 0 while
// the primary is not known, or is about to hand over, or its epoch is about to end.
func (r *Replica) Redirect() (ViewNumber, ReplicaID) {
	if r.sealed() && r.handover.view == 0 || r.leads && r.endsEpoch() {
		return r.view, 0
	}
	return r.view, r.primaryOf(r.view)
}

// sealed reports whether this primary takes no proposals because it is about to hand over.
func (r *Replica) sealed() bool { return r.handover != nil && r.handover.sealed }

// tickHandover bounds each step of a handover. The group serves nobody while the primary is sealed, so that this
// step may last no longer than the group would take to miss its primary.
func (r *Replica) tickHandover() {
	h := r.handover
	if h == nil || h.view > 0 {
		return
	}
	most := handoverPatience * r.config.ViewChangeTicksMax
	if h.sealed {
		most = r.config.ViewChangeTicksMin
	}
	if h.ticks++; h.ticks >= most {
		r.endHandover(HandoverBehind)
	}
}

// advanceHandover takes the next step of a handover when it can be taken.
func (r *Replica) advanceHandover() {
	h := r.handover
	switch {
	case h == nil || r.failure != nil:
	case h.view > 0:
		r.awaitSuccessor()
	case !r.leadsView(h.from):
		r.endHandover(HandoverOvertaken)
	default:
		r.finishProposals()
	}
}

// finishProposals seals the primary once the target has everything that is committed, so that what is missing is
// only what is in flight; and leaves the view once all of that is committed, applied here and with the target.
func (r *Replica) finishProposals() {
	target := r.successor()
	if target == nil || target.match < r.commit {
		return
	}
	h, last := r.handover, r.log.last()
	if !h.sealed {
		h.sealed, h.ticks = true, 0
	}
	finished := target.match == last && r.applied == last
	if !finished && !r.config.Omit.Has(RuleHandoverFinished) {
		return
	}
	h.to, h.view = target.id, r.nextViewOf(target.id)
	r.becomeViewChange(h.view)
}

// successor is the backup to hand over to: it has answered since the handover began. nil: there is none yet.
func (r *Replica) successor() *backup {
	var best *backup
	for i := range r.primary.backups {
		b := &r.primary.backups[i]
		wanted := r.handover.to == 0 || r.handover.to == b.id
		if wanted && slices.Contains(r.sources, b.id) && b.joined && b.round >= r.handover.round && (best == nil || b.match > best.match) {
			best = b
		}
	}
	return best
}

// nextViewOf is the least view above this one whose primary is that member. It is fewer views ahead than the group
// has members, so that everybody follows at once.
func (r *Replica) nextViewOf(member ReplicaID) ViewNumber {
	view := r.view + 1
	for r.primaryOf(view) != member {
		view++
	}
	return view
}

// awaitSuccessor waits until this replica is normal again: then it knows who got the role.
func (r *Replica) awaitSuccessor() {
	switch {
	case r.status != StatusNormal:
	case r.primaryOf(r.view) == r.handover.to:
		r.endHandover(HandoverDone)
	default:
		r.endHandover(HandoverOvertaken)
	}
}
