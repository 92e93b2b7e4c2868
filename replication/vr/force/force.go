// Package force decides what an operator does with a group of which more than f replicas may lack what they acknowledged,
// and which therefore stays stopped: f+1 of 2f+1 start from what they have, and choose among themselves by an ordinary view
// change; the others recover from them. What only was on the others, or nowhere any more, is lost.
//
// The package is pure: `viewline force` acts on what it says, and so does the simulator. The paper ends where more than f
// fail (docs/DIVERGENCE.md).
package force

import (
	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// The rules of a force; a test takes one out to see that it is missed.
const (
	// RuleLogView: a log that may lack something counts with the view of its last operation, not with its last-normal view.
	RuleLogView omit.Rule = iota
	// RuleExactlyAQuorum: f+1 start from what they have, no more: each view change has all of them, and so the best log.
	RuleExactlyAQuorum
	// RuleNewestEpoch: who the members are says the newest membership that is on any of the disks.
	RuleNewestEpoch
	// RuleMembersOnly: only a member of that epoch starts, in the life that the epoch names.
	RuleMembersOnly
	// RuleBehind: a log that has not begun in that epoch counts with the view of its last operation.
	RuleBehind
	// RuleWitnessJoins: a witness whose log begins above all that is left of the states starts with nothing.
	RuleWitnessJoins
)

// Remains is what is left on the disk of one replica.
type Remains struct {
	Replica core.ReplicaID
	// Incarnation is the life that the disk is of, 0 the first.
	Incarnation uint64
	// Unusable: it cannot be read, and is not chosen.
	Unusable bool
	// Whole: nothing that it acknowledged can be missing.
	Whole     bool
	HardState core.HardState
	// Checkpoint is the newest one that is sound. Op is where what is sound ends, by entries or by the checkpoint, and LastView
	// the view of that operation. Hashes are of the operations from Base to Op.
	Checkpoint core.CheckpointMeta
	Op         core.OpNumber
	LastView   core.ViewNumber
	Base       core.OpNumber
	Hashes     []core.Hash
	// Known is the last operation that is known to have been there, or to have been committed.
	Known core.OpNumber
}

// Nothing is what remains of a replica whose disk cannot be read.
func Nothing(replica uint32, incarnation uint64) Remains {
	return Remains{Replica: core.ReplicaID(replica), Incarnation: incarnation, Unusable: true}
}

// SetLog notes what is sound, as a replica that starts would take it over.
func (r *Remains) SetLog(checkpoint core.CheckpointMeta, entries []core.Entry) {
	r.Checkpoint = checkpoint
	r.Op, r.LastView, r.Base, r.Hashes = checkpoint.Op, checkpoint.View, checkpoint.Op, []core.Hash{checkpoint.Hash}
	last := len(entries) - 1
	if last < 0 || entries[last].Op <= checkpoint.Op {
		return
	}
	r.Op, r.LastView = entries[last].Op, entries[last].View
	if entries[0].Op != checkpoint.Op+1 {
		r.Base, r.Hashes = entries[0].Op, nil
	}
	for i := range entries {
		r.Hashes = append(r.Hashes, entries[i].Hash)
	}
}

// LogView is the view by which a log takes part in the choice, in the epoch that the disk is of.
func (r *Remains) LogView(omitted omit.Set) core.ViewNumber {
	if r.Whole || omitted.Has(RuleLogView) {
		return r.HardState.LastNormalView
	}
	return r.LastView
}

// joins reports whether what is left of a state reaches up to where a witness's log begins, and is the same there.
func (r *Remains) joins(witness *Remains) bool {
	if r.Checkpoint.Op >= witness.Base {
		return true
	}
	if witness.Base < r.Base || witness.Base > r.Op || len(witness.Hashes) == 0 {
		return false
	}
	return r.Hashes[witness.Base-r.Base] == witness.Hashes[0]
}

// Plan is what comes of a force.
type Plan struct {
	// Needed: fewer than f+1 can take part. Otherwise the group starts by itself, and nobody is chosen.
	Needed bool
	// Members are those of the newest epoch that is on any of the disks; Standings what each disk is to it. Usable are those
	// that count and can be read: f+1 are needed.
	Members   core.Membership
	Standings []Standing
	Usable    int
	// Order are the indices of all remains, the best first; the first Chosen of them start from what they have.
	Order  []int
	Chosen int
	// Best is the index of the log that the group goes on with; -1: nobody's.
	Best int
	// Discarded is the index of a witness that starts with nothing, since its log begins above all that is left of the
	// states; -1: none.
	Discarded int
	// View is the one whose view change they begin in, in which nobody was. Op is the last operation that there will be,
	// Known the last one that is known to have been.
	View  core.ViewNumber
	Op    core.OpNumber
	Known core.OpNumber

	remains []Remains
	omitted omit.Set
}

// Quorum is how many members have to be usable, and start.
func (p *Plan) Quorum() int { return len(p.Members.Members)/2 + 1 }

// Hopeless reports whether nothing is left in an epoch that is not the first: there is nothing to begin it with.
func (p *Plan) Hopeless() bool { return p.Op == 0 && p.Members.Epoch > 0 && p.Needed }

// Mark is what a force writes on a disk. Those that start do so as if nothing were missing; the others recover from a
// group that goes on from an operation, and know of no later one.
type Mark struct {
	HardState core.HardState
	Starts    bool
	// Nothing: the log goes, all of it.
	Nothing bool
}

// Mark tells what is written on a disk; not ok: it stays as it is.
func (p *Plan) Mark(i int) (Mark, bool) {
	r := &p.remains[i]
	if !p.Needed || r.Unusable || !p.Standings[i].counts() && !p.omitted.Has(RuleMembersOnly) {
		return Mark{}, false
	}
	if !p.starts(i) {
		mark := Mark{HardState: r.HardState}
		mark.HardState.Commit = min(r.HardState.Commit, p.Op)
		if p.Members.Epoch > 0 && p.Standings[i] == Member {
			mark.HardState.Membership = p.Members.Encode()
		}
		return mark, mark.HardState != r.HardState
	}
	mark := Mark{Starts: true, Nothing: i == p.Discarded, HardState: core.HardState{
		View: p.View, LastNormalView: p.logView(i), Commit: min(r.HardState.Commit, p.end(i)), Membership: r.HardState.Membership,
	}}
	if p.Members.Epoch > 0 {
		mark.HardState.Membership = p.Members.Encode()
	}
	return mark, true
}

func (p *Plan) starts(i int) bool {
	for _, chosen := range p.Order[:p.Chosen] {
		if chosen == i {
			return true
		}
	}
	return false
}
