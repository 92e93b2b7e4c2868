package group

import (
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/force"
)

// forcePermille is how many of a thousand groups that stay stopped an operator forces. It has a stream of its own.
const forcePermille = 700

// forceGroup is the operator's last resort for a group that stays stopped: all nodes are stopped, their disks looked at, f+1
// are marked to start from what they have, and all are started. It reports whether that was done.
func (s *simulation) forceGroup() bool {
	random := newStream(s.options.Seed, streamForce)
	if !random.chance(forcePermille) {
		return false
	}
	s.stopAll()
	found, first := make([]force.Remains, len(s.hosts)), core.Membership{}
	for i, h := range s.hosts {
		found[i] = s.examine(h)
		first.Members = append(first.Members, core.Member{ID: h.id, Witness: h.witness})
	}
	plan := force.NewPlan(first, found, s.options.OmitForce)
	s.trace(nil, "the operator forces: %+v", plan)
	if !plan.Needed {
		s.violated(claimStopped, "it stays stopped, and enough replicas are whole")
		return false
	}
	s.covered.count(EventForced)
	s.countIf(s.firstWitness() != 0, EventForcedWithWitness)
	s.countIf(plan.Discarded >= 0, EventForceDiscarded)
	s.carryOut(&plan)
	s.startAll()
	return true
}

// stopAll ends every process, in order where that is possible.
func (s *simulation) stopAll() {
	for _, h := range s.hosts {
		switch {
		case !h.running():
			h.incarnation++ // it does not start by itself any more
		case h.busy || h.paused:
			s.crash(h, false)
		default:
			s.stop(h, false)
		}
	}
}

// examine looks at a disk that nobody uses.
func (s *simulation) examine(h *host) force.Remains {
	restored := h.disk.restored()
	r := force.Remains{
		Replica: h.id, Whole: !restored.Recover && !restored.Damaged, HardState: restored.HardState,
	}
	r.SetLog(restored.Checkpoint, restored.Entries)
	r.Known = max(h.disk.image.end, h.disk.checkpointAt, restored.HardState.Commit, r.Op)
	return r
}

// carryOut marks the disks, and lets the checks expect no more than what the force leaves.
func (s *simulation) carryOut(plan *force.Plan) {
	for i, h := range s.hosts {
		mark, marked := plan.Mark(i)
		if !marked {
			continue
		}
		if !mark.Starts {
			h.disk.hardState = mark.HardState
			h.disk.left = h.disk.clone(h.disk.left.entries)
			continue
		}
		restored := h.disk.restored()
		_, _ = h.disk.sound() // what is damaged goes
		if mark.Nothing {
			h.disk.checkpoint, restored.Entries = checkpoint{}, nil
		}
		h.disk.hardState, h.disk.entries, h.disk.damage = mark.HardState, restored.Entries, damage{}
		h.disk.image.end = 0
		if last, any := h.disk.last(); any {
			h.disk.image.end = last
		}
		h.disk.left, h.disk.clean = h.disk.clone(h.disk.left.entries), true
		h.lossy = false
	}
	s.checks.forced(plan, s.hosts[plan.Best])
}

// startAll starts every node again, with everything healed.
func (s *simulation) startAll() {
	s.network.healAll()
	s.liveness = liveness{begun: true, since: s.now, core: s.hosts, committedAtStart: len(s.checks.committed), atRest: -1}
	for _, h := range s.hosts {
		if h.dead {
			h.dead = false
			s.events.push(event{at: s.now + h.tickEvery, kind: eventTick, replica: h.number})
		}
		s.boot(h)
	}
}

// forced is what the checks expect of a group that was forced: it goes on from the best of the logs that were chosen. What
// was committed and is not in it is lost, as is said before. Nothing is lost that is on a disk which starts from what it has.
func (c *checks) forced(plan *force.Plan, best *host) {
	kept := 0
	for kept < len(c.committed) && best.disk.holds(core.OpNumber(kept+1), c.committed[kept].hash) {
		kept++
	}
	for _, at := range plan.Order[:plan.Chosen] {
		if c.s.options.OutcomesOnly || at == plan.Discarded {
			break // who only sees outcomes cannot tell what was lost for certain
		}
		for op := len(c.committed); op > kept; op-- {
			if h := c.s.hosts[at]; h.disk.holds(core.OpNumber(op), c.committed[op-1].hash) {
				c.s.violated(claimForce, "r%d has %d, which was committed; the group goes on from r%d, with %d of what was committed", h.id, op, best.id, kept)
				return
			}
		}
	}
	c.s.countIf(kept < len(c.committed), EventForceLost)
	c.s.countIf(kept == len(c.committed), EventForceLostNothing)
	for i := kept; i < len(c.committed); i++ {
		if o := c.committed[i].operation; o > 0 {
			c.operations[o-1].appliedAt = 0
		}
	}
	c.committed = c.committed[:kept]
	c.visible = min(c.visible, core.OpNumber(kept))
}
