// Package force decides what an operator does with a group of which more than f replicas may lack what they acknowledged,
// and which therefore stays stopped: f+1 of 2f+1 start from what they have, and choose among themselves by an ordinary view
// change; the others recover from them. What only was on the others, or nowhere any more, is lost.
//
// The package is pure: `viewline force` acts on what it says, and so does the simulator. The paper ends where more than f
// fail (docs/DIVERGENCE.md).
package force

import (
	"cmp"
	"slices"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// The rules of a force; a test takes one out to see that it is missed.
const (
	// RuleLogView: a log that may lack something counts with the view of its last operation, not with its last-normal view.
	RuleLogView omit.Rule = iota
	// RuleExactlyAQuorum: f+1 start from what they have, no more: each view change has all of them, and so the best log.
	RuleExactlyAQuorum
)

// Remains is what is left on the disk of one replica.
type Remains struct {
	Replica core.ReplicaID
	// Unusable: it cannot be read, and is not chosen.
	Unusable bool
	// Whole: nothing that it acknowledged can be missing.
	Whole     bool
	HardState core.HardState
	// Op is where what is sound ends, by entries or by the checkpoint, and LastView the view of that operation.
	Op       core.OpNumber
	LastView core.ViewNumber
	// Known is the last operation that is known to have been there, or to have been committed.
	Known core.OpNumber
}

// Nothing is what remains of a replica whose disk cannot be read.
func Nothing(replica uint32) Remains {
	return Remains{Replica: core.ReplicaID(replica), Unusable: true}
}

// LogView is the view by which a log takes part in the choice.
func (r *Remains) LogView(omitted omit.Set) core.ViewNumber {
	if r.Whole || omitted.Has(RuleLogView) {
		return r.HardState.LastNormalView
	}
	return r.LastView
}

// Better reports whether a view change takes this log before another.
func (r *Remains) Better(other *Remains, omitted omit.Set) bool {
	view, others := r.LogView(omitted), other.LogView(omitted)
	return view > others || view == others && r.Op > other.Op
}

// Plan is what comes of a force.
type Plan struct {
	// Needed: fewer than f+1 are whole. Otherwise the group starts by itself, and nobody is chosen.
	Needed bool
	// Order are the indices of all remains, the best first; the first Chosen of them start from what they have.
	Order  []int
	Chosen int
	// View is the one whose view change they begin in, in which nobody was. Op is the last operation that there will be,
	// Known the last one that is known to have been.
	View  core.ViewNumber
	Op    core.OpNumber
	Known core.OpNumber
}

// NewPlan plans for a group of so many members, of which these remain; f+1 of them have to be usable.
func NewPlan(members int, found []Remains, omitted omit.Set) Plan {
	quorum := members/2 + 1
	p := Plan{Chosen: min(quorum, len(found))}
	if omitted.Has(RuleExactlyAQuorum) {
		p.Chosen = len(found)
	}
	whole := 0
	for i := range found {
		p.Order = append(p.Order, i)
		p.View, p.Known = max(p.View, found[i].HardState.View+1), max(p.Known, found[i].Known)
		if found[i].Whole && !found[i].Unusable {
			whole++
		}
	}
	slices.SortStableFunc(p.Order, func(a, b int) int { return compare(&found[a], &found[b], omitted) })
	var best *Remains
	for _, i := range p.Order[:p.Chosen] {
		if best == nil || found[i].Better(best, omitted) {
			best = &found[i]
		}
	}
	if best != nil {
		p.Op = best.Op
	}
	if p.Needed = whole < quorum; !p.Needed {
		p.Chosen = 0
	}
	return p
}

// compare orders the best first: those that are whole, and then those with the latest logs.
func compare(a, b *Remains, omitted omit.Set) int {
	rank := func(r *Remains) int {
		switch {
		case r.Unusable:
			return 2
		case !r.Whole:
			return 1
		default:
			return 0
		}
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.LogView(omitted), a.LogView(omitted)), cmp.Compare(b.Op, a.Op),
		cmp.Compare(a.Replica, b.Replica))
}

// Start is the hard state of one that starts from what it has, as if nothing were missing.
func (r *Remains) Start(view core.ViewNumber, omitted omit.Set) core.HardState {
	return core.HardState{
		View: view, LastNormalView: r.LogView(omitted), Commit: min(r.HardState.Commit, r.Op), Membership: r.HardState.Membership,
	}
}

// Forget is the hard state of one that recovers from a group that goes on from an operation: it knows of no later one.
func (r *Remains) Forget(op core.OpNumber) core.HardState {
	state := r.HardState
	state.Commit = min(state.Commit, op)
	return state
}
