package force

import (
	"cmp"
	"slices"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// NewPlan plans for a group of which these remain. first is who began the group as far as its configuration says, for
// disks that do not tell. Usable has to be a Quorum, or the plan is nothing to act by.
func NewPlan(first core.Membership, found []Remains, omitted omit.Set) Plan {
	p := Plan{remains: found, omitted: omitted, Members: newest(first, found, omitted), Best: -1, Discarded: -1}
	for i := range found {
		r := &found[i]
		p.Standings = append(p.Standings, r.standing(&p.Members))
		p.View = max(p.View, r.HardState.View+1)
		p.Known = max(p.Known, r.HardState.Commit)
		if p.Standings[i].counts() {
			p.Known = max(p.Known, r.Known)
			if !r.Unusable {
				p.Usable++
			}
		}
		p.Order = append(p.Order, i)
	}
	p.Needed = p.able() < p.Quorum()
	p.choose()
	p.begin()
	if !p.Needed {
		p.Chosen = 0
	}
	return p
}

// able counts those that take part by themselves when all are started. Nothing that a member acknowledged before it began
// in the epoch can be missing in it: it needs somebody to tell it what is committed.
func (p *Plan) able() (able int) {
	behind := 0
	for i := range p.remains {
		switch r := &p.remains[i]; {
		case r.Unusable:
		case p.Standings[i] == Member && r.Whole:
			able++
		case p.Standings[i] == Behind:
			behind++
		}
	}
	if able > 0 || p.earlierEpochStarts() {
		able += behind
	}
	return able
}

// earlierEpochStarts reports whether a quorum of an earlier epoch is whole: what ended that epoch is in their logs.
func (p *Plan) earlierEpochStarts() bool {
	for i := range p.remains {
		before, known := p.remains[i].promised()
		if !known || p.Standings[i] != Behind {
			continue
		}
		whole := 0
		for j := range p.remains {
			r := &p.remains[j]
			own, _ := r.promised()
			if r.Whole && !r.Unusable && own.Epoch == before.Epoch && r.standing(&before) == Member {
				whole++
			}
		}
		if whole > len(before.Members)/2 {
			return true
		}
	}
	return false
}

// choose orders the best first, and marks f+1.
func (p *Plan) choose() {
	witness := p.witness()
	if witness >= 0 && !p.joined(witness) && !p.omitted.Has(RuleWitnessJoins) {
		p.Discarded = witness
	}
	slices.SortStableFunc(p.Order, func(i, j int) int { return p.compare(i, j, witness) })
	p.Chosen = min(p.Quorum(), p.Usable)
	if p.omitted.Has(RuleExactlyAQuorum) {
		p.Chosen = p.Usable
	}
	for _, i := range p.Order[:p.Chosen] {
		if p.Best < 0 || p.better(i, p.Best) {
			p.Best = i
		}
	}
	if p.Best >= 0 {
		p.Op = p.end(p.Best)
	}
}

// witness finds a witness that counts and can be read, or -1.
func (p *Plan) witness() int {
	return slices.IndexFunc(p.Order, func(i int) bool {
		return p.Standings[i].counts() && !p.remains[i].Unusable && p.Members.IsWitness(p.remains[i].Replica)
	})
}

// joined reports whether the witness's log is of use: one of those with a state has what it goes on from. It need not be
// the best of them: the best log is the one that all take over.
func (p *Plan) joined(witness int) bool {
	return slices.ContainsFunc(p.Order, func(i int) bool {
		return i != witness && p.Standings[i].counts() && !p.remains[i].Unusable && p.remains[i].joins(&p.remains[witness])
	})
}

// compare orders the best first: those that are whole, and a witness that has to start with nothing, for it would take
// part with its log otherwise; then those with the latest logs, of which those that a witness's log joins come first.
func (p *Plan) compare(i, j, witness int) int {
	rank := func(i int) int {
		r := &p.remains[i]
		switch {
		case !p.Standings[i].counts() && !p.omitted.Has(RuleMembersOnly):
			return 4
		case r.Unusable:
			return 3
		case r.Whole && p.Standings[i] == Member || i == p.Discarded:
			return 0
		case witness >= 0 && witness != i && witness != p.Discarded && !r.joins(&p.remains[witness]):
			return 2
		default:
			return 1
		}
	}
	return cmp.Or(cmp.Compare(rank(i), rank(j)), cmp.Compare(p.logView(j), p.logView(i)), cmp.Compare(p.end(j), p.end(i)),
		cmp.Compare(p.remains[i].Replica, p.remains[j].Replica))
}

// better reports whether a view change takes one log before another.
func (p *Plan) better(i, j int) bool {
	return p.logView(i) > p.logView(j) || p.logView(i) == p.logView(j) && p.end(i) > p.end(j)
}

// logView is the view by which a log takes part in the choice: nobody was normal in an epoch in which he has not begun.
func (p *Plan) logView(i int) core.ViewNumber {
	switch {
	case i == p.Discarded:
		return 0
	case p.Standings[i] == Behind && !p.omitted.Has(RuleBehind):
		return p.remains[i].LastView
	default:
		return p.remains[i].LogView(p.omitted)
	}
}

// end is where a log ends that takes part.
func (p *Plan) end(i int) core.OpNumber {
	if i == p.Discarded {
		return 0
	}
	return p.remains[i].Op
}

// begin has the epoch begin where the group goes on from, where that is below its beginning: it would end in nothing
// otherwise, and nobody could make a checkpoint, or be told where to go on from.
func (p *Plan) begin() {
	if !p.Needed || p.Best < 0 || p.Op == 0 || p.Op >= p.Members.Op {
		return
	}
	best := &p.remains[p.Best]
	p.Members.Op, p.Members.Hash = p.Op, best.Hashes[p.Op-best.Base]
}
